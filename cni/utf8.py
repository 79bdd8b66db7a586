"""The interpreter's first codec. The installer puts this module in the place of the package `encodings`.

An interpreter imports `encodings` before anything else, for the codec of its file names: three modules in directories
that it lists, a table of all aliases, and `codecs`. That is 0.9 ms of every call. This one knows UTF-8 and asks that
package for all else, also for what the plugin never uses of UTF-8 itself.
"""

from __future__ import annotations

import sys
from _codecs import register, utf_8_decode, utf_8_encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

# The package's own modules are imported as ever.
__path__ = [f"{place}/encodings" for place in sys.path]
NAMES = ("utf_8", "utf-8", "utf8")


def _package() -> ModuleType:
    """The package itself, which from then on is asked for codecs, too."""
    return __import__("encodings.__init__", fromlist=["search_function"])


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_package(), name)


def _decode(data: bytes, errors: str = "strict") -> tuple[str, int]:
    return utf_8_decode(data, errors, True)


def _reader(stream: object, errors: str = "strict") -> object:
    return _package().search_function("utf_8").streamreader(stream, errors)


def _writer(stream: object, errors: str = "strict") -> object:
    return _package().search_function("utf_8").streamwriter(stream, errors)


class Later:
    """An incremental encoder or decoder; the package's, once it is put to use. The standard streams have three."""

    def __init__(self, kind: str, errors: str) -> None:
        self._kind = kind
        self._errors = errors

    def __getattr__(self, name: str) -> Any:
        if name == "_made":
            self._made = getattr(_package().search_function("utf_8"), self._kind)(self._errors)
            return self._made
        return getattr(self._made, name)


class Codec(tuple):  # type: ignore[type-arg]
    """UTF-8 as `codecs.lookup` describes a codec."""

    __slots__ = ()
    name = "utf-8"
    _is_text_encoding = True

    @staticmethod
    def incrementalencoder(errors: str = "strict") -> Later:
        """See `Later`."""
        return Later("incrementalencoder", errors)

    @staticmethod
    def incrementaldecoder(errors: str = "strict") -> Later:
        """See `Later`."""
        return Later("incrementaldecoder", errors)

    def __getattr__(self, name: str) -> Any:
        return getattr(_package().search_function("utf_8"), name)


def search(name: str) -> Any:
    """The codec of that name, as the interpreter asks for it."""
    if name in NAMES:
        return Codec((utf_8_encode, _decode, _reader, _writer))
    return _package().search_function(name)


register(search)
