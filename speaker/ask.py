"""Asks the running speaker over its socket: for its status document, for whole lists, for all about a prefix."""

from __future__ import annotations

import json
import socket
from typing import Any

from speaker.place import place

FILE = "speaker.sock"
# Seconds, and bytes of an answer.
PATIENCE = 10.0
MAX_ANSWER = 64 << 20
# Parts of a list, and tries: a question that comes too late is answered as if none had been asked.
MOST_PARTS = 2000
TRIES = 3


class SilentError(Exception):
    """There is no answer; the message says why."""


class DeafError(SilentError):
    """The speaker answers, and does not know the question: it is of an earlier release."""


def ask(state_dir: str, question: dict[str, object] | None = None) -> dict[str, Any]:
    """The document, as speaker.status makes it; with a question what speaker.answers says to it."""
    path = place(state_dir) / FILE
    line = (json.dumps(question) if question else "").encode() + b"\n"
    parts: list[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            _send(connection, line)
            size = 0
            while size < MAX_ANSWER and (part := _receive(connection)):
                parts.append(part)
                size += len(part)
        document = json.loads(b"".join(parts))
    except PermissionError as error:
        raise SilentError(f"{path}: {error.strerror}; run this as root") from None
    except OSError as error:
        raise SilentError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise SilentError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise SilentError(f"{path}: that is no speaker")
    return document


def _send(connection: socket.socket, line: bytes) -> None:
    """A speaker that does not listen to questions may have answered and gone already."""
    try:
        connection.sendall(line)
    except (BrokenPipeError, ConnectionResetError):
        return


def _receive(connection: socket.socket) -> bytes:
    """Whoever goes without having read the question resets the connection, behind all that it said."""
    try:
        return connection.recv(1 << 16)
    except ConnectionResetError:
        return b""


def ask_about(state_dir: str, prefix: str) -> dict[str, Any]:
    """All that the speaker knows of a prefix."""
    return _answered(state_dir, {"explain": prefix}, "explain")


def ask_all(state_dir: str, name: str, within: str = "") -> list[dict[str, Any]]:
    """A whole list, or what of it is inside a prefix; names are those of speaker.answers."""
    found: list[dict[str, Any]] = []
    start: int | None = 0
    for _ in range(MOST_PARTS):
        answer = _answered(state_dir, {"list": name, "from": start, "within": within}, "list")
        found += answer["items"]
        start = answer["next"]
        if start is None:
            break
    return found


def _answered(state_dir: str, question: dict[str, object], key: str) -> dict[str, Any]:
    for _ in range(TRIES):
        answer = ask(state_dir, question)
        if key in answer:
            return answer
    raise DeafError(str(answer.get("mistake") or "the speaker is of an earlier release; restart it"))
