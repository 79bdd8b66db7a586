"""SQLite by the interpreter's C module alone.

`sqlite3` adds adapters for dates, and the C module pulls in `functools` and `collections`
for nothing but the cache of its statements: 9 ms of a CNI call together. So it is handed
the one function that it asks `functools` for, made of the same C code.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _lru_cache(maxsize: int) -> Callable[[object], object]:
    """`functools.lru_cache(maxsize)`, without what only a person asks of it (`cache_info`)."""
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]

    return lambda function: _lru_cache_wrapper(function, maxsize, False, tuple)


if "functools" not in sys.modules and "_sqlite3" not in sys.modules:
    stand_in = type(sys)("functools")
    stand_in.lru_cache = _lru_cache  # type: ignore[attr-defined]
    sys.modules["functools"] = stand_in
    try:
        __import__("_sqlite3")
    finally:
        # Whoever imports functools later gets the real one.
        del sys.modules["functools"]

from _sqlite3 import (  # noqa: E402
    Connection,
    Cursor,
    DatabaseError,
    OperationalError,
    connect,
)

__all__ = ["Connection", "Cursor", "DatabaseError", "OperationalError", "connect"]
