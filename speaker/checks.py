"""Single values of speaker.toml that a schema cannot judge: addresses, prefixes, places."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from speaker.prefixes import never_routed
from speaker.schema import show

if TYPE_CHECKING:
    from speaker.gobgp.session import Address, Prefix

_NOWHERE = ipaddress.IPv4Address(0)
_EXAMPLE = {None: "10.0.0.1 or 2001:db8::1", 4: "10.0.0.1", 6: "2001:db8::1"}


class Checks:
    """Collects problems as `key: value what; fix`, so that a person sees all of them at once.

    A value that is refused is replaced by something harmless: the caller looks at `problems` first.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def add(self, key: str, value: object, text: str) -> None:
        """Notes a problem; `text` follows the value and ends with the fix."""
        self.problems.append(f"{key}: {show(value)} {text}")

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
        elif address.is_multicast or address.is_unspecified:
            self.add(key, value, f"is no address of a host; write it like {_EXAMPLE[version]}")
        return address

    def router_id(self, key: str, value: str) -> Address:
        """An IPv4 address in form, which no interface needs to have."""
        return self.address(key, value, 4)

    def prefixes(self, key: str, values: list[str]) -> tuple[Prefix, ...]:
        """Prefixes without host bits, each once."""
        found: dict[Prefix, None] = {}
        for i, value in enumerate(values):
            prefix = self._prefix(f"{key}[{i}]", value)
            if prefix in found:
                self.add(f"{key}[{i}]", value, "is there twice; keep one of them")
            elif prefix is not None:
                found[prefix] = None
        return tuple(found)

    def _prefix(self, key: str, value: str) -> Prefix | None:
        try:
            prefix = ipaddress.ip_network(value, strict=False)
        except ValueError:
            self.add(key, value, "is not a prefix; write it like 10.244.1.0/24 or 2001:db8:1::/64")
            return None
        if "/" not in value:
            self.add(key, value, f"has no length; write it like {prefix}")
        elif prefix.network_address != ipaddress.ip_interface(value).ip:
            self.add(key, value, f"has bits beyond its length; did you mean {prefix}?")
        elif never_routed(prefix):
            self.add(key, value, "is never routed; write a prefix of ordinary addresses")
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

    def directory(self, key: str, value: str) -> str:
        """An absolute path."""
        if not value.startswith("/") or "\0" in value:
            self.add(key, value, "is not an absolute path; write it like /run/anypod")
        return value

    def api(self, key: str, value: str) -> str:
        """Where gobgpd listens for gRPC."""
        if not re.fullmatch(r"unix:///\S+|(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}", value):
            self.add(key, value, "is no gRPC address; write unix:///run/anypod/gobgpd/api.sock or HOST:PORT")
        return value
