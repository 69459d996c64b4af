"""Bytes to blocks of whole lines."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from procezo_assets.raw import blocks
from procezo_assets.raw.blocks import Stretch, line_bytes, split_text, whole_lines


def cut(data, *, block_bytes, newline=b"\n"):
    return list(whole_lines(io.BytesIO(data).read, newline=newline, block_bytes=block_bytes))


def test_blocks_end_where_a_line_ends():
    assert cut(b"aa\nbb\ncc\nd", block_bytes=4) == [
        Stretch(b"aa\n", 3, 1),
        Stretch(b"bb\n", 3, 1),
        Stretch(b"cc\n", 3, 1),
        Stretch(b"d", 1, 1),
    ]
    assert cut(b"", block_bytes=4) == []
    assert cut(b"a\rb\nc", block_bytes=2, newline=b"\r") == [
        Stretch(b"a\r", 2, 1),
        Stretch(b"b\nc", 3, 1),
    ]


def test_a_block_of_many_lines_is_halved(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_LINES", 2)
    assert [one.data for one in cut(b"\n\n\n\na\n\n", block_bytes=100)] == [
        *(b"\n\n", b"\n", b"\n", b"a\n\n"),
    ]


def test_a_line_that_is_too_long_is_passed_over_in_little_memory(monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST_LINE", 10)
    monkeypatch.setattr(blocks, "KEPT_OF_LONG_LINE", 3)
    assert cut(b"a\n" + b"x" * 40 + b"\nb\n", block_bytes=8) == [
        Stretch(b"a\n", 2, 1),
        Stretch(b"xxx", 41, 1, too_long=True),
        Stretch(b"b\n", 2, 1),
    ]
    assert cut(b"x" * 40, block_bytes=8) == [Stretch(b"xxx", 40, 1, too_long=True)]


@given(
    data=st.binary(max_size=200), size=st.integers(1, 50), newline=st.sampled_from([b"\n", b"\r"])
)
def test_blocks_are_the_file(data, size, newline):
    found = cut(data, block_bytes=size, newline=newline)

    assert b"".join(one.data for one in found) == data
    assert [one.size for one in found] == [len(one.data) for one in found]
    assert all(one.data.endswith(newline) for one in found[:-1])


@given(data=st.binary(max_size=200), size=st.integers(1, 50))
def test_lines_do_not_depend_on_blocks(data, size):
    texts = []
    for number, one in enumerate(cut(data, block_bytes=size)):
        texts += split_text(one.data, first=number == 0).to_list()

    assert texts == split_text(data).to_list()


@given(
    lines=st.lists(st.text("0;:\r é\0", min_size=10, max_size=20), min_size=1),
    end=st.sampled_from(["", "\n"]),
)
def test_lines_end_at_lf_and_lose_a_cr(lines, end):
    expected = [line.replace("\0", "").removesuffix("\r") for line in lines]

    assert split_text(("\n".join(lines) + end).encode()).to_list() == expected


@pytest.mark.parametrize(
    ("codec", "data", "texts"),
    [
        ("latin-1", b"\xb0C\n", ["°C"]),
        ("cp1252", b"\x80\r\n\x81\n", ["€", "\ufffd"]),
        ("utf-8", "°C\n".encode(), ["°C"]),
    ],
)
def test_text_is_of_the_codec(codec, data, texts):
    assert split_text(data, codec=codec).to_list() == texts


def test_the_bytes_of_lines():
    data = b"a\r\n\nccc\nd"
    assert line_bytes(data, [0, 1, 2, 3]).to_list() == [b"a\r", b"", b"ccc", b"d"]
    assert line_bytes(data, [3]).to_list() == [b"d"]
