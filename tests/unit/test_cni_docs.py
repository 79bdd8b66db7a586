"""docs/netconf.md knows every key of the schema, its default, and every code of the errors; so capabilities.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cni import errors, request
from cni.schema import validator

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "netconf.md").read_text(encoding="utf-8")
CAPABILITIES = (DOCS / "capabilities.md").read_text(encoding="utf-8")
# What the specification itself gives every netconf.
OF_THE_SPECIFICATION = {"cniVersion", "type", "ipam", "runtimeConfig"}


def keys(schema: Any) -> Iterator[str]:
    """Every property that the schema names, at whatever depth."""
    if isinstance(schema, dict):
        for name, inner in schema.items():
            if name == "properties":
                yield from inner
            yield from keys(inner)
    elif isinstance(schema, list):
        for one in schema:
            yield from keys(one)


def test_every_key_of_the_schema_is_documented() -> None:
    found = set(keys(validator().schema))
    assert {"vlanTrunk", "maxID", "rangeStart", "advmss", "ipRanges", "nameservers"} <= found
    missing = {key for key in found if not any(f"{mark}{key}`" in PAGE for mark in ("`", "."))}
    assert missing - OF_THE_SPECIFICATION == set()


def defaults(schema: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each key of an object that has a default, with it as the page spells it."""
    for key, below in schema.get("properties", {}).items():
        if "default" in below:
            yield f"{path}{key}", json.dumps(below["default"]).strip('"')
        yield from defaults(below, f"{path}{key}.")


def test_every_default_is_the_one_that_is_documented() -> None:
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (?:[^|]*, )?`([^`|]+)` \|", PAGE, re.MULTILINE))
    expected = dict(defaults(validator().schema))
    assert len(expected) > 15
    assert rows == expected


def test_every_capability_is_documented() -> None:
    listed = set(re.findall(r"^\| `([\w./-]+)` \| (?=[^|]*\|[^|]*\|$)", CAPABILITIES, re.MULTILINE))
    assert listed >= {name for name, _ in request._READERS} | {"ips", "mac", "ipRanges", "anycast"}


def test_every_error_code_is_documented() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert {code for code in codes if f"| {code} |" not in PAGE} == set()
