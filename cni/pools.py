"""The pools that a network grants virtual IPs from: which address is in which, and whose pods may have it. Pure."""

from __future__ import annotations

from cni.errors import VIP_REFUSED, CniError
from cni.network import ip_text, packed, packed_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SHOWN = 8


class Pool:
    """Blocks as `198.51.100.0/24`; `namespaces` are patterns with * and ?, none of them for all pods."""

    __slots__ = ("_spans", "blocks", "name", "namespaces")

    def __init__(self, name: str, blocks: Sequence[str], namespaces: Sequence[str] = ()) -> None:
        self.name = name
        self.blocks = list(blocks)
        self.namespaces = list(namespaces)
        self._spans = [packed_prefix(block) for block in self.blocks]

    def holds(self, ip: bytes) -> bool:
        """Whether the (packed) address is in one of the blocks."""
        number = int.from_bytes(ip, "big")
        for start, prefixlen in self._spans:
            shift = 8 * len(start) - prefixlen
            if len(start) == len(ip) and number >> shift == int.from_bytes(start, "big") >> shift:
                return True
        return False

    def admits(self, namespace: str) -> bool:
        """Whether pods of the namespace may have an address; "" is a pod without, which no pattern is for."""
        if not self.namespaces:
            return True
        return bool(namespace) and any(matches(pattern, namespace) for pattern in self.namespaces)

    def __str__(self) -> str:
        return f"{self.name} ({_some(self.blocks)})"

    def compiled(self) -> list[object]:
        """What the constructor takes, as JSON."""
        return [self.name, self.blocks, self.namespaces]


class Anycast:
    """What a netconf says of virtual IPs; `vips` (packed), `check` and `weight` are for pods that do not ask.

    `check` is compiled, as the state file keeps it; empty for none.
    """

    __slots__ = ("check", "pools", "vips", "weight")

    def __init__(
        self, pools: Sequence[Pool], vips: Sequence[bytes] = (), check: str = "", weight: int = 1
    ) -> None:
        self.pools = list(pools)
        self.vips = list(vips)
        self.check = check
        self.weight = weight

    def pool_of(self, ip: bytes) -> Pool | None:
        """The pool that has the address."""
        return next((pool for pool in self.pools if pool.holds(ip)), None)

    def grant(self, key: str, ip: bytes, namespace: str) -> Pool:
        """The pool that gives the address to a pod of the namespace. CniError 106 says which one would be needed.

        `key` is where the address was asked for.
        """
        pool = self.pool_of(ip)
        if pool is None:
            raise CniError(
                VIP_REFUSED,
                f"{key}: {ip_text(ip)} is in none of the network's pools: {_some(self.pools)};"
                " ask for an address of one of them, or add it to anycast.pools",
            )
        if not pool.admits(namespace):
            raise CniError(
                VIP_REFUSED,
                f"{key}: {ip_text(ip)} is of pool {pool.name}, which is for pods of namespace"
                f" {_some(pool.namespaces, ' or ')}, and this pod is of {namespace[:80] or 'none'};"
                f" {self._instead(namespace)}",
            )
        return pool

    def _instead(self, namespace: str) -> str:
        allowed = [pool for pool in self.pools if pool.admits(namespace)]
        widen = "add the namespace to the pool's namespaces"
        return f"ask for an address of {_some(allowed, ' or ')}, or {widen}" if allowed else widen

    def compiled(self) -> dict[str, object]:
        """A JSON form that `load` reads back."""
        return {
            "pools": [pool.compiled() for pool in self.pools],
            "vips": [ip_text(ip) for ip in self.vips],
            "check": self.check,
            "weight": self.weight,
        }


def load(compiled: Any) -> Anycast:
    """From its compiled form, which only this code writes."""
    return Anycast(
        [Pool(*one) for one in compiled["pools"]],
        [packed(text) for text in compiled["vips"]],
        compiled["check"],
        compiled["weight"],
    )


def matches(pattern: str, text: str) -> bool:
    """Whether all of `text` fits the pattern: * stands for any characters, ? for one."""
    at = here = 0
    star, back = -1, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, back = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[here]):
            at += 1
            here += 1
        elif star >= 0:
            # The last star takes one character more.
            back += 1
            at, here = star + 1, back
        else:
            return False
    return not pattern[at:].strip("*")


def _some(things: Sequence[object], separator: str = ", ") -> str:
    shown = [str(one) for one in things[:SHOWN]]
    if len(things) > SHOWN:
        shown.append(f"{len(things) - SHOWN} more")
    return separator.join(shown)
