"""The node's part of a network, looked at and not touched: does it stand as it was made?"""

from __future__ import annotations

from cni.network import BUILT_IN, NO_IPAM, PodAddress, to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni.attach import Kernel
    from cni.link import Link
    from cni.network import Network


def standing(kernel: Kernel, network: Network, index: int) -> list[Link]:
    """The bridge, and behind it the interface that has the gateways where that is another one.

    Empty where the bridge is not the one with that index, or lacks what `node.prepare` gave it.
    """
    bridge = kernel.link(network.bridge)
    if bridge is None or bridge.index != index or not bridge.up or (network.promisc and not bridge.promisc):
        return []
    links = [bridge]
    if network.vlan or network.vlan_trunk:
        from cni.port import filters_vlans

        if not filters_vlans(bridge):
            return []
        if has_own_gateway(network):
            from cni.vlan import gateway_ifname

            holder = kernel.link(gateway_ifname(network))
            if holder is None or not holder.up:
                return []
            links.append(holder)
    return links if has_gateways(kernel, links[-1], own_gateways(network)) else []


def has_own_gateway(network: Network) -> bool:
    """Whether the gateways are on an interface of the network's VLAN, not on the bridge."""
    return network.vlan != 0 and network.is_gateway and network.ipam != NO_IPAM


def gateway_holder(kernel: Kernel, network: Network, bridge: Link) -> Link:
    """The link that has the network's gateways: the bridge, but for a VLAN of its own, once that is made."""
    if has_own_gateway(network):
        from cni.vlan import gateway_ifname

        return kernel.link(gateway_ifname(network)) or bridge
    return bridge


def own_gateways(network: Network) -> list[tuple[bytes, int]]:
    """The gateway of each range, as (packed, prefix length); none where another plugin gives the addresses."""
    if not network.is_gateway or network.ipam != BUILT_IN:
        return []
    return [(to_bytes(one.gateway, one.family), one.prefixlen) for one in network.ranges()]


def given_gateways(network: Network, addresses: Iterable[PodAddress]) -> list[tuple[bytes, int]]:
    """The gateways of addresses that another plugin gave, as `own_gateways` tells them."""
    return [(one.gateway, one.prefixlen) for one in addresses if network.is_gateway and one.gateway]


def with_gateway(network: Network, address: PodAddress) -> PodAddress:
    """An address that another plugin gave; with `isGateway` its gateway is the subnet's first where it has none."""
    if address.gateway or not network.is_gateway:
        return address
    size = len(address.ip)
    host = (1 << (8 * size - address.prefixlen)) - 1
    first = (int.from_bytes(address.ip, "big") & ~host) + (1 if host else 0)
    return PodAddress(address.ip, address.prefixlen, first.to_bytes(size, "big"))


def has_gateways(kernel: Kernel, holder: Link, gateways: Sequence[tuple[bytes, int]]) -> bool:
    """Whether a link has all of these addresses."""
    return not gateways or kernel.addresses(holder.index).issuperset(gateways)
