"""Writes TOML: of the values that our own configurations have."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def dumps(document: Mapping[str, Any]) -> str:
    """A document of tables, lists of tables, strings, whole numbers, booleans and lists of those."""
    return "\n".join(_table(document, "")).lstrip("\n") + "\n"


def _table(table: Mapping[str, Any], path: str) -> Iterator[str]:
    """The lines of a table: its own values first, for what follows a heading belongs to that."""
    below = {key: value for key, value in table.items() if _is_table(value)}
    yield from (f"{_key(key)} = {_value(value)}" for key, value in table.items() if key not in below)
    for key, value in below.items():
        name = f"{path}{_key(key)}"
        heading, tables = (f"[[{name}]]", value) if isinstance(value, list) else (f"[{name}]", [value])
        for one in tables:
            yield from ("", heading)
            yield from _table(one, f"{name}.")


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    )


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's strings, numbers and booleans are TOML's, but for one sign that JSON does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
