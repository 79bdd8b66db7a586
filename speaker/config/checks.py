"""Single values of a configuration that a schema cannot judge: addresses, prefixes, places."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NoReturn, TypeVar

from speaker.config.schema import show_at
from speaker.prefixes import never_routed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from speaker.bgp import Address, Prefix

T = TypeVar("T")

MAX_LINES = 50
_NOWHERE = ipaddress.IPv4Address(0)
_EXAMPLE = {None: "10.0.0.1 or 2001:db8::1", 4: "10.0.0.1", 6: "2001:db8::1"}
_BROADCAST = ipaddress.IPv4Address(0xFFFFFFFF)
# linux/rtnetlink.h, and zebra/rt_netlink.h of FRR.
_PROTOCOLS = {
    8: "gated", 9: "router advertisements", 10: "mrt", 11: "zebra", 12: "BIRD", 13: "dnrouted", 14: "xorp",
    15: "ntk", 16: "DHCP", 17: "mrouted", 18: "keepalived", 42: "babel", 84: "OVN", 99: "Open/R",
    **dict.fromkeys(range(186, 198), "FRR"),
}  # fmt: skip
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})", re.ASCII)


class ConfigError(Exception):
    """What a person has to change, one line for each problem: file, key, value, fix."""


def refuse(name: str, problems: list[str]) -> NoReturn:
    """ConfigError with these lines, each headed by the file's name; of very many only the first."""
    more = len(problems) - MAX_LINES
    lines = [f"{name}: {line}" for line in problems[:MAX_LINES]]
    raise ConfigError("\n".join([*lines, f"{name}: {more} more; mend these first"] if more > 0 else lines))


class Checks:
    """Collects problems as `key: value what; fix`, so that a person sees all of them at once.

    A value that is refused is replaced by something harmless: the caller looks at `problems` first.
    `files` are those that were read.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.files: set[str] = set()

    def add(self, key: str, value: object, text: str) -> None:
        """Notes a problem; `text` follows the value and ends with the fix."""
        self.problems.append(f"{key}: {show_at(key, value)} {text}")

    def missing(self, key: str, example: str) -> None:
        """Notes that a key has to be there."""
        self.problems.append(f"{key}: missing; add {example}")

    def once(self, key: str, values: Iterable[object]) -> None:
        """Notes each value that is there a second time; `key` has {} for the position in the list."""
        seen = set()
        for i, value in enumerate(values):
            if value in seen:
                self.add(key.format(i), str(value), "is there twice; keep one of them")
            seen.add(value)

    def address(self, key: str, value: str, version: int | None = None) -> Address:
        """An address that a host can have, of this IP version if one is given."""
        name = f"an IPv{version} address" if version else "an IP address"
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            self.add(key, value, f"is not {name}; write it like {_EXAMPLE[version]}")
            return _NOWHERE
        if version and address.version != version:
            self.add(key, value, f"is not {name}; write it like {_EXAMPLE[version]}")
        elif isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            self.add(key, value, f"is IPv4 written as IPv6; write {address.ipv4_mapped}")
        elif address.is_multicast or address.is_unspecified or address == _BROADCAST:
            self.add(key, value, f"is no address of a host; write it like {_EXAMPLE[version]}")
        elif address.version == 6 and address.is_link_local:
            self.add(key, value, "is link-local, so it says nothing without a link; write a global address")
        return address

    def router_id(self, key: str, value: str) -> Address:
        """An IPv4 address in form, which no interface needs to have."""
        return self.address(key, value, 4)

    def next_hop(self, key: str, value: str, version: int | None) -> Address:
        """An address that other hosts can send packets to."""
        fix = "is loopback, which peers refuse as a next hop; write an address of this node"
        return self._not_loopback(key, value, version, fix)

    def neighbour(self, key: str, value: str) -> Address:
        """An address that a peer is known by."""
        fix = "is loopback, and so would be the next hop of all that it tells; write its address on a network"
        return self._not_loopback(key, value, None, fix)

    def _not_loopback(self, key: str, value: str, version: int | None, fix: str) -> Address:
        before = len(self.problems)
        address = self.address(key, value, version)
        if address.is_loopback and len(self.problems) == before:
            self.add(key, value, fix)
        return address

    def prefixes(self, key: str, values: list[str]) -> tuple[Prefix, ...]:
        """Prefixes without host bits, each once."""
        found = [self.prefix(f"{key}[{i}]", value) for i, value in enumerate(values)]
        if None not in found:
            self.once(key + "[{}]", found)
        return tuple(dict.fromkeys(prefix for prefix in found if prefix is not None))

    def subnets(self, key: str, values: list[str]) -> tuple[Prefix, ...]:
        """Pod subnets, behind each of which stands an unreachable route."""
        found = self.prefixes(key, values)
        for i, subnet in enumerate(found):
            if subnet.prefixlen == 0:
                fix = "would make the whole world unreachable from here; write the node's pod subnet"
                self.add(f"{key}[{i}]", str(subnet), fix)
        return found

    def prefix(self, key: str, value: str, shown: str = "") -> Prefix | None:
        """A prefix without host bits that can be routed; None after a problem. `shown` stands in the message."""
        shown = shown or value
        try:
            prefix = ipaddress.ip_network(value, strict=False)
        except ValueError:
            self.add(key, shown, "is not a prefix; write it like 10.244.1.0/24 or 2001:db8:1::/64")
            return None
        if "/" not in value:
            self.add(key, shown, f"has no length; write it like {prefix}")
        elif prefix.network_address != ipaddress.ip_interface(value).ip:
            self.add(key, shown, f"has bits beyond its length; did you mean {prefix}?")
        elif never_routed(prefix):
            self.add(key, shown, "is never routed; write a prefix of ordinary addresses")
        else:
            return prefix
        return None

    def listen_port(self, key: str, value: int) -> int:
        """A TCP port, or -1."""
        if value == 0:
            self.add(key, value, "is no port; write 179, or -1 to accept no connections")
        return value

    def table(self, key: str, value: int) -> int:
        """A routing table that takes routes to elsewhere."""
        if value == 255:
            self.add(key, value, "is the kernel's table of its own addresses; write 254 for the main table")
        return value

    def protocol(self, key: str, value: int, like: int) -> int:
        """A number that marks routes of ours, `like` one that is free; those that other programs have are theirs."""
        owner = _PROTOCOLS.get(value, "")
        if owner:
            fix = f"marks routes of {owner}, which the speaker would remove as its own; write a free one, like {like}"
            self.add(key, value, fix)
        return value

    def path(self, key: str, value: str, example: str) -> str:
        """An absolute path; empty after a problem."""
        if not re.fullmatch(r"/[^\0-\x1f\x7f]*", value):
            self.add(key, value, f"is not an absolute path; write it like {example}")
            return ""
        return value

    def file(self, key: str, path: str, read: Callable[[str], T]) -> T | None:
        """What `read` makes of the file; None after its ConfigError, which becomes a problem."""
        self.files.add(path)
        try:
            return read(path)
        except ConfigError as error:
            self.add(key, path, str(error))
            return None

    def api(self, key: str, value: str) -> str:
        """Where gobgpd listens for gRPC."""
        if not re.fullmatch(r"unix:///[!-~]+", value) and not _host_port(value):
            self.add(key, value, "is no gRPC address; write unix:///run/anypod/gobgpd/api.sock or HOST:PORT")
        return value

    def listener(self, key: str, value: str) -> str:
        """An address and port to listen on, or nothing."""
        host = value.rpartition(":")[0].strip("[]")
        try:
            good = not value or (bool(ipaddress.ip_address(host)) and _host_port(value))
        except ValueError:
            good = False
        if not good:
            self.add(key, value, 'is no address with a port; write it like 127.0.0.1:9179, or "" for none')
        return value

    def interface(self, key: str, value: str) -> str:
        """A name that a network interface can have."""
        if not re.fullmatch(r"(?!\.\.?$)[!-.0-9;-~]{1,15}", value):
            self.add(key, value, "is no name of an interface; write one of `ip link`, like eth0")
        return value

    def name(self, key: str, value: str) -> str:
        """A name of ours: it stands in logs, metrics and gobgpd."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
            self.add(key, value, "is no name; write one of letters, digits, dots and dashes, like rack-1")
        return value


class ChecksWithoutFiles(Checks):
    """Judges a configuration for another machine: the files that it names are not here."""

    def file(self, key: str, path: str, read: Callable[[str], T]) -> T | None:  # noqa: ARG002
        return None


def _host_port(text: str) -> bool:
    found = _HOST_PORT.fullmatch(text)
    return found is not None and 0 < int(found[2]) < 65536
