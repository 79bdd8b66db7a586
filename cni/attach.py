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
    IFA_F_NODAD,
    Address,
    Link,
    address_add,
    address_dump,
    family_of,
    link_delete,
    link_get,
    link_up,
    veth_create,
)
from cni.netlink import NetlinkSocket
from cni.netns import enter
from cni.rtnl import RT_SCOPE_LINK, RT_TABLE_MAIN, NextHop, Route, route_metrics, route_prepend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.network import Network, PodAddress, PodRoute
    from cni.spec import Call

EAGAIN = 11
ENODEV = 19
EEXIST = 17
HOST_PREFIX = "anyp"
IFB_PREFIX = "anyb"
NETLINK_SECONDS = 10.0
PORT_SECONDS = 5.0


def host_ifname(container: str, ifname: str) -> str:
    """The name of the node's end, always the same for an attachment: DEL finds it without a record."""
    return HOST_PREFIX + _digits(container, ifname)


def ifb_ifname(container: str, ifname: str) -> str:
    """The name of the device that limits what leaves the pod."""
    return IFB_PREFIX + _digits(container, ifname)


def _digits(container: str, ifname: str) -> str:
    from _blake2 import blake2b

    # 44 bits: two of 10,000 attachments collide with a chance of 3 in a million, and that is refused.
    return blake2b(f"{container}/{ifname}".encode(), digest_size=6).hexdigest()[:11]


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
        self.made = False

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

    def lost(self) -> bool:
        """Whether the link that this process made is gone: a DEL that began before its record was there took it."""
        name, address = self.making
        link = self.link(name) if self.made else None
        return self.made and (link is None or link.address != address)

    def delete_made(self) -> None:
        """Removes the links that this process made, and none that has their names since."""
        name, address = self.making
        # The device that limits what leaves the pod has the address of the node's end.
        for one in (name, IFB_PREFIX + name.removeprefix(HOST_PREFIX)) if name else ():
            link = self.link(one)
            if link is not None and link.address == address:
                self._delete(one, link_delete(link.index))

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
    if error.errno == EAGAIN:
        return CniError(
            TRY_AGAIN_LATER, f"the kernel could not do {what} now: {error.strerror}; try again later"
        )
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
    kernel.made = True
    host = kernel.link(name)
    if host is None or host.address != own_mac:
        raise overtaken(call)
    messages = [link_up(host.index, owner_alias(network.name, call.container, call.ifname))]
    if network.hairpin or network.isolated:
        from cni.port import port_set

        messages.append(port_set(host.index, network.hairpin, network.isolated))
    if network.vlan or network.vlan_trunk:
        from cni.vlan import join

        messages += join(network, bridge, host.index)
    try:
        kernel.socket.request(messages)
    except OSError as error:
        raise refused(f"the port {name} of bridge {network.bridge}", error) from None
    # The node's routes are not for a pod to advertise.
    sysctl.attempt(f"ipv6/conf/{name}/accept_ra", "0")
    return host


def owner_alias(network: str, container: str, ifname: str) -> str:
    """Whose a link is, for `ip link`, for GC, and for a state file that has to be made anew."""
    return f"anypod {network} {container}/{ifname}"


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
    call: Call,
    netns: int,
    mac: bytes,
    network: Network,
    addresses: Sequence[PodAddress],
    routes: Sequence[PodRoute],
) -> None:
    """Enters the pod's namespace for good and gives its interface addresses and routes."""
    enter(netns)
    pod = Kernel()
    link = pod.link(call.ifname)
    if link is None or link.address != mac:
        raise overtaken(call)
    if network.host_only:
        return
    with_ipv6 = any(len(one.ip) == 16 for one in addresses)
    if addresses:
        _tune(call.ifname, network.enable_dad, with_ipv6)
    flags = 0 if network.enable_dad else IFA_F_NODAD
    messages = [address_add(link.index, one.ip, one.prefixlen, flags) for one in addresses]
    messages.append(link_up(link.index))
    try:
        pod.socket.request(messages)
        if network.enable_dad and with_ipv6:
            from cni.dad import settle

            settle(pod, link)
        _add_routes(pod.socket, pod_routes(routes, addresses, link.index))
    except OSError as error:
        raise refused(f"addresses or routes of {call.ifname} in {call.netns}", error) from None


def _tune(ifname: str, detect: bool, with_ipv6: bool) -> None:
    """What the kernel has to know before the interface comes up, as the reference plugin sets it."""
    if with_ipv6:
        for name in ("lo", ifname):
            sysctl.ensure(f"ipv6/conf/{name}/disable_ipv6", "0")
        sysctl.attempt(f"ipv6/conf/{ifname}/keep_addr_on_down", "1")
    if detect:
        sysctl.attempt(f"ipv6/conf/{ifname}/enhanced_dad", "1")
    sysctl.attempt(f"ipv6/conf/{ifname}/accept_dad", "1" if detect else "0")
    # Neighbours that remember another hardware address for a pod's address learn the new one.
    sysctl.attempt(f"ipv4/conf/{ifname}/arp_notify", "1")


def await_port(kernel: Kernel, host: Link) -> None:
    """Waits until the bridge forwards for a port whose other end is up. CniError 11 where it does not."""
    from time import monotonic, sleep

    deadline = monotonic() + PORT_SECONDS
    while True:
        link = kernel.link(host.name)
        if link is not None and link.running:
            return
        if link is None or monotonic() > deadline:
            state = "vanished" if link is None else f"did not come up within {PORT_SECONDS:.0f} s"
            raise CniError(
                TRY_AGAIN_LATER, f"{host.name}, the node's end of the veth pair, {state}; try again later"
            )
        sleep(0.01)


def _add_routes(socket: NetlinkSocket, routes: Sequence[bytes]) -> None:
    """As the reference plugins do: before what another interface has; one that is there just so is fine."""
    for verdict in socket.request_each(routes):
        if verdict is not None and verdict.errno != EEXIST:
            raise verdict


def pod_routes(routes: Sequence[PodRoute], addresses: Sequence[PodAddress], index: int) -> list[bytes]:
    """The messages for the pod's routes; one without a gateway takes that of the first address of its family.

    Pure. Without a gateway there too, or where the scope says so, what it leads to is on the link itself.
    """
    gateways: dict[int, bytes] = {}
    for address in addresses:
        if address.gateway:
            gateways.setdefault(len(address.ip), address.gateway)
    made = []
    for one in routes:
        gateway = one.gateway or b""
        if not gateway and one.scope < RT_SCOPE_LINK:
            gateway = gateways.get(len(one.dst), b"")
        route = Route(
            family_of(one.dst),
            one.dst,
            one.prefixlen,
            table=one.table or RT_TABLE_MAIN,
            metric=one.priority,
            nexthops=(NextHop(gateway, index),),
        )
        made.append(route_prepend(route, one.scope, route_metrics(one.mtu, one.advmss)))
    return made
