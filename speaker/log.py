"""Log lines for people and for machines: one line for each change of state, as key=value."""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    # Level, event and fields.
    Note = Callable[[str, str, Mapping[str, object]], None]

# Of a longer list of like changes the first are written out and the rest counted.
LISTED = 20

_logger = logging.getLogger("anypod.speaker")
_notes: list[Note] = []
_BARE = re.compile(r"[^\s\"'=\\]+")


def set_up(level: str, stream: TextIO) -> None:
    """Writes lines of this level and above to the stream."""
    handler = logging.StreamHandler(stream)
    formatter = logging.Formatter(
        "time=%(asctime)s.%(msecs)03dZ level=%(level)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(_lower_level)
    _logger.handlers[:] = [handler]
    _logger.setLevel(level.upper())
    _logger.propagate = False


def follow(note: Note) -> None:
    """From now on, `note` is told every change of state, whatever level is written out."""
    _notes[:] = [note]


def _lower_level(record: logging.LogRecord) -> bool:
    record.level = record.levelname.lower()
    return True


def line(event: str, fields: dict[str, object]) -> str:
    """`event="peer up" peer=10.0.0.254`: values are quoted where a reader could stumble."""
    return " ".join(
        f"{key.rstrip('_')}={_quoted(str(value))}" for key, value in [("event", event), *fields.items()]
    )


def _quoted(text: str) -> str:
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    # Nothing of what a terminal or a log's reader takes for more than a sign.
    return f'"{"".join(sign if sign.isprintable() else _code(sign) for sign in escaped)}"'


def _code(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


def debug(event: str, **fields: object) -> None:
    """What only somebody who looks for a fault wants to read."""
    _logger.debug(line(event, fields))


def info(event: str, **fields: object) -> None:
    """A change of state that was to be expected."""
    _say(logging.INFO, event, fields)


def warning(event: str, **fields: object) -> None:
    """Something is not as configured; the speaker goes on trying."""
    _say(logging.WARNING, event, fields)


def error(event: str, **fields: object) -> None:
    """Something that a person has to change; the message says what."""
    _say(logging.ERROR, event, fields)


def _say(level: int, event: str, fields: dict[str, object]) -> None:
    for note in _notes:
        note(logging.getLevelName(level).lower(), event, fields)
    if _logger.isEnabledFor(level):
        _logger.log(level, line(event, fields))


def info_each(event: str, things: Iterable[dict[str, object]]) -> None:
    """One line for each thing, and a count for those beyond the first LISTED."""
    listed = list(things)
    for thing in listed[:LISTED]:
        info(event, **thing)
    if len(listed) > LISTED:
        info(event, more=len(listed) - LISTED)
