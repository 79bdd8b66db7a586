"""The pod's part of a network: veth pair, addresses and routes, in a handful of batched messages."""

from __future__ import annotations

import posix

from cni import sysctl
from cni.errors import (
    ALREADY_ATTACHED,
    KERNEL_REFUSED,
    TRY_AGAIN_LATER,
    CniError,
)
from cni.link import (
    Address,
    Link,
    address_add,
    address_dump,
    family_of,
    link_delete,
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


class Kernel:
    """What the kernel shows of the namespace that the process is in when this is made."""

    def __init__(self) -> None:
        self.socket = NetlinkSocket(timeout=NETLINK_SECONDS)
        # The link that this process made or was about to make, for whoever has to undo it.
        self.made = ""

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

    def delete_link(self, name: str) -> None:
        """Removes a link, the pod's end with it; none there is fine."""
        try:
            self.socket.request([link_delete(name)])
        except OSError as error:
            if error.errno != ENODEV:
                raise refused(f"the removal of link {name}", error) from None


def refused(what: str, error: OSError) -> CniError:
    """What to answer when the kernel refuses or does not answer."""
    if isinstance(error, TimeoutError):
        return CniError(TRY_AGAIN_LATER, f"the kernel did not answer {what} within {NETLINK_SECONDS:.0f} s")
    return CniError(KERNEL_REFUSED, f"the kernel refused {what}: {error.strerror}")


def connect(kernel: Kernel, network: Network, bridge: Link, call: Call, netns: int) -> Link:
    """Makes the veth pair; returns the node's end. CniError 101 where the pod has that interface already."""
    name = host_ifname(call.container, call.ifname)
    owner = f"anypod {network.name} {call.container}/{call.ifname}"
    kernel.made = name
    create = veth_create(name, local_mac(), network.mtu, bridge.index, call.ifname, local_mac(), netns)
    try:
        kernel.socket.request([create])
    except OSError as error:
        if error.errno == EEXIST:
            kernel.made = ""
            raise _taken(kernel, call, name) from None
        raise refused(f"the veth pair {name} - {call.ifname}", error) from None
    try:
        kernel.socket.request([link_up(name, owner)])
        host = Link(kernel.socket.get(link_get(name))[1])
        if network.hairpin:
            kernel.socket.request([link_hairpin(host.index)])
    except OSError as error:
        raise refused(f"the port {name} of bridge {network.bridge}", error) from None
    return host


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


def configure(network: Network, call: Call, netns: int, addresses: Sequence[PodAddress]) -> Link:
    """Enters the pod's namespace for good and gives its interface addresses and routes."""
    enter(netns)
    if any(len(one.ip) == 16 for one in addresses):
        for name in ("lo", call.ifname):
            sysctl.ensure(f"ipv6/conf/{name}/disable_ipv6", "0")
    socket = NetlinkSocket(timeout=NETLINK_SECONDS)
    try:
        pod = Link(socket.get(link_get(call.ifname))[1])
        messages = [address_add(pod.index, one.ip, one.prefixlen) for one in addresses]
        messages.append(link_up(call.ifname))
        socket.request(messages)
        _add_routes(socket, pod_routes(network.routes, addresses, pod.index))
    except OSError as error:
        raise refused(f"addresses or routes of {call.ifname} in {call.netns}", error) from None
    return pod


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
