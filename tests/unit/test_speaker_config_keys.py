"""Every key that the schemas know: whatever is wrong with its value is one line with file, key, value and fix.

The cases are made from the schemas of speaker.toml and cluster.toml, so a new key is covered by being there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.config import cluster
from speaker.config import speaker_toml as config
from speaker.config.checks import ConfigError
from speaker.config.render import config_for
from speaker.config.schema import show, show_at
from tests.unit import schema_rig as rig

if TYPE_CHECKING:
    from collections.abc import Callable

# What has to be there for a document to be valid: its tables' required keys, and one of two places of a peer.
COMMON: dict[str, Any] = {
    "peer[0].address": "10.0.0.254",
    "peer[0].asn": 65000,
    "dynamic-peer[0].name": "pods",
    "dynamic-peer[0].prefixes": ["10.9.0.0/24"],
    "dynamic-peer[0].asn": 65009,
    "announcement[0].name": "services",
    "announcement[0].prefixes": ["10.96.0.0/12"],
    "anycast.pool[0].name": "edge",
    "anycast.pool[0].prefixes": ["198.51.100.0/24"],
}


@dataclass(frozen=True)
class Kind:
    """One of the two files."""

    name: str
    schema: dict[str, Any]
    needed: dict[str, Any]
    always: frozenset[str]
    build: Callable[[dict[str, Any]], object]
    open_tables: frozenset[str] = frozenset()

    def document(self, key: str, value: Any) -> dict[str, Any]:
        return rig.document(self.needed, set(self.always), key, value)

    def refusals(self, whole: dict[str, Any]) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            self.build(whole)
        return [re.sub(r"^f \(for n1\): ", "f: ", line) for line in str(raised.value).splitlines()]


def cluster_and_node(whole: dict[str, Any]) -> None:
    found = cluster.build(whole, "f")
    config_for(found, found.nodes[0])


SPEAKER = Kind(
    "speaker",
    config.load_schema(),
    {"bgp.asn": 65001, "bgp.router-id": "10.0.0.1", **COMMON},
    frozenset({"bgp"}),
    lambda whole: config.build(whole, "f"),
)
CLUSTER = Kind(
    "cluster",
    cluster.load_schema(),
    {
        "cluster.design": "full-mesh",
        "cluster.asn": 64512,
        "node[0].name": "n1",
        "node[0].addresses": ["10.0.0.1"],
        "rack[0].name": "r1",
        "rack[0].router[0].address": "10.0.0.253",
        "rack[0].router[0].asn": 65000,
        **COMMON,
    },
    frozenset({"cluster", "node[0]"}),
    cluster_and_node,
    open_tables=frozenset({"pods.netconf"}),
)
KINDS = (SPEAKER, CLUSTER)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_smallest_documents_are_valid(kind: Kind) -> None:
    for key, value in kind.needed.items():
        kind.build(kind.document(key, value))


CASES = [(kind, key, value) for kind in KINDS for key, value in rig.cases(kind.schema)]


@pytest.mark.parametrize(
    ("kind", "key", "value"), CASES, ids=[f"{kind.name}-{key}={show(value)}" for kind, key, value in CASES]
)
def test_a_wrong_value_is_one_line_with_key_value_and_fix(kind: Kind, key: str, value: Any) -> None:
    (line,) = kind.refusals(kind.document(key, value))
    inner = value[0] if isinstance(value, list) and len(value) == 1 else value
    assert line.startswith((f"f: {key}: ", f"f: {key}[0]: "))
    assert show_at(key, value) in line or show_at(key, inner) in line
    assert line.partition("; ")[2]


# What is wrong as an address, prefix, path, name, list or place of one kind or another, often in more ways than one.
ODD = (
    *(
        "",
        " ",
        "x y",
        "/",
        "-",
        ".",
        "7",
        "é",
        "no\nline",
        "x" * 70,
        "/no/such/file",
        "10.0.0",
        "10.0.0.256",
        "::",
    ),
    *(
        "0.0.0.0",
        "127.0.0.1",
        "::1",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "fd00::1",
    ),
    *(
        "10.0.0.1/8",
        "10.0.0.0/33",
        "127.0.0.0/8",
        "::1/128",
        "fe80::/64",
        "10.0.0.0/8 ge 7",
        "10.0.0.0/8 le 33",
    ),
    *("65536:1", "1:2:3:4", "no-exports", "127.0.0.1:99999", "host:", "unix:", "2001:db8::/32 ge 64 le 48"),
)
TEXTS = ("peer[0].description", "dynamic-peer[0].description", "rack[0].router[0].description")


@pytest.mark.parametrize(
    ("kind", "key", "listed"),
    [(kind, key, listed) for kind in KINDS for key, listed in rig.strings(kind.schema)],
    ids=lambda part: part.name if isinstance(part, Kind) else str(part),
)
def test_a_string_that_is_wrong_in_many_ways_is_one_line(kind: Kind, key: str, listed: bool) -> None:
    refused = 0
    for value in ODD:
        try:
            kind.build(kind.document(key, [value] if listed else value))
        except ConfigError as error:
            (line,) = str(error).splitlines()
            about = rf"{re.escape(key)}(?:\[0\])?: .+; .+|\S+: missing; add .+"  # or what that one would have said
            assert re.fullmatch(rf"f(?: \(for n1\))?: (?:{about})", line), line
            refused += 1
    assert refused > len(ODD) / 4 or key in TEXTS


TABLES = [(kind, rig.dotted(path)) for kind in KINDS for path, _ in rig.tables(kind.schema)]


@pytest.mark.parametrize(
    ("kind", "path"),
    [(kind, path) for kind, path in TABLES if path not in kind.open_tables],
    ids=lambda part: part.name if isinstance(part, Kind) else part,
)
def test_an_unknown_key_is_one_line_with_those_that_are_known(kind: Kind, path: str) -> None:
    key = f"{path}.asm".lstrip(".")
    (line,) = kind.refusals(kind.document(key, 7))
    assert line.startswith(f"f: {key}: unknown key; ")
    assert "did you mean" in line or "known here: " in line


REQUIRED = [
    (kind, rig.dotted((*path, key)))
    for kind in KINDS
    for path, table in rig.tables(kind.schema)
    for key in table.get("required", [])
]


@pytest.mark.parametrize(
    ("kind", "key"), REQUIRED, ids=lambda part: part.name if isinstance(part, Kind) else part
)
def test_a_missing_key_is_one_line_with_an_example(kind: Kind, key: str) -> None:
    whole = kind.document(key, None)
    *parents, last = key.split(".")
    del rig.inside(whole, parents)[last]
    (line,) = kind.refusals(whole)
    assert line.startswith(f"f: {key}: missing; add ")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["10.0.0.0/8", "::"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    (kind, rig.dotted((*path, key)))
    for kind in KINDS
    for path, table in rig.tables(kind.schema)
    for key in table["properties"]
]


@given(st.sampled_from(KEYS), ANYTHING)
def test_whatever_stands_there_is_taken_or_told_in_lines(where: tuple[Kind, str], value: Any) -> None:
    kind, key = where
    try:
        kind.build(kind.document(key, value))
    except ConfigError as error:
        lines = str(error).splitlines()
        assert all(re.fullmatch(r"f( \(for n1\))?: [^\n]+; [^\n]+", line) for line in lines), lines


def test_a_key_with_a_line_break_is_quoted() -> None:
    assert SPEAKER.refusals(SPEAKER.document("bgp.a\nb", 7)) == [
        'f: bgp."a\\nb": unknown key; known here: asn, listen-addresses, listen-port, router-id'
    ]
