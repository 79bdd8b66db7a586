"""What facts about a node mean. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Groups(Enum):
    """Which next-hop groups the kernel has."""

    RESILIENT = "resilient"
    PLAIN = "plain"
    NONE = "none"
    UNTRIED = "untried"


class Level(Enum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` is empty where nothing has to be done."""

    level: Level
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen: `sysctls` by key below net ("ipv4/ip_forward"), None for one that the kernel has not.

    `speaker` is its status document, or in words why there is none.
    """

    groups: Groups
    sysctls: Mapping[str, str | None]
    speaker: Mapping[str, object] | str


def diagnose(facts: Facts) -> Iterator[Finding]:
    """All findings, good ones too."""
    yield _groups(facts.groups)
    yield from _hashing(facts.sysctls)
    yield from _forwarding(facts.sysctls)
    yield from _reverse_path(facts.sysctls)
    yield from _speaker(facts.speaker)


def _groups(groups: Groups) -> Finding:
    if groups is Groups.RESILIENT:
        return Finding(Level.OK, "the kernel has resilient next-hop groups")
    if groups is Groups.PLAIN:
        return Finding(
            Level.WARNING,
            "the kernel has no resilient next-hop groups: virtual IPs get plain ones, and each change of a VIP's"
            " pods moves established connections between the others",
            "run a kernel from 5.13 on, with CONFIG_IPV6 and nexthop objects",
        )
    if groups is Groups.NONE:
        return Finding(
            Level.ERROR,
            "the kernel has no next-hop objects: virtual IPs can't be routed to pods",
            "run a kernel from 5.13 on",
        )
    return Finding(
        Level.WARNING,
        "next-hop groups could not be tried: that takes a network namespace",
        "run this as root",
    )


def _hashing(sysctls: Mapping[str, str | None]) -> Iterator[Finding]:
    """Policy 1 takes a number that a packet over a veth brings along, and its sender picks another now and then."""
    for version in ("ipv4", "ipv6"):
        policy = sysctls.get(f"{version}/fib_multipath_hash_policy")
        custom = sysctls.get(f"{version}/fib_multipath_hash_fields") is not None
        fix = (
            f"sysctl -w net.{version}.fib_multipath_hash_fields=55 net.{version}.fib_multipath_hash_policy=3"
        )
        if policy == "0":
            what = f"net.{version}: next hops are chosen by addresses alone, all connections of a client go to one pod"
            yield Finding(Level.WARNING, f"{what} (the speaker changes this with the first virtual IP)", fix)
        elif policy == "1" and custom:
            what = f"net.{version}: connections of this node's pods to virtual IPs may break when packets are lost"
            yield Finding(Level.WARNING, f"{what} (fib_multipath_hash_policy is 1)", fix)
        elif policy is not None:
            yield Finding(Level.OK, f"net.{version}: next hops are chosen by more than addresses")


def _forwarding(sysctls: Mapping[str, str | None]) -> Iterator[Finding]:
    for version, key in (("IPv4", "ipv4/ip_forward"), ("IPv6", "ipv6/conf/all/forwarding")):
        if sysctls.get(key) == "0":
            yield Finding(
                Level.WARNING,
                f"{version} packets are not forwarded (the plugin changes this with the first pod)",
                f"sysctl -w net.{key.replace('/', '.')}=1",
            )
        elif sysctls.get(key):
            yield Finding(Level.OK, f"{version} packets are forwarded")


def _reverse_path(sysctls: Mapping[str, str | None]) -> Iterator[Finding]:
    """The kernel goes by the stricter of `all` and the interface's own; strict is 1, and 2 is the loose way."""
    every = int(sysctls.get("ipv4/conf/all/rp_filter") or 0)
    strict = [
        key.split("/")[2]
        for key, value in sorted(sysctls.items())
        if key.endswith("/rp_filter") and key.split("/")[2] not in {"all", "default", "lo"}
        if max(every, int(value or 0)) == 1
    ]
    if strict:
        yield Finding(
            Level.WARNING,
            f"strict reverse path filtering on {', '.join(strict[:10])}: answers of pods for a virtual IP are dropped"
            " once the node routes that address elsewhere, as it does when their health check fails",
            "sysctl -w net.ipv4.conf.all.rp_filter=2",
        )
    else:
        yield Finding(Level.OK, "no strict reverse path filtering")


def _speaker(speaker: Mapping[str, object] | str) -> Iterator[Finding]:
    if isinstance(speaker, str):
        yield Finding(
            Level.ERROR,
            f"the speaker does not answer: {speaker}",
            "systemctl start anypod-speaker; journalctl -u anypod-speaker",
        )
        return
    yield Finding(Level.OK, "the speaker answers")
    gobgpd = speaker.get("gobgpd")
    trouble = gobgpd.get("trouble") if isinstance(gobgpd, dict) else "it is not known"
    if trouble:
        yield Finding(
            Level.ERROR,
            f"gobgpd is not as configured: {trouble}",
            "journalctl -u anypod-gobgpd -u anypod-speaker",
        )
    else:
        yield Finding(Level.OK, "gobgpd is as configured")
