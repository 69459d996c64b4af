"""Which faults pass by themselves."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
from filelock import Timeout

from procezo_assets.errors import (
    PartitionError,
    RawFileChangedError,
    StoreError,
    TransientStoreError,
)
from procezo_assets.faults import is_transient
from procezo_assets.raw.containers import unreadable


def of_sqlite(code):
    error = sqlite3.OperationalError("trouble")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), True),
        (TimeoutError(), True),
        (Timeout("x.lock"), True),
        (TransientStoreError("the server is away"), True),
        (RawFileChangedError("it is being written"), True),
        (unreadable(Path("a"), OSError(errno.EIO, "Input/output error")), True),
        (unreadable(Path("a"), PermissionError(errno.EACCES, "Permission denied")), False),
        (StoreError("the table has other columns"), False),
        (PartitionError("nothing there"), False),
        (ZeroDivisionError(), False),
        (SystemExit(1), False),
        (of_sqlite(sqlite3.SQLITE_FULL), True),
        (of_sqlite(sqlite3.SQLITE_IOERR_SHMSIZE), True),
        (of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), True),
        (of_sqlite(sqlite3.SQLITE_READONLY), False),
        (of_sqlite(sqlite3.SQLITE_CORRUPT), False),
    ],
)
def test_only_what_may_pass_is_transient(error, transient):
    assert is_transient(error) is transient
