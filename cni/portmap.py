"""Port mappings of a pod as elements of nftables maps. What the rules do with them is in `nft`."""

from __future__ import annotations

from cni.elements import Element, field
from cni.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni.elements import ElementSocket
    from cni.network import PodAddress

UDP = 17
AF_INET = 2
AF_INET6 = 10
LOOPBACK6 = bytes(15) + b"\1"
MAPPED = bytes(10) + b"\xff\xff"


def _port(number: int) -> bytes:
    return field(number.to_bytes(2, "big"))


def elements(ports: Iterable[tuple[int, bytes, int, int]], addresses: Sequence[PodAddress]) -> list[Element]:
    """What maps these (protocol, address of the node, its port, the pod's port) to the pod. Pure.

    The first address of a family counts, as with the reference plugin, and an address of the node is
    for its family alone; 0.0.0.0 and :: stand for all of the family, b"" for all of both. CniError 7
    where one port of the node would lead to two of the pod.
    """
    first: dict[int, bytes] = {}
    for address in addresses:
        first.setdefault(len(address.ip), address.ip)
    mapped: dict[tuple[str, bytes], Element] = {}
    published: dict[tuple[str, bytes], Element] = {}
    for protocol, given, host_port, port in ports:
        host_ip = given[12:] if given.startswith(MAPPED) else given
        for size, pod in first.items():
            if host_port == 0 or (host_ip and len(host_ip) != size):
                continue
            version = "4" if size == 4 else "6"
            outside = field(bytes((protocol,))) + _port(host_port)
            inside = pod + _port(port)
            if any(host_ip):
                one = Element(f"hostports{version}_ip", host_ip + outside, inside)
            else:
                one = Element(f"hostports{version}", outside, inside)
            _add(mapped, one, host_ip)
            both = Element(f"published{version}", outside + inside)
            published[both.set_name, both.key] = both
    return [*mapped.values(), *published.values()]


def _add(mapped: dict[tuple[str, bytes], Element], one: Element, host_ip: bytes) -> None:
    if host_ip == LOOPBACK6:
        raise CniError(
            INVALID_CONFIG,
            "runtimeConfig.portMappings: hostIP ::1 can't be mapped, since Linux lets nothing out with that"
            " source; use 127.0.0.1, or an address of an interface",
        )
    before = mapped.setdefault((one.set_name, one.key), one)
    if before != one:
        targets = " and ".join(str(int.from_bytes(each.data[-4:-2], "big")) for each in (before, one))
        raise CniError(
            INVALID_CONFIG,
            f"runtimeConfig.portMappings: {one} is mapped twice, to container ports {targets}; drop one",
        )


def flush_stale_udp(nftables: ElementSocket, elements: Iterable[Element]) -> None:
    """Forgets connections to UDP ports that have just been mapped, or a client that goes on sending
    would stay where it was: with a pod that is gone, or with nobody. Failure is no error, as it is
    none with the reference plugin.
    """
    stale = {
        (
            AF_INET if one.set_name.startswith("hostports4") else AF_INET6,
            int.from_bytes(one.key[-4:-2], "big"),
        )
        for one in elements
        if one.set_name.startswith("hostports") and one.key[-8] == UDP
    }
    if stale:
        from cni.conntrack import forget_udp

        for family, port in sorted(stale):
            forget_udp(nftables.netfilter, family, port)
