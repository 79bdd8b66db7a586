"""The pod's part of a network: veth pair, addresses and routes, in a handful of batched messages."""

from __future__ import annotations

import posix

from cni import sysctl
from cni.errors import (
    ALREADY_ATTACHED,
    KERNEL_REFUSED,
    TRY_AGAIN_LATER,
    UNKNOWN_CONTAINER,
    CniError,
)
from cni.link import (
    Address,
    Link,
    address_add,
    address_dump,
    family_of,
    link_delete,
    link_delete_named,
    link_get,
    link_hairpin,
    link_up,
    veth_create,
)
from cni.netlink import NetlinkSocket
from cni.netns import enter
from cni.rtnl import NextHop, Route, route_add

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.network import Network, PodRoute
    from cni.spec import Call, PodAddress

ENODEV = 19
EEXIST = 17
HOST_PREFIX = "anyp"
NETLINK_SECONDS = 10.0


def host_ifname(container: str, ifname: str) -> str:
    """The name of the node's end, always the same for an attachment: DEL finds it without a record."""
    from _blake2 import blake2b

    # 44 bits: two of 10,000 attachments collide with a chance of 3 in a million, and that is refused.
    digest = blake2b(f"{container}/{ifname}".encode(), digest_size=6).hexdigest()
    return HOST_PREFIX + digest[:11]


def local_mac() -> bytes:
    """A random locally administered unicast address."""
    raw = bytearray(posix.urandom(6))
    raw[0] = raw[0] & 0xFC | 0x02
    return bytes(raw)


def pod_mac(ip: bytes) -> bytes:
    """The hardware address that goes with a pod's first address.

    The pod that gets the address next has it too, so that no neighbour sends to one that is gone.
    """
    if len(ip) == 4:
        return b"\x0a\x58" + ip
    from _blake2 import blake2b

    return b"\x0a\x59" + blake2b(ip, digest_size=4).digest()


class Kernel:
    """What the kernel shows of the namespace that the process is in when this is made."""

    def __init__(self) -> None:
        self.socket = NetlinkSocket(timeout=NETLINK_SECONDS)
        # Name and hardware address of the link that this process makes, for whoever has to undo it.
        self.making = ("", b"")

    def link(self, name: str) -> Link | None:
        """The link of that name; None where there is none."""
        try:
            return Link(self.socket.get(link_get(name))[1])
        except OSError as error:
            if error.errno != ENODEV:
                raise refused(f"a look at link {name}", error) from None
            return None

    def addresses(self, index: int) -> set[tuple[bytes, int]]:
        """The addresses of a link, as (packed, prefix length)."""
        found = [Address(payload) for _, payload in self.socket.dump(address_dump(index))]
        return {(one.ip, one.prefixlen) for one in found if one.index == index}

    def delete_made(self) -> None:
        """Removes the link that this process made, and none that has its name since."""
        name, address = self.making
        link = self.link(name) if name else None
        if link is not None and link.address == address:
            self._delete(name, link_delete(link.index))

    def delete_link(self, name: str) -> None:
        """Removes a link, the pod's end with it; none there is fine."""
        self._delete(name, link_delete_named(name))

    def _delete(self, name: str, message: bytes) -> None:
        try:
            self.socket.request([message])
        except OSError as error:
            if error.errno != ENODEV:
                raise refused(f"the removal of link {name}", error) from None


def refused(what: str, error: OSError) -> CniError:
    """What to answer when the kernel refuses or does not answer."""
    if isinstance(error, TimeoutError):
        return CniError(TRY_AGAIN_LATER, f"the kernel did not answer {what} within {NETLINK_SECONDS:.0f} s")
    return CniError(KERNEL_REFUSED, f"the kernel refused {what}: {error.strerror}")


def connect(kernel: Kernel, network: Network, bridge: Link, call: Call, netns: int, mac: bytes) -> Link:
    """Makes the veth pair; returns the node's end. CniError 101 where the pod has that interface already."""
    name = host_ifname(call.container, call.ifname)
    own_mac = local_mac()
    kernel.making = (name, own_mac)
    create = veth_create(name, own_mac, network.mtu, bridge.index, call.ifname, mac, netns)
    try:
        kernel.socket.request([create])
    except OSError as error:
        if error.errno == EEXIST:
            raise _taken(kernel, call, name) from None
        raise refused(f"the veth pair {name} - {call.ifname}", error) from None
    host = kernel.link(name)
    if host is None or host.address != own_mac:
        raise overtaken(call)
    messages = [link_up(host.index, f"anypod {network.name} {call.container}/{call.ifname}")]
    if network.hairpin:
        messages.append(link_hairpin(host.index))
    try:
        kernel.socket.request(messages)
    except OSError as error:
        raise refused(f"the port {name} of bridge {network.bridge}", error) from None
    return host


def overtaken(call: Call) -> CniError:
    """What to answer when a DEL, and perhaps another ADD, came during this ADD."""
    return CniError(
        UNKNOWN_CONTAINER, f"container {call.container} was deleted (DEL {call.ifname}) during this ADD"
    )


def _taken(kernel: Kernel, call: Call, name: str) -> CniError:
    if kernel.link(name) is not None:
        return CniError(
            ALREADY_ATTACHED,
            f"{name} is left over from an earlier {call.ifname} of {call.container}; run DEL, then ADD",
        )
    return CniError(
        ALREADY_ATTACHED,
        f"CNI_IFNAME={call.ifname!r} exists already in {call.netns}; choose another name or remove it",
    )


def configure(
    call: Call, netns: int, mac: bytes, addresses: Sequence[PodAddress], routes: Sequence[PodRoute]
) -> None:
    """Enters the pod's namespace for good and gives its interface addresses and routes."""
    enter(netns)
    if any(len(one.ip) == 16 for one in addresses):
        for name in ("lo", call.ifname):
            sysctl.ensure(f"ipv6/conf/{name}/disable_ipv6", "0")
    pod = Kernel()
    link = pod.link(call.ifname)
    if link is None or link.address != mac:
        raise overtaken(call)
    messages = [address_add(link.index, one.ip, one.prefixlen) for one in addresses]
    messages.append(link_up(link.index))
    try:
        pod.socket.request(messages)
        _add_routes(pod.socket, pod_routes(routes, addresses, link.index))
    except OSError as error:
        raise refused(f"addresses or routes of {call.ifname} in {call.netns}", error) from None


def _add_routes(socket: NetlinkSocket, routes: Sequence[Route]) -> None:
    """A route that the pod has already, from an earlier interface, wins, as with the reference plugins."""
    for verdict in socket.request_each([route_add(one) for one in routes]):
        if verdict is not None and verdict.errno != EEXIST:
            raise verdict


def pod_routes(routes: Sequence[PodRoute], addresses: Sequence[PodAddress], index: int) -> list[Route]:
    """The pod's routes; one without a gateway takes that of the first address of its family. Pure."""
    gateways: dict[int, bytes] = {}
    for address in addresses:
        gateways.setdefault(len(address.ip), address.gateway)
    made = []
    for one in routes:
        gateway = one.gateway or gateways[len(one.dst)]
        hop = NextHop(gateway, index)
        made.append(Route(family_of(one.dst), one.dst, one.prefixlen, nexthops=(hop,)))
    return made
