"""The node's part of a network, made once: bridge, VLAN, gateway addresses, forwarding, masquerade.

Every step finds out first whether it is done, so that calls which race for the first
pod, and a call that was killed half-way, lead to the same node.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cni import nft, sysctl
from cni.attach import Kernel, local_mac, refused
from cni.bridge import has_own_gateway, own_gateways
from cni.errors import ADDRESS_CONFLICT, INVALID_CONFIG, KERNEL_REFUSED, CniError
from cni.link import address_add, address_delete, link_delete, link_up, veth_create
from cni.netns import SELF
from cni.network import ip_text
from cni.port import bridge_create, bridge_filter_vlans, filters_vlans, link_enslave, link_pin
from cni.vlan import gateway_ifname, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cni.link import Link
    from cni.network import Network

EEXIST = 17
EOPNOTSUPP = 95
LINK_LOCAL = b"\xfe\x80"
PORT_PREFIX = "anyv"


def prepare(network: Network, ports: bool = False, held: Iterable[str] = ()) -> None:
    """Makes what is missing. The caller holds the node's lock.

    `ports`: for a pod with port mappings; `held`: nftables sets in which attachments have elements.
    """
    if key := nft.needs(network, ports):
        nft.check_command(key)
    kernel = Kernel()
    bridge = _bridge(kernel, network)
    holder = hold(kernel, network, bridge, own_gateways(network))
    if network.anycast is not None:
        sysctl.send_no_redirects(holder.name)
    nft.install(network, ports, held)


def hold(kernel: Kernel, network: Network, bridge: Link, gateways: Sequence[tuple[bytes, int]]) -> Link:
    """Gives the node these gateway addresses and lets it forward; returns the link that has them.

    For a network whose addresses another plugin gives, with each pod's own gateways (`bridge.given_gateways`).
    The caller holds the node's lock. CniError 102 where the link has another address of a gateway's subnet.
    """
    holder = _vlan_interface(kernel, network, bridge) if has_own_gateway(network) else bridge
    for gateway in gateways:
        _make_room(kernel, network, holder, gateway, gateways)
    for gateway in gateways:
        _put(kernel, holder, gateway)
    sysctl.ensure_forwarding({4 if len(ip) == 4 else 6 for ip, _ in gateways})
    return holder


def _request(kernel: Kernel, what: str, *messages: bytes) -> None:
    try:
        kernel.socket.request(messages)
    except OSError as error:
        raise refused(what, error) from None


def _present(kernel: Kernel, name: str) -> Link:
    link = kernel.link(name)
    if link is None:
        raise CniError(KERNEL_REFUSED, f"{name} vanished while it was set up; something else removes it")
    return link


def _bridge(kernel: Kernel, network: Network) -> Link:
    name = network.bridge
    made = kernel.link(name) is None
    if made:
        try:
            # A hardware address of its own: a bridge without takes its lowest port's.
            kernel.socket.request([bridge_create(name, local_mac(), network.mtu)])
        except OSError as error:
            if error.errno != EEXIST:
                raise refused(f"bridge {name}", error) from None
    bridge = _present(kernel, name)
    if bridge.kind != "bridge":
        raise CniError(
            INVALID_CONFIG, f"bridge: {name!r} exists and is no bridge; choose another name or remove it"
        )
    if (network.vlan or network.vlan_trunk) and not filters_vlans(bridge):
        bridge = _with_vlans(kernel, network, bridge, made)
    # The node's routes are not for a pod to advertise.
    sysctl.attempt(f"ipv6/conf/{name}/accept_ra", "0")
    if any(one.family == 6 for one in network.ranges()):
        sysctl.attempt(f"ipv6/conf/{name}/accept_dad", "0")
    # Set to what it is, the hardware address stays: otherwise a bridge that somebody made takes its lowest
    # port's, another one with each pod, and neighbours keep the old one for half a minute.
    _request(kernel, f"bridge {name}", link_pin(bridge.index, bridge.address, network.promisc))
    return bridge


def _with_vlans(kernel: Kernel, network: Network, bridge: Link, made: bool) -> Link:
    """The bridge, keeping VLANs apart. One that was made for this and can't do it goes away again."""
    able = True
    try:
        kernel.socket.request([bridge_filter_vlans(bridge.index)])
    except OSError as error:
        if error.errno != EOPNOTSUPP:
            raise refused(f"VLAN filtering of bridge {bridge.name}", error) from None
        able = False
    found = _present(kernel, bridge.name)
    # An older kernel without it drops the wish in silence.
    if able and filters_vlans(found):
        return found
    if made:
        _request(kernel, f"the removal of bridge {bridge.name}", link_delete(bridge.index))
    key, value = ("vlan", network.vlan) if network.vlan else ("vlanTrunk", list(network.vlan_trunk)[:8])
    raise CniError(
        KERNEL_REFUSED,
        f"{key}: {value} needs a bridge that keeps VLANs apart, and this kernel has no VLAN filtering"
        f" (CONFIG_BRIDGE_VLAN_FILTERING); use another kernel, or remove {key}",
    )


def _vlan_interface(kernel: Kernel, network: Network, bridge: Link) -> Link:
    """The node's own interface in the VLAN: as with the reference plugin, the other end of a port of the bridge.

    An interface of that name that somebody made is used as it is.
    """
    from _blake2 import blake2b

    name = gateway_ifname(network)
    port_name = PORT_PREFIX + blake2b(name.encode(), digest_size=6).hexdigest()[:11]
    if kernel.link(name) is None:
        netns = os.open(SELF, os.O_RDONLY | os.O_CLOEXEC)
        try:
            macs = local_mac(), local_mac()
            create = veth_create(port_name, macs[0], bridge.mtu, bridge.index, name, macs[1], netns)
            kernel.socket.request([create])
        except OSError as error:
            if error.errno != EEXIST:
                raise refused(f"{name}, the gateway's interface in VLAN {network.vlan}", error) from None
        finally:
            os.close(netns)
    holder, port = _present(kernel, name), kernel.link(port_name)
    messages = [link_up(holder.index)]
    if port is not None:
        # Also where it was the port of a bridge that is gone.
        messages += [link_enslave(port.index, bridge.index)] if port.master != bridge.index else []
        messages += join(network, bridge, port.index, trunk=False)
        messages.append(link_up(port.index, f"anypod: port of {name}"))
    _request(kernel, f"{name}, the gateway's interface in VLAN {network.vlan}", *messages)
    return holder


def _make_room(
    kernel: Kernel,
    network: Network,
    holder: Link,
    gateway: tuple[bytes, int],
    gateways: Sequence[tuple[bytes, int]],
) -> None:
    """Before the first gateway is put: a refused netconf leaves the bridge as it was."""
    ip, prefixlen = gateway
    present = kernel.addresses(holder.index)
    if gateway in present:
        return
    for other in sorted(present.difference(gateways)):
        if other[0][:2] == LINK_LOCAL or not _in_the_way(network, gateway, other):
            continue
        shown = f"{ip_text(other[0])}/{other[1]}"
        if not network.force_address:
            raise CniError(
                ADDRESS_CONFLICT,
                f"bridge {holder.name} already has an IP address different from {ip_text(ip)}/{prefixlen}:"
                f" {shown}; remove that address (ip address del {shown} dev {holder.name}),"
                " set the range's gateway to it, or set forceAddress",
            )
        _request(kernel, f"the removal of {shown} from {holder.name}", address_delete(holder.index, *other))


def _put(kernel: Kernel, holder: Link, gateway: tuple[bytes, int]) -> None:
    ip, prefixlen = gateway
    if gateway in kernel.addresses(holder.index):
        return
    if len(ip) == 16:
        sysctl.ensure(f"ipv6/conf/{holder.name}/disable_ipv6", "0")
        sysctl.attempt(f"ipv6/conf/{holder.name}/accept_dad", "0")
    # Without duplicate address detection: the first pod needs its gateway now.
    try:
        kernel.socket.request([address_add(holder.index, ip, prefixlen)])
    except OSError as error:
        if error.errno != EEXIST:
            raise refused(f"gateway {ip_text(ip)}/{prefixlen}", error) from None


def _in_the_way(network: Network, one: tuple[bytes, int], other: tuple[bytes, int]) -> bool:
    """Whether a link can't have both: one subnet within the other, or any two of IPv4 with forceAddress."""
    if len(one[0]) != len(other[0]):
        return False
    if network.force_address and len(one[0]) == 4:
        return True
    shift = 8 * len(one[0]) - min(one[1], other[1])
    return int.from_bytes(one[0], "big") >> shift == int.from_bytes(other[0], "big") >> shift
