"""docs/speaker-toml.md and the schema name the same keys with the same defaults."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speaker.config import load_schema, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "speaker-toml.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z0-9.\[\]-]+)` \| ([^|]+) \|", re.MULTILINE)


def keys(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, below in schema["properties"].items():
        name = f"{path}{key}"
        if below["type"] == "object":
            yield from keys(below, f"{name}.")
        elif below["type"] == "array" and below["items"].get("type") == "object":
            yield from keys(below["items"], f"{name}[].")
        else:
            yield name, below


def documented() -> dict[str, str | None]:
    """Each key's default as the page spells it; None where it says none."""
    found: dict[str, str | None] = {}
    for key, about in ROW.findall(PAGE):
        marked = re.search(r", `([^`]+)`\s*$", about)
        found[key] = marked[1] if marked else None
    return found


def test_every_key_stands_there_with_its_default() -> None:
    expected = {
        key: json.dumps(below["default"]) if "default" in below else None
        for key, below in keys(load_schema())
    }
    assert documented() == expected


def test_the_example_is_valid() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert parse(example[1]).peers[0].description == "rack"


def test_every_event_that_wants_attention_is_explained() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "speaker").glob("*.py"))
    page = (DOCS / "speaker.md").read_text(encoding="utf-8")
    events = set(re.findall(r"log\.(?:warning|error)\(\s*\"([^\"]+)\"", source))
    internal = {"no netlink socket", "speaker failed", "systemd not notified"}
    assert {event for event in events - internal if f"`{event}`" not in page} == set()
