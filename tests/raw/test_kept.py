"""Rows of blocks kept in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

import polars as pl

from procezo_assets.raw.kept import BlockKey, KeptBlocks, blocks_shared, kept_blocks

ROWS = pl.DataFrame({"line": range(100)})
SIZE = ROWS.estimated_size()


def test_what_is_offered_first_stays():
    kept = KeptBlocks(2 * SIZE)
    for place in range(3):
        kept.offer(BlockKey("a", place), ROWS)

    assert [BlockKey("a", place) in kept for place in range(3)] == [True, True, False]
    assert kept.bytes == 2 * SIZE


def test_rows_go_with_their_last_use():
    kept = KeptBlocks(10 * SIZE)
    kept.offer(BlockKey("a", 0), ROWS)
    kept.want([BlockKey("a", 0), BlockKey("a", 0)])

    assert kept.take(BlockKey("a", 0)) is ROWS
    assert kept.take(BlockKey("a", 0)) is ROWS
    assert kept.take(BlockKey("a", 0)) is None
    assert kept.bytes == 0


def test_what_is_read_again_replaces_the_oldest_if_somebody_wants_it():
    kept = KeptBlocks(2 * SIZE)
    kept.want([BlockKey("a", 0), BlockKey("a", 1), BlockKey("b", 0), BlockKey("b", 0)])
    kept.offer(BlockKey("a", 0), ROWS)
    kept.offer(BlockKey("a", 1), ROWS)

    assert kept.take(BlockKey("b", 0)) is None
    kept.put(BlockKey("b", 0), ROWS)
    assert [key in kept for key in [BlockKey("a", 0), BlockKey("a", 1), BlockKey("b", 0)]] == [
        False,
        True,
        True,
    ]
    assert kept.take(BlockKey("b", 0)) is ROWS
    kept.put(BlockKey("b", 0), ROWS)  # nobody is left who wants it
    assert BlockKey("b", 0) not in kept


def test_a_file_is_forgotten_whole():
    kept = KeptBlocks(10 * SIZE)
    for key in [BlockKey("a", 0), BlockKey("a", 1), BlockKey("b", 0)]:
        kept.offer(key, ROWS)
    kept.forget("a")

    assert BlockKey("b", 0) in kept
    assert kept.bytes == SIZE
    kept.put(BlockKey("c", 0), pl.DataFrame({"line": range(10_000)}))  # larger than all there is
    assert BlockKey("c", 0) not in kept


def test_a_file_is_forgotten_without_looking_at_the_others():
    class Rows(OrderedDict):
        def __iter__(self):
            raise AssertionError("all files are looked at")

    kept = KeptBlocks(10**6)
    kept._rows = Rows()
    for number in range(10):
        kept.offer(BlockKey(str(number), 0), ROWS)
    for number in range(10):
        kept.forget(str(number))

    assert kept.bytes == 0


def test_readers_share_what_is_kept_only_where_that_was_said():
    assert kept_blocks() is not kept_blocks()
    with blocks_shared():
        assert kept_blocks() is kept_blocks()
    assert kept_blocks() is not kept_blocks()
