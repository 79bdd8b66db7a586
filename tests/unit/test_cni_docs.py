"""docs/netconf.md knows every key of the schema and every code of the errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cni import errors, unserved
from cni.netconf import _validator

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).resolve().parents[2] / "docs/netconf.md").read_text(encoding="utf-8")
# What the specification itself gives every netconf.
OF_THE_SPECIFICATION = {"cniVersion", "type", "ipam"}


def keys(schema: dict[str, Any]) -> Iterator[str]:
    yield from schema.get("properties", {})
    if "ipam" in schema.get("properties", {}):
        yield from schema["properties"]["ipam"]["properties"]
        yield from schema["$defs"]["range"]["properties"]


def test_every_key_of_the_schema_is_documented() -> None:
    schema: Any = _validator().schema
    missing = {
        key
        for key in keys(schema)
        if not any(f"{mark}{key}`" in PAGE for mark in ("`", "`ipam.", "`….", "."))
    }
    assert missing - OF_THE_SPECIFICATION == set()


def test_every_error_code_is_documented() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert {code for code in codes if f"| {code} |" not in PAGE} == set()


def test_every_key_that_is_not_served_is_documented() -> None:
    names = {*unserved.BRIDGE, *unserved.IPAM, *unserved.CAPABILITIES}
    assert {name for name in names if name not in PAGE} == set()
