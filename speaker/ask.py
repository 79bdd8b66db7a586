"""Asks the running speaker for its status document, over its socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from speaker.place import place

FILE = "speaker.sock"
# Seconds, and bytes of an answer.
PATIENCE = 10.0
MAX_ANSWER = 64 << 20


class SilentError(Exception):
    """There is no answer; the message says why."""


def ask(state_dir: str) -> dict[str, Any]:
    """The document, as speaker.status makes it."""
    path = place(state_dir) / FILE
    parts: list[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            size = 0
            while size < MAX_ANSWER and (part := connection.recv(1 << 16)):
                parts.append(part)
                size += len(part)
        document = json.loads(b"".join(parts))
    except (OSError, ValueError, RecursionError) as error:
        raise SilentError(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise SilentError(f"{path}: that is no speaker")
    return document
