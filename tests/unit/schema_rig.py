"""Makes from a JSON Schema every kind of mistake that a document can have in one key."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]

OF_TYPE: dict[str, list[Any]] = {
    "string": [7, True, ["x"]],
    "integer": ["7", 7.0, -0.5, math.inf, True, [7]],
    "boolean": [1, "true", []],
    "array": ["10.0.0.0/8", 7, {"a": 1}],
    "object": [7, "x", [1]],
}


def dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".")


def tables(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every table that may stand in the document, a list of tables as its first one."""
    yield path, schema
    for key, below in schema["properties"].items():
        if below.get("type") == "object":
            yield from tables(below, (*path, key))
        elif below.get("type") == "array" and "properties" in below["items"]:
            yield from tables(below["items"], (*path, key, 0))


def values(schema: dict[str, Any]) -> Iterator[Any]:
    """Values that a key with this schema must not have."""
    if "enum" in schema:
        yield from ("nonsense", 7)
        return
    yield from OF_TYPE[schema["type"]]
    for bound, step in (("minimum", -1), ("maximum", 1)):
        if bound in schema:
            yield schema[bound] + step
    if "maxLength" in schema:
        yield "x" * (schema["maxLength"] + 1)
        yield "no such\nthing"
    if "minItems" in schema:
        yield []
    if schema["type"] == "array" and "properties" not in schema["items"]:
        yield from ([value] for value in values(schema["items"]))
    if "maxItems" in schema:
        yield [str(i) for i in range(schema["maxItems"] + 1)]
    if schema.get("uniqueItems"):
        yield [schema["items"]["enum"][0]] * 2


def cases(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each key with each value that it must not have."""
    for path, table in tables(schema):
        for key, below in table["properties"].items():
            for value in values(below):
                yield dotted((*path, key)), value


def strings(schema: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each key that is any string, and whether it is a list of them."""
    for path, table in tables(schema):
        for key, below in table["properties"].items():
            listed = below.get("type") == "array"
            one = below["items"] if listed else below
            if one.get("type") == "string" and "enum" not in one:
                yield dotted((*path, key)), listed


def document(needed: dict[str, Any], always: set[str], key: str, value: Any) -> dict[str, Any]:
    """The smallest valid document with this key in it, which then gets this value.

    Of the `needed` keys it has those in the same table and in the tables `always`.
    """
    whole: dict[str, Any] = {}
    top = key.split(".", maxsplit=1)[0]
    wanted = {name: one for name, one in needed.items() if name.split(".", maxsplit=1)[0] in {*always, top}}
    for name, one in [*wanted.items(), (key, value)]:
        *parents, last = name.split(".")
        inside(whole, parents)[last] = one
    return whole


def inside(whole: dict[str, Any], parents: list[str]) -> dict[str, Any]:
    """The table at that place, made where it is missing."""
    table = whole
    for part in parents:
        below = table.setdefault(part.removesuffix("[0]"), [{}] if part.endswith("[0]") else {})
        table = below[0] if isinstance(below, list) else below
    return table
