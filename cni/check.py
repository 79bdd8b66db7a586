"""CHECK: is the attachment still as ADD left it? What plugins behind this one added is their right."""

from __future__ import annotations

from cni import nft
from cni.attach import Kernel, host_ifname, ifb_ifname
from cni.bridge import gateway_holder, has_gateways, own_gateways
from cni.errors import CHECK_FAILED, INVALID_CONFIG, CniError
from cni.link import mac_text
from cni.netns import enter, open_netns
from cni.network import ip_text
from cni.prepared import Remembered, remembered
from cni.request import parse_request
from cni.results import parse_previous
from cni.rtnl import AF_INET, AF_INET6, parse_route, route_dump
from cni.spec import network_name
from cni.store import Store, state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.elements import Element
    from cni.link import Link
    from cni.network import Network, PodRoute
    from cni.request import Request
    from cni.results import Result
    from cni.spec import Call


def check(call: Call, conf: dict[str, object], version: str) -> None:
    """CniError 104 names the first thing that is not as ADD left it."""
    name = network_name(conf)
    previous = parse_previous(conf, version)
    if previous is None:
        raise CniError(
            INVALID_CONFIG, "Required prevResult missing; the runtime must hand over ADD's result with CHECK"
        )
    netns = open_netns(call.netns, call.own_netns)
    store = Store(state_dir(conf))
    known = remembered(store, conf, version)
    held = store.allocation(call.container, call.ifname)
    elements = store.elements(call.container, call.ifname)
    vips = store.vips(call.container, call.ifname)
    store.close()
    request = parse_request(call, conf)
    if known.network.chained:
        enter(netns)
        _check_vips(known.network, request, call, vips)
        return
    if held is None or held.network != name:
        raise CniError(CHECK_FAILED, f"network {name} has no allocation for {call.container}/{call.ifname}")
    if held.ipam:
        from cni.delegate import check as ask

        ask(held.ipam, call, conf)
    kernel = Kernel()
    _check_node(kernel, known, call)
    if elements:
        _check_elements(elements)
    limits = request.bandwidth
    if limits is not None:
        from cni.bandwidth import check as check_limits

        owner = call.container, call.ifname
        check_limits(kernel, host_ifname(*owner), ifb_ifname(*owner), limits)
    told = _told(previous, call)
    enter(netns)
    _check_pod(Kernel(), known.network, call, {*held.addresses, *told.addresses}, told)
    _check_vips(known.network, request, call, vips)


class Told:
    """What ADD's result, or a later plugin that changed it, tells of the pod's interface."""

    __slots__ = ("addresses", "mac", "mtu", "routes")

    def __init__(self, routes: Sequence[PodRoute]) -> None:
        self.addresses: list[str] = []
        self.mac = ""
        self.mtu = 0
        self.routes = routes


def _told(previous: Result, call: Call) -> Told:
    told = Told(previous.routes)
    for index, one in enumerate(previous.interfaces):
        if one.name == call.ifname and one.sandbox:
            told.mac, told.mtu = one.mac, one.mtu
            told.addresses = [address.text() for address, of in previous.ips if of == index]
    return told


def _check_vips(network: Network, request: Request, call: Call, vips: Sequence[bytes]) -> None:
    if vips or request.vips or network.gives_vips:
        from cni.anycast import check as check_served

        check_served(call, vips)


def _check_elements(elements: Sequence[Element]) -> None:
    from cni.elements import ElementSocket

    for one in ElementSocket().missing(elements):
        raise CniError(CHECK_FAILED, f"nftables lost {one}; delete the pod, so that it is made anew")


def _check_node(kernel: Kernel, known: Remembered, call: Call) -> None:
    network = known.network
    bridge = kernel.link(network.bridge)
    if bridge is None or not bridge.up:
        raise CniError(
            CHECK_FAILED, f"bridge {network.bridge} is missing or down; the next ADD sets it up again"
        )
    if network.promisc and not bridge.promisc:
        raise CniError(
            CHECK_FAILED, f"promiscMode: bridge {network.bridge} lost it; the next ADD sets it again"
        )
    _check_port(kernel, network, bridge, host_ifname(call.container, call.ifname), call)
    holder = gateway_holder(kernel, network, bridge)
    for gateway in own_gateways(network):
        if not has_gateways(kernel, holder, [gateway]):
            raise CniError(
                CHECK_FAILED,
                f"{holder.name} lost its gateway {ip_text(gateway[0])}; the next ADD restores it",
            )
    # Of a netconf that is not remembered, since an upgrade or a state file made anew, what stands now counts.
    handles = known.table_handle if known.bridge_index else nft.handles()
    if not nft.standing(network, handles):
        raise CniError(
            CHECK_FAILED, f"the nftables table inet {nft.TABLE} is gone or new; the next ADD mends it"
        )


def _check_port(kernel: Kernel, network: Network, bridge: Link, name: str, call: Call) -> None:
    host = kernel.link(name)
    if host is None or not host.up or host.master != bridge.index:
        raise CniError(
            CHECK_FAILED,
            f"{name}, the node's end of {call.ifname}, is missing, down or not a port of {network.bridge}",
        )
    if network.hairpin or network.isolated:
        from cni.port import port_flags

        for key, wanted, found in zip(
            ("hairpinMode", "portIsolation"),
            (network.hairpin, network.isolated),
            port_flags(host),
            strict=True,
        ):
            if wanted and not found:
                raise CniError(CHECK_FAILED, f"{key}: {name} lost it; set it on the port, or delete the pod")
    if network.vlan or network.vlan_trunk:
        from cni.port import filters_vlans
        from cni.vlan import missing

        if not filters_vlans(bridge):
            raise CniError(CHECK_FAILED, f"{bridge.name} stopped keeping VLANs apart; the next ADD mends it")
        lost = missing(kernel, network, bridge, host.index)
        if lost:
            shown = " ".join(map(str, lost[:20]))
            raise CniError(CHECK_FAILED, f"{name} is not in VLAN {shown} as it should be; delete the pod")


def _check_pod(kernel: Kernel, network: Network, call: Call, addresses: set[str], told: Told) -> None:
    pod = kernel.link(call.ifname)
    where = f"{call.ifname} in {call.netns}"
    if pod is None:
        raise CniError(CHECK_FAILED, f"{where} is missing; delete the pod, so that it is made anew")
    if network.host_only:
        return
    if not pod.up:
        raise CniError(CHECK_FAILED, f"{where} is down; set it up")
    if told.mac and mac_text(pod.address) != told.mac:
        raise CniError(CHECK_FAILED, f"{where} has MAC {mac_text(pod.address)}, and ADD gave {told.mac}")
    if told.mtu and pod.mtu != told.mtu:
        raise CniError(CHECK_FAILED, f"{where} has MTU {pod.mtu}, and ADD gave {told.mtu}")
    present = {f"{ip_text(ip)}/{prefixlen}" for ip, prefixlen in kernel.addresses(pod.index)}
    for address in sorted(addresses):
        if address not in present:
            raise CniError(
                CHECK_FAILED, f"{where} lost its address {address}; delete the pod, so that it is made anew"
            )
    _check_routes(kernel, where, told.routes)


def _check_routes(kernel: Kernel, where: str, wanted: Sequence[PodRoute]) -> None:
    """By destination alone: what plugins behind this one change of a route is their right."""
    present = {
        (one.dst, one.prefixlen)
        for family in (AF_INET, AF_INET6)
        for one in (parse_route(payload) for _, payload in kernel.socket.dump(route_dump(family)))
    }
    for route in wanted:
        if (route.dst, route.prefixlen) not in present:
            raise CniError(CHECK_FAILED, f"{where} lost its route {ip_text(route.dst)}/{route.prefixlen}")
