"""Policies written down and read again: the same value, or none."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import Policies, PrefixMatch, Rule, Source
from speaker.inforce import FILE, InForce

if TYPE_CHECKING:
    from pathlib import Path

RICH = Rule(
    accept=True,
    peers=frozenset({"eth0", "10.0.0.1"}),
    prefixes=frozenset(
        {PrefixMatch(ip_network("10.0.0.0/8"), 16, 24), PrefixMatch(ip_network("::/0"), 0, 128)}
    ),
    source=Source.EXTERNAL,
    carries=frozenset({0xFFFFFF01}),
    communities=frozenset({65535 << 16, 7}),
    large_communities=frozenset({(65001, 1, 2)}),
    local_pref=200,
    med=0,
    prepend=3,
)
POLICIES = Policies(
    (RICH, Rule(accept=False)), (Rule(True, prefixes=frozenset()),), (("eth0", ("fe80::1",)),)
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    store = InForce(str(tmp_path / "new"))
    assert store.read() is None
    for policies in (POLICIES, Policies((), ())):
        store.write(policies)
        assert store.read() == policies
    assert [path.name for path in (tmp_path / "new" / "speaker").iterdir()] == [FILE]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "{}", '{"members": 1}', '{"members":[],"imports":[7]}', "\xff"]
)
def test_what_is_no_policy_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "speaker").mkdir()
    (tmp_path / "speaker" / FILE).write_bytes(text.encode("latin-1"))
    assert InForce(str(tmp_path)).read() is None


def test_a_directory_that_cant_be_written_is_no_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    InForce(str(tmp_path / "file")).write(POLICIES)
