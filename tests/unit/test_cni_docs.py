"""docs/netconf.md knows every key of the schema and every code of the errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cni import errors
from cni.schema import validator

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).resolve().parents[2] / "docs/netconf.md").read_text(encoding="utf-8")
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


def test_every_error_code_is_documented() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert {code for code in codes if f"| {code} |" not in PAGE} == set()
