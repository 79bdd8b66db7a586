"""Namespaces, links, addresses and kernel settings; never in the machine's own namespace."""

from __future__ import annotations

import contextlib
import ctypes
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lab.commands import attempt, run
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.topology import Address, End, Link, Prefix

DIRECTORY = Path("/run/netns")

# No source filtering: a router's ICMP errors come from link addresses, which nobody announces. ICMP limits
# are for strangers; a trace asks the same router several times a second. No DAD: nobody else is on these
# links, and it takes a second. Addresses stay when a link goes down and comes back, IPv6 like IPv4.
SETTINGS = (
    ("0", ("net/ipv4/conf/all/rp_filter", "net/ipv4/conf/default/rp_filter")),
    ("0", ("net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit")),
    ("0", ("net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad")),
    ("0", ("net/ipv6/conf/all/accept_ra", "net/ipv6/conf/default/accept_ra")),
    ("1", ("net/ipv6/conf/all/keep_addr_on_down", "net/ipv6/conf/default/keep_addr_on_down")),
    ("0", ("net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/default/disable_ipv6")),
)
FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
FOREIGN_BIND = ("net/ipv6/ip_nonlocal_bind",)  # IPv4 takes any address of a local route
# Policy 1 takes a hash that a packet has already. A veth keeps the sender's, which is another one when the sender has
# to send something again, and that connection would go elsewhere. Policy 3 looks at the fields that are said.
HASHING = {"fib_multipath_hash_fields": "55", "fib_multipath_hash_policy": "3"}


def names() -> tuple[str, ...]:
    """All named namespaces of the machine."""
    try:
        return tuple(sorted(entry.name for entry in DIRECTORY.iterdir()))
    except FileNotFoundError:
        return ()


def inside(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in a namespace; `ip` replaces itself by the command."""
    return ["ip", "netns", "exec", namespace, *argv]


def add(namespace: str) -> None:
    """Makes a namespace with its loopback up."""
    run(["ip", "netns", "add", namespace])
    run(["ip", "-n", namespace, "link", "set", "lo", "up"])


def delete(namespace: str) -> None:
    """Removes a namespace with all that is in it; one that is not there is fine."""
    done = attempt(["ip", "netns", "delete", namespace])
    if done.status != 0 and namespace in names():
        raise LabError(f"namespace {namespace} cannot be removed: {done.reason}")


def configure(namespace: str) -> None:
    """The settings of every member; to be made before links come in, which take the defaults over."""
    for value, paths in SETTINGS:
        write_settings(namespace, value, paths)


def set_forwarding(namespace: str, value: str) -> None:
    """Turns forwarding of both families on ("1") or off ("0")."""
    write_settings(namespace, value, FORWARDING)


def hash_ports(namespace: str) -> None:
    """Has a router choose between next hops by addresses and ports, not by addresses alone."""
    for key, value in HASHING.items():
        write_settings(namespace, value, [f"net/{family}/{key}" for family in ("ipv4", "ipv6")])


def write_settings(namespace: str, value: str, paths: Sequence[str]) -> None:
    """Writes one value to settings below /proc/sys of a namespace."""
    run(inside(namespace, ["tee", *(f"/proc/sys/{path}" for path in paths)]), stdin=value)


def add_link(link: Link, left: str, right: str) -> None:
    """Makes a veth pair, each end born in its namespace, up and with its addresses."""
    a, b = link.left, link.right
    argv = [
        "ip",
        "-n",
        left,
        "link",
        "add",
        a.device,
        "type",
        "veth",
        "peer",
        "name",
        b.device,
        "netns",
        right,
    ]
    run(argv)
    for end, namespace in ((a, left), (b, right)):
        _address(end, namespace)


def _address(end: End, namespace: str) -> None:
    for address in end.addresses:
        nodad = ["nodad"] if address.version == 6 else []
        run(["ip", "-n", namespace, "address", "add", str(address), "dev", end.device, *nodad])
    run(["ip", "-n", namespace, "link", "set", end.device, "up"])


def set_link(namespace: str, device: str, state: str) -> None:
    """Takes a device "up" or "down"."""
    run(["ip", "-n", namespace, "link", "set", device, state])


def add_default_routes(namespace: str, gateways: Sequence[Address]) -> None:
    """A default route for each family that has a gateway."""
    for gateway in gateways:
        run(["ip", "-n", namespace, f"-{gateway.version}", "route", "add", "default", "via", str(gateway)])


def add_route(namespace: str, prefix: Prefix, gateway: Address) -> None:
    """A route to a prefix."""
    run(["ip", "-n", namespace, f"-{prefix.version}", "route", "add", str(prefix), "via", str(gateway)])


def own_prefix(namespace: str, prefix: Prefix) -> None:
    """Makes every address of a prefix the namespace's own, without naming them one by one."""
    if prefix.version == 6:
        write_settings(namespace, "1", FOREIGN_BIND)
    run(["ip", "-n", namespace, f"-{prefix.version}", "route", "add", "local", str(prefix), "dev", "lo"])


def processes(namespace: str) -> tuple[int, ...]:
    """Ids of the processes that are in a namespace."""
    done = attempt(["ip", "netns", "pids", namespace])
    return tuple(int(pid) for pid in done.stdout.split()) if done.status == 0 else ()


def devices(namespace: str) -> dict[str, str]:
    """Devices that are up, with their kind: "veth", "bridge", "loopback", …"""
    found = {}
    for link in json.loads(run(["ip", "-n", namespace, "-d", "-j", "link", "show", "up"]) or "[]"):
        kind = link.get("linkinfo", {}).get("info_kind") or link.get("link_type", "?")
        found[str(link["ifname"])] = str(kind)
    return found


def addresses(namespace: str, device: str) -> tuple[str, ...]:
    """Global addresses of a device, as "10.0.0.1/24"; () when there is no such device."""
    done = attempt(["ip", "-n", namespace, "-j", "address", "show", "dev", device, "scope", "global"])
    links = json.loads(done.stdout or "[]") if done.status == 0 else []
    # `ip` leaves an empty object where an address is not of that scope.
    found = [info for link in links for info in link.get("addr_info", []) if "local" in info]
    return tuple(f"{info['local']}/{info['prefixlen']}" for info in found)


def remove_directory() -> None:
    """Removes the mount and directory that `ip netns add` made for the first namespace, if nobody uses it."""
    if not names() and DIRECTORY.is_dir():
        # Not the command: it would leave a file of its own. EBUSY when somebody has made a namespace meanwhile.
        ctypes.CDLL(None).umount2(str(DIRECTORY).encode(), 0)
        with contextlib.suppress(OSError):
            DIRECTORY.rmdir()
