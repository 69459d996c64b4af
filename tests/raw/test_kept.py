"""Rows of blocks kept in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

import polars as pl

from procezo_assets.raw.kept import BlockKey, KeptBlocks, blocks_shared, kept_blocks


def key(file, place):
    return BlockKey(file, offset=place, crc32=0, first_line=1, reading=0)


ROWS = pl.DataFrame({"line": range(100)})
SIZE = ROWS.estimated_size()


def test_what_is_offered_first_stays():
    kept = KeptBlocks(2 * SIZE)
    for place in range(3):
        kept.offer(key("a", place), ROWS)

    assert [key("a", place) in kept for place in range(3)] == [True, True, False]
    assert kept.bytes == 2 * SIZE


def test_rows_go_with_their_last_use():
    kept = KeptBlocks(10 * SIZE)
    kept.offer(key("a", 0), ROWS)
    kept.want([key("a", 0), key("a", 0)])

    assert kept.take(key("a", 0)) is ROWS
    assert kept.take(key("a", 0)) is ROWS
    assert kept.take(key("a", 0)) is None
    assert kept.bytes == 0


def test_what_is_read_again_replaces_the_oldest_if_somebody_wants_it():
    kept = KeptBlocks(2 * SIZE)
    kept.want([key("a", 0), key("a", 1), key("b", 0), key("b", 0)])
    kept.offer(key("a", 0), ROWS)
    kept.offer(key("a", 1), ROWS)

    assert kept.take(key("b", 0)) is None
    kept.put(key("b", 0), ROWS)
    assert [one in kept for one in [key("a", 0), key("a", 1), key("b", 0)]] == [
        False,
        True,
        True,
    ]
    assert kept.take(key("b", 0)) is ROWS
    kept.put(key("b", 0), ROWS)  # nobody is left who wants it
    assert key("b", 0) not in kept


def test_a_file_is_forgotten_whole():
    kept = KeptBlocks(10 * SIZE)
    for one in [key("a", 0), key("a", 1), key("b", 0)]:
        kept.offer(one, ROWS)
    kept.forget("a")

    assert key("b", 0) in kept
    assert kept.bytes == SIZE
    kept.put(key("c", 0), pl.DataFrame({"line": range(10_000)}))  # larger than all there is
    assert key("c", 0) not in kept


def test_a_file_is_forgotten_without_looking_at_the_others():
    class Rows(OrderedDict):
        def __iter__(self):
            raise AssertionError("all files are looked at")

    kept = KeptBlocks(10**6)
    kept._rows = Rows()
    for number in range(10):
        kept.offer(key(str(number), 0), ROWS)
    for number in range(10):
        kept.forget(str(number))

    assert kept.bytes == 0


def test_readers_share_what_is_kept_only_where_that_was_said():
    assert kept_blocks() is not kept_blocks()
    with blocks_shared():
        assert kept_blocks() is kept_blocks()
    assert kept_blocks() is not kept_blocks()
