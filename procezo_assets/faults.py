"""Faults that pass by themselves: a full disk, a lock, a server that is out of reach."""

from __future__ import annotations

import errno
import sqlite3

from filelock import Timeout

from procezo_assets.errors import FitWaitsError, TransientRawFileError, TransientStoreError

_PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
# a disk without any room for the memory that SQLite's processes share is SQLITE_IOERR
_PASSING_IN_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def is_transient(error: BaseException | None) -> bool:
    """Tell whether trying again may help: a full disk, a lock, a server that is out of reach."""
    if isinstance(error, TransientStoreError | TransientRawFileError | FitWaitsError):
        return True
    if isinstance(error, Timeout | ConnectionError | TimeoutError):
        return True
    if isinstance(error, sqlite3.Error):
        return sqlite_code(error) in _PASSING_IN_SQLITE
    return isinstance(error, OSError) and error.errno in _PASSING


def sqlite_code(error: BaseException | None) -> int | None:
    """The code of an error of SQLite, without what extends it; None of any other error."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
