"""Values as YAML, for `-o yaml`. What is no plain word is written as JSON writes it, which is YAML, too."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A word that no version of YAML takes for anything but a string.
_WORD = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_MEANT = {"y", "yes", "n", "no", "on", "off", "true", "false", "null"}
STEP = "  "


def dump(value: object) -> str:
    """A document of block style; `value` is what JSON has."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _under(f"{_scalar(str(key))}:", below)
    elif isinstance(value, list | tuple) and value:
        for one in value:
            first, *rest = _lines(one)
            yield f"- {first}"
            yield from (f"{STEP}{line}" for line in rest)
    else:
        yield _scalar(value)


def _under(head: str, value: object) -> Iterator[str]:
    if isinstance(value, dict | list | tuple) and value:
        yield head
        yield from (f"{STEP}{line}" for line in _lines(value))
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: object) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value) and value.lower() not in _MEANT:
        return value
    return json.dumps(value)
