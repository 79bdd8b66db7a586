"""The policies that gobgpd was last given, on disk: after a restart of the speaker, what peers were told is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from speaker import log
from speaker.bgp import Policies, PrefixMatch, Rule, Source
from speaker.place import make_place, place

FILE = "policies.json"
MAX_SIZE = 1 << 24


class InForce:
    """`<state.dir>/speaker/policies.json`. What it says is worth something only if gobgpd holds exactly that."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._path = place(state_dir) / FILE

    def read(self) -> Policies | None:
        """None where there is no such file, or one that can't be understood."""
        try:
            with self._path.open("rb") as file:
                return decode(file.read(MAX_SIZE))
        except (OSError, ValueError, TypeError, LookupError):
            return None

    def write(self, policies: Policies) -> None:
        """Replaces it whole."""
        new = self._path.with_name(f".{FILE}.new")
        try:
            make_place(self._state_dir)
            new.unlink(missing_ok=True)
            new.touch(0o600)
            new.write_bytes(encode(policies))
            new.rename(self._path)
        except OSError as error:
            log.warning("policies not written down", path=self._path, reason=error)


def encode(policies: Policies) -> bytes:
    """As JSON."""
    return json.dumps(asdict(policies), default=_plain).encode()


def _plain(value: object) -> object:
    if isinstance(value, PrefixMatch):
        return asdict(value)
    if isinstance(value, IPv4Network | IPv6Network):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return list(value)
    raise TypeError(f"{value!r} is nothing that policies are made of")


def decode(data: bytes) -> Policies:
    """The inverse; ValueError, TypeError or LookupError for anything else."""
    found = json.loads(data)
    members = tuple((str(name), tuple(map(str, where))) for name, where in found["members"])
    return Policies(_rules(found["imports"]), _rules(found["exports"]), members)


def _rules(found: list[dict[str, Any]]) -> tuple[Rule, ...]:
    return tuple(Rule(**{**rule, **_typed(rule)}) for rule in found)


def _typed(rule: dict[str, Any]) -> dict[str, object]:
    peers, prefixes = rule["peers"], rule["prefixes"]
    return {
        "peers": None if peers is None else frozenset(peers),
        "prefixes": None if prefixes is None else frozenset(map(_match, prefixes)),
        "source": Source(rule["source"]),
        "carries": frozenset(rule["carries"]),
        "communities": frozenset(rule["communities"]),
        "large_communities": frozenset(map(tuple, rule["large_communities"])),
    }


def _match(found: dict[str, Any]) -> PrefixMatch:
    return PrefixMatch(ip_network(found["prefix"]), int(found["shortest"]), int(found["longest"]))
