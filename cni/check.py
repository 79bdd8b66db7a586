"""CHECK: is the attachment still as ADD left it? What plugins behind this one added is their right."""

from __future__ import annotations

from cni import nft
from cni.attach import Kernel, host_ifname
from cni.errors import CHECK_FAILED, INCOMPATIBLE_VERSION, INVALID_CONFIG, CniError
from cni.netns import enter, open_netns
from cni.network import ip_text, to_bytes
from cni.prepared import Remembered, remembered
from cni.rtnl import AF_INET, AF_INET6, parse_route, route_dump
from cni.spec import WITHOUT_CHECK, network_name
from cni.store import Store
from cni.verbs import state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.network import Network
    from cni.spec import Call


def check(call: Call, conf: dict[str, object], version: str) -> None:
    """CniError 104 names the first thing that is not as ADD left it."""
    if version in WITHOUT_CHECK:
        raise CniError(
            INCOMPATIBLE_VERSION,
            "config version does not allow CHECK",
            f"config is {version}, CHECK needs 0.4.0 or newer",
        )
    previous = conf.get("prevResult")
    if not isinstance(previous, dict) or not isinstance(previous.get("ips", []), list):
        raise CniError(
            INVALID_CONFIG,
            "Required prevResult missing or malformed; the runtime must hand over ADD's result",
        )
    name = network_name(conf)
    netns = open_netns(call.netns)
    store = Store(state_dir(conf))
    known = remembered(store, conf, version)
    held = store.allocation(call.container, call.ifname)
    store.close()
    if held is None or held.network != name:
        raise CniError(CHECK_FAILED, f"network {name} has no allocation for {call.container}/{call.ifname}")
    _check_node(Kernel(), known, call)
    enter(netns)
    _check_pod(Kernel(), known.network, call, held.addresses, _mac(previous, call))


def _mac(previous: dict[str, object], call: Call) -> str:
    """The pod's hardware address that ADD told; empty where the result has none."""
    interfaces = previous.get("interfaces")
    for one in interfaces if isinstance(interfaces, list) else ():
        if isinstance(one, dict) and one.get("name") == call.ifname and one.get("sandbox"):
            return str(one.get("mac", "")).lower()
    return ""


def _check_node(kernel: Kernel, known: Remembered, call: Call) -> None:
    network = known.network
    bridge = kernel.link(network.bridge)
    if bridge is None or not bridge.up:
        raise CniError(
            CHECK_FAILED, f"bridge {network.bridge} is missing or down; the next ADD sets it up again"
        )
    name = host_ifname(call.container, call.ifname)
    host = kernel.link(name)
    if host is None or not host.up or host.master != bridge.index:
        raise CniError(
            CHECK_FAILED,
            f"{name}, the node's end of {call.ifname}, is missing, down or not a port of {network.bridge}",
        )
    present = kernel.addresses(bridge.index)
    for one in network.ranges() if network.is_gateway else ():
        gateway = to_bytes(one.gateway, one.family)
        if (gateway, one.prefixlen) not in present:
            raise CniError(
                CHECK_FAILED,
                f"bridge {network.bridge} lost its gateway {ip_text(gateway)}; the next ADD restores it",
            )
    if network.masquerade and nft.table_handle() != known.table_handle:
        raise CniError(
            CHECK_FAILED, f"the nftables table inet {nft.TABLE} is gone or new; the next ADD mends it"
        )


def _check_pod(kernel: Kernel, network: Network, call: Call, addresses: tuple[str, ...], mac: str) -> None:
    pod = kernel.link(call.ifname)
    where = f"{call.ifname} in {call.netns}"
    if pod is None:
        raise CniError(CHECK_FAILED, f"{where} is missing; delete the pod, so that it is made anew")
    if not pod.up:
        raise CniError(CHECK_FAILED, f"{where} is down; set it up")
    if network.mtu and pod.mtu != network.mtu:
        raise CniError(CHECK_FAILED, f"{where} has MTU {pod.mtu}, and the netconf's mtu is {network.mtu}")
    if mac and pod.address.hex(":") != mac:
        raise CniError(CHECK_FAILED, f"{where} has MAC {pod.address.hex(':')}, and ADD gave {mac}")
    present = {f"{ip_text(ip)}/{prefixlen}" for ip, prefixlen in kernel.addresses(pod.index)}
    for address in addresses:
        if address not in present:
            raise CniError(
                CHECK_FAILED, f"{where} lost its address {address}; delete the pod, so that it is made anew"
            )
    routes = {
        (one.dst, one.prefixlen)
        for family in (AF_INET, AF_INET6)
        for one in (parse_route(payload) for _, payload in kernel.socket.dump(route_dump(family)))
    }
    gateways = [to_bytes(one.gateway, one.family) for one in network.ranges()]
    for route in network.routes_with(gateways):
        if (route.dst, route.prefixlen) not in routes:
            raise CniError(CHECK_FAILED, f"{where} lost its route {ip_text(route.dst)}/{route.prefixlen}")
