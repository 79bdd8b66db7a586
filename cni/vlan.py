"""VLANs of a bridge network: which ones a port is in, and the interface by which the node is in one.

Loaded only where a network asks for VLANs.
"""

from __future__ import annotations

from cni.port import default_vlan, parse_vlans, port_vlan_delete, port_vlans_add, vlan_dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.attach import Kernel
    from cni.link import Link
    from cni.network import Network

# The one that frames without a tag are in where a trunk names none.
NATIVE_OF_TRUNKS = 1


def native(network: Network) -> int:
    """The VLAN of a pod's frames without a tag."""
    return network.vlan or NATIVE_OF_TRUNKS


def join(network: Network, bridge: Link, index: int, trunk: bool = True) -> list[bytes]:
    """The messages that put a port of the bridge into the network's VLANs."""
    given = default_vlan(bridge)
    leave = [port_vlan_delete(index, given)] if given and not network.preserve_default_vlan else []
    return [*leave, port_vlans_add(index, native(network), network.vlan_trunk if trunk else ())]


def wanted(network: Network, bridge: Link) -> dict[int, bool]:
    """The VLANs that a pod's port is in, True for the one of frames without a tag."""
    found = dict.fromkeys(network.vlan_trunk, False) | {native(network): True}
    given = default_vlan(bridge)
    return found | {given: given == native(network)} if given and network.preserve_default_vlan else found


def missing(kernel: Kernel, network: Network, bridge: Link, index: int) -> list[int]:
    """The VLANs that a pod's port should be in and is not, or not in the way it should be."""
    present: dict[int, bool] = {}
    for _, payload in kernel.socket.dump(vlan_dump()):
        port, vlans = parse_vlans(payload)
        if port == index:
            present = vlans
    return [one for one, native_one in wanted(network, bridge).items() if present.get(one) is not native_one]


def gateway_ifname(network: Network) -> str:
    """The node's interface in the VLAN, `cni0.100`, which has the gateway addresses."""
    return f"{network.bridge}.{network.vlan}"
