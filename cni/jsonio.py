"""JSON by the interpreter's C scanner and encoder alone: `import json` costs 7 ms of every CNI call.

The two C classes are private to CPython, so their absence falls back to `json`.
"""

from __future__ import annotations

import posix

from cni.errors import DECODING_FAILURE, IO_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_INPUT = 4 << 20
_SPACE = " \t\r\n"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise CniError(
                    DECODING_FAILURE, f"JSON key {key[:80]!r} stands twice in one object; remove one"
                )
            seen.add(key)
    return found


def _no_constant(name: str) -> object:
    raise CniError(DECODING_FAILURE, f"{name} is no JSON number; write a finite one")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise CniError(DECODING_FAILURE, f"{text[:40]} is larger than any number here; write a smaller one")
    return number


class _Context:
    """What the C scanner asks of `json.JSONDecoder`."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_unique)
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_no_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner wants an attribute, and one process parses once


def _scanner() -> Callable[[str, int], tuple[object, int]]:
    try:
        from _json import make_scanner

        return make_scanner(_Context())  # type: ignore[arg-type]
    except (ImportError, TypeError):  # pragma: no cover - an interpreter without the C module
        from json import JSONDecoder

        return JSONDecoder(
            object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        ).raw_decode


def parse(text: str) -> object:
    """The value that `text` is; CniError 6 where it is no JSON, has NaN, or a key twice."""
    end = len(text)
    start = 0
    while start < end and text[start] in _SPACE:
        start += 1
    try:
        value, stop = _scanner()(text, start)
    except StopIteration:
        raise CniError(DECODING_FAILURE, "stdin is no JSON: it is empty or cut off") from None
    except RecursionError:
        raise CniError(DECODING_FAILURE, "stdin is nested too deeply; flatten it") from None
    except (ValueError, SystemError):
        # The scanner's own error needs a module that is not loaded; without it, it ends in a SystemError.
        raise CniError(DECODING_FAILURE, f"stdin is no JSON: {_why(text)}") from None
    if text[stop:].strip(_SPACE):
        raise CniError(DECODING_FAILURE, f"stdin goes on behind its JSON value, at character {stop}")
    return value


def _why(text: str) -> str:
    """What `json` says of text that the scanner refused, with line and column."""
    from json import loads

    try:
        loads(text)
    except ValueError as error:
        return str(error)
    return "it can't be read"


def dump(value: object) -> str:
    """`value` as compact JSON with sorted keys, so that equal values give equal text."""
    try:
        from _json import encode_basestring_ascii, make_encoder

        encoder = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", True, False, False)
        return "".join(encoder(value, 0))
    except (ImportError, TypeError):  # pragma: no cover - an interpreter without the C module
        from json import dumps

        return dumps(value, separators=(",", ":"), sort_keys=True)


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


def read_stdin() -> object:
    """The JSON value on stdin. CniError 5 on a read error or over 4 MiB, 6 for no UTF-8 or no JSON."""
    chunks = []
    size = 0
    while True:
        try:
            chunk = posix.read(0, 1 << 16)
        except OSError as error:
            raise CniError(IO_FAILURE, f"stdin can't be read: {error.strerror}") from None
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_INPUT:
            raise CniError(IO_FAILURE, f"stdin is larger than {MAX_INPUT >> 20} MiB; shorten it")
    try:
        return parse(b"".join(chunks).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CniError(DECODING_FAILURE, f"stdin is no UTF-8 at byte {error.start}") from None


def write_stdout(value: object) -> None:
    """Writes `value` as one line; OSError where the reader is gone."""
    data = (dump(value) + "\n").encode()
    while data:
        data = data[posix.write(1, data) :]
