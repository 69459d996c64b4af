"""JSON of people and strangers."""

from __future__ import annotations

import json
import os
import time

import pytest
from pydantic import TypeAdapter

from procezo_assets.strict_json import read_small_file, shaped_file, shaped_json, strict_json


@pytest.mark.parametrize(
    "value", [{}, [], {"a": [1, -2.5, 1e300, "é", None, True]}, {"ts": "\U0001f600"}, 10**400]
)
def test_json_is_read(value):
    assert strict_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 10_000 + "]" * 10_000, "nested"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "nested"),
        ("[" * 70 + "]" * 70, "nested more than 64 levels deep"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice in one object"),
        ("NaN", "NaN is no number in JSON"),
        ("[-Infinity]", "-Infinity is no number"),
        ("1e999", "1e999 is beyond what a number can be"),
        ("9" * 5000, "Exceeds the limit"),
        (r'{"a": "\ud800"}', "half a character"),
        (r'{"\udfff": 1}', "half a character"),
        (r'["\u0000"]', "'0' has a NUL character"),
        (r'{"a": {"b": ["", "x\u0000"]}}', "'a.b.1' has a NUL character"),
        (r'"\u0000"', "the text has a NUL character"),
        ("{'a': 1}", "Expecting property name"),
        ("", "Expecting value"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_none_is_refused_in_a_sentence(text, problem):
    with pytest.raises(ValueError, match=problem):
        strict_json(text.encode())


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ValueError, match="decode"):
        strict_json(b'{"a": "\xff"}')


def test_what_is_large_or_no_file_is_not_even_read(tmp_path):
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(100 * 1024**2)
    with pytest.raises(ValueError, match="it has 104,857,600 bytes, and 4,194,304 are the most"):
        read_small_file(large)
    with pytest.raises(ValueError, match="are the most"):
        strict_json(b" " * (5 * 1024**2))
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match="it is no plain file"):
        read_small_file(tmp_path / "pipe.json")


def test_many_keys_are_not_compared_with_each_other():
    text = ", ".join(f'"{key}": 1' for key in [*range(50_000), 49_999])
    began = time.process_time()
    with pytest.raises(ValueError, match="the key '49999' stands twice"):
        strict_json(f"{{{text}}}")
    assert time.process_time() - began < 2


COUNTS = TypeAdapter(dict[str, int])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[1, 2]", "^Input should be a valid dictionary$"),
        ('{"a": {"secret": 1}}', "^a: Input should be a valid integer$"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ("", "Expecting value"),
        ('{"a": "' + "1" * 100 + '"}', "has 109 bytes, and 100 are the most"),
    ],
    ids=lambda value: value[:12],
)
def test_what_a_home_remembers_has_its_shape_or_is_told_in_one_line(tmp_path, text, problem):
    path = tmp_path / "x.json"
    path.write_text(text)
    most = 100 if "bytes" in problem else 10**6
    for read in (
        lambda: shaped_json(text.encode(), COUNTS, most=most),
        lambda: shaped_file(path, COUNTS, most=most),
    ):
        with pytest.raises(ValueError, match=problem) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert shaped_json('{"a": 1}', COUNTS) == {"a": 1}
