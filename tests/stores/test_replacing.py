"""Files that are replaced whole, and what killed writers leave."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from procezo_assets.stores.replacing import (
    replacing,
    replacing_together,
    temporary_beside,
    temporary_name,
    write_atomically,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from procezo_assets.stores.replacing import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half a fi")
    os.kill(os.getpid(), signal.SIGKILL)
"""

SWEEPS = """
import sys
from pathlib import Path
from procezo_assets.stores.replacing import write_atomically
write_atomically(Path(sys.argv[1]), b"2")
"""


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_write_atomically(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomically(path, b"1")
    write_atomically(path, b"2")
    assert path.read_bytes() == b"2"

    obstacle = tmp_path / "folder"
    (obstacle / "x").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomically(obstacle, b"3")
    assert names(tmp_path) == ["deep", "folder"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"1")
    with pytest.raises(TypeError), replacing(path) as temporary:
        temporary.write_bytes("no bytes")
    assert path.read_bytes() == b"1"
    assert names(tmp_path) == ["file"]


def test_files_that_belong_together_take_their_places_together(tmp_path):
    def write(written, name, text):
        temporary = temporary_name(tmp_path / name)
        temporary.write_text(text)
        written[name] = temporary

    temporary_name(tmp_path / "killed").write_text("half a fi")
    with replacing_together(tmp_path) as written:
        write(written, "a", "1")
        write(written, "b", "1")
        temporary_name(tmp_path / "c").write_text("not noted as whole")
        assert not {"a", "b"} & {*names(tmp_path)}
    assert names(tmp_path) == ["a", "b"]

    def replace(*texts):
        with replacing_together(tmp_path) as written:
            for name, text in zip("ab", texts, strict=True):
                write(written, name, text)

    with pytest.raises(TypeError):
        replace("2", b"no text")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "1", "b": "1"}


def test_a_killed_writer_is_cleaned_up_after(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"1")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    assert path.read_bytes() == b"1"

    write_atomically(tmp_path / "another", b"2")
    assert names(tmp_path) == ["another", "file"]


def test_what_another_writes_stays(tmp_path):
    (tmp_path / ".somebody.tmp").write_bytes(b"not ours")
    with temporary_beside(tmp_path / "long") as mine:
        write_atomically(tmp_path / "short", b"1")
        assert mine.exists()
    assert names(tmp_path) == [".somebody.tmp", "short"]


def test_what_is_swept_before_it_is_locked_is_begun_again(tmp_path, monkeypatch):
    flock, sweeps = fcntl.flock, iter([True])

    def swept(file, operation):
        if operation == fcntl.LOCK_EX and next(sweeps, False):  # an instant before the lock
            subprocess.run([sys.executable, "-c", SWEEPS, str(tmp_path / "another")], check=True)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", swept)
    with replacing(tmp_path / "file") as temporary:
        temporary.write_bytes(temporary.read_bytes() + b"1")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "another": b"2",
        "file": b"1",
    }


def test_names_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 127)
    write_atomically(path, b"1")
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208 - as the disk says it
