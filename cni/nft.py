"""Our nftables tables: sets and maps that pods have elements in, and rules that no pod adds to.

`table inet anypod` masquerades, and maps ports of the node to ports of pods; `table bridge anypod`
drops frames with a hardware address that is not the pod's. What is looked at for each pod stands
first, over netlink; what is made once for a network is made by nft(8).
"""

from __future__ import annotations

import struct

from cni import sysctl
from cni.errors import INVALID_CONFIG, KERNEL_REFUSED, TRY_AGAIN_LATER, CniError
from cni.netlink import NetlinkError, NetlinkSocket, attribute, attributes, message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.network import Network

TABLE = "anypod"
SECONDS = 20
NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_GETTABLE = 1
NFTA_TABLE_NAME = 1
NFTA_TABLE_HANDLE = 4
NFPROTO_INET = 1
NFPROTO_BRIDGE = 7
_NFGENMSG = struct.Struct("=BBH")
_HANDLE_BITS = 31


def _handle(netfilter: NetlinkSocket, family: int) -> int:
    body = (_NFGENMSG.pack(family, 0, 0), attribute(NFTA_TABLE_NAME, TABLE.encode() + b"\0"))
    kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE
    try:
        found = attributes(netfilter.get(message(kind, 1, body))[1], _NFGENMSG.size)
    except NetlinkError:
        return 0
    return int.from_bytes(found.get(NFTA_TABLE_HANDLE, b"\1"), "big")


def table_handle(family: int = NFPROTO_INET) -> int:
    """The number that the kernel gave a table, 0 where there is none: a firewall's reload flushes all tables."""
    netfilter = NetlinkSocket(protocol=NETLINK_NETFILTER)
    try:
        return _handle(netfilter, family)
    finally:
        netfilter.close()


def handles() -> int:
    """The handles of both tables as one number: what `standing` is told later."""
    return table_handle(NFPROTO_INET) | table_handle(NFPROTO_BRIDGE) << _HANDLE_BITS


def standing(network: Network, remembered: int, ports: bool = False) -> bool:
    """Whether all tables stand that did when the network was made ready, and those that it needs now.

    `remembered` is what `handles` told then. A table that was made anew, by hand or for another
    network, lacks what this one put in.
    """
    inet, bridge = remembered & (1 << _HANDLE_BITS) - 1, remembered >> _HANDLE_BITS
    if (network.masquerade and not inet) or (network.macspoofchk and not bridge):
        return False
    if inet and table_handle(NFPROTO_INET) != inet:
        return False
    if bridge and table_handle(NFPROTO_BRIDGE) != bridge:
        return False
    return not ports or _maps_ports(network)


def _maps_ports(network: Network) -> bool:
    """Whether ports are mapped for this network's bridge; a bridge that was made anew lost its sysctl."""
    from cni.elements import Element, ElementSocket, interface

    name = gateway_interface(network)
    netfilter = ElementSocket()
    known = not netfilter.missing([Element("bridges", interface(name))])
    netfilter.close()
    if known:
        allow_loopback(network)
    return known


def gateway_interface(network: Network) -> str:
    """The interface by which the node routes to the network's pods."""
    from cni.bridge import has_own_gateway

    if has_own_gateway(network):
        from cni.vlan import gateway_ifname

        return gateway_ifname(network)
    return network.bridge


def allow_loopback(network: Network) -> None:
    """Lets 127.0.0.1 reach a mapped port. What pods send to 127.0.0.0/8 the table drops; it stands before this."""
    sysctl.ensure(f"ipv4/conf/{gateway_interface(network)}/route_localnet", "1")


# ---- made once, by nft(8)

# A set holds both ends of the exception: what stays among this node's pods, and multicast,
# keeps its source, as with the reference plugins.
_MASQUERADE = r"""
table inet anypod {
    set masquerade4 { type ipv4_addr; flags interval; auto-merge; }
    set masquerade6 { type ipv6_addr; flags interval; auto-merge; }
    chain postrouting { type nat hook postrouting priority srcnat; policy accept; }
}
flush chain inet anypod postrouting
add rule inet anypod postrouting ip saddr @masquerade4 ip daddr != @masquerade4 \
    ip daddr != 224.0.0.0/4 masquerade
add rule inet anypod postrouting ip6 saddr @masquerade6 ip6 daddr != @masquerade6 \
    ip6 daddr != ff00::/8 masquerade
"""

# hostports: (address of the node,) protocol, its port to the pod's address and port. published: the same
# as a connection has it once it is mapped. A pod that comes back to its own bridge by a port of the node
# is masqueraded, or the answer would take the short way and be no answer; so is what comes from 127.0.0.1.
# Under br_netfilter what stays on the bridge comes from no interface (0), as what the node itself sends.
# ::1 is left out: the kernel lets nothing out with that source, and a service of the node's own may be there.
_PORTS = r"""
table inet anypod {
    map hostports4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
    map hostports6 { type inet_proto . inet_service : ipv6_addr . inet_service; }
    map hostports4_ip { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
    map hostports6_ip { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }
    set published4 { type inet_proto . inet_service . ipv4_addr . inet_service; }
    set published6 { type inet_proto . inet_service . ipv6_addr . inet_service; }
    set bridges { type ifname; }
    set hairpins { type ifname . ifname; }
    chain loopback { type filter hook prerouting priority raw; policy accept; }
    chain hostports { }
    chain prerouting { type nat hook prerouting priority dstnat; policy accept; }
    chain output { type nat hook output priority -100; policy accept; }
    chain published { }
    chain hairpin { type nat hook postrouting priority srcnat; policy accept; }
}
flush chain inet anypod loopback
flush chain inet anypod hostports
flush chain inet anypod prerouting
flush chain inet anypod output
flush chain inet anypod published
flush chain inet anypod hairpin
add rule inet anypod loopback iifname @bridges ip daddr 127.0.0.0/8 drop
add rule inet anypod loopback iifname @bridges ip saddr 127.0.0.0/8 drop
add rule inet anypod hostports ip6 daddr ::1 return
add rule inet anypod hostports meta l4proto { tcp, udp, sctp } \
    dnat ip to ip daddr . meta l4proto . th dport map @hostports4_ip
add rule inet anypod hostports meta l4proto { tcp, udp, sctp } \
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @hostports6_ip
add rule inet anypod hostports meta l4proto { tcp, udp, sctp } \
    dnat ip to meta l4proto . th dport map @hostports4
add rule inet anypod hostports meta l4proto { tcp, udp, sctp } \
    dnat ip6 to meta l4proto . th dport map @hostports6
add rule inet anypod prerouting fib daddr type local jump hostports
add rule inet anypod output fib daddr type local jump hostports
add rule inet anypod published meta l4proto { tcp, udp, sctp } \
    meta l4proto . ct original proto-dst . ip daddr . th dport @published4 masquerade
add rule inet anypod published meta l4proto { tcp, udp, sctp } \
    meta l4proto . ct original proto-dst . ip6 daddr . th dport @published6 masquerade
add rule inet anypod hairpin oifname @bridges ip saddr 127.0.0.0/8 masquerade
add rule inet anypod hairpin iifname . oifname @hairpins ct status dnat jump published
add rule inet anypod hairpin iif 0 oifname @bridges fib saddr type != local ct status dnat jump published
"""

_SPOOFING = r"""
table bridge anypod {
    set guarded { type ifname; }
    set macspoof { type ifname . ether_addr; }
    chain prerouting { type filter hook prerouting priority -300; policy accept; }
}
flush chain bridge anypod prerouting
add rule bridge anypod prerouting iifname @guarded iifname . ether saddr != @macspoof drop
"""


def masquerade_text(subnets: Iterable[str]) -> str:
    """For `nft -f -`: masquerading, with these subnets in its sets; what these hold already stays."""
    lines = [_MASQUERADE]
    for family in (4, 6):
        own = sorted(one for one in set(subnets) if (":" in one) == (family == 6))
        if own:
            lines.append(f"add element inet {TABLE} masquerade{family} {{ {', '.join(own)} }}\n")
    return "".join(lines)


def masquerade(subnets: Iterable[str]) -> None:
    """Masquerades these subnets too. CniError 11 where nft does not answer, 103 where it refuses."""
    _run(masquerade_text(subnets))


def check_command(what: str = "ipMasq: true") -> None:
    """CniError 7 where nft(8) is missing, before anything is made that needs it."""
    import shutil

    if shutil.which("nft") is None:
        raise CniError(INVALID_CONFIG, f"{what} needs the command nft; install the package nftables")


def needs(network: Network, ports: bool) -> str:
    """The key that asks for nftables, "" where none does."""
    if network.masquerade:
        return "ipMasq: true"
    if network.macspoofchk:
        return "macspoofchk: true"
    return "runtimeConfig.portMappings" if ports else ""


def install(network: Network, ports: bool = False, held: Iterable[str] = ()) -> None:
    """Makes the tables that the network needs, or mends them, in one transaction of nft(8); what stands, stays.

    `held` names the sets in which attachments have elements already: they are made again too, for
    whoever puts the elements in, after a firewall's reload has flushed everything.
    CniError 11 where nft does not answer, 103 where it refuses.
    """
    from cni.elements import FAMILIES

    lost = {FAMILIES.get(name) for name in held}
    maps_ports = ports or NFPROTO_INET in lost
    subnets = {one.subnet_text() for one in network.ranges()}
    parts = [masquerade_text(subnets)] if network.masquerade else []
    if maps_ports:
        parts.append(_PORTS)
    if network.macspoofchk or NFPROTO_BRIDGE in lost:
        parts.append(_SPOOFING)
    if parts:
        _run("".join(parts))
    if maps_ports:
        _know_bridge(network)
    if ports:
        allow_loopback(network)


def _know_bridge(network: Network) -> None:
    from cni.elements import Element, ElementSocket, interface

    name = interface(gateway_interface(network))
    netfilter = ElementSocket()
    netfilter.put([Element("bridges", name), Element("hairpins", name + name)])
    netfilter.close()


def _run(text: str) -> None:
    import subprocess

    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, text=True, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CniError(TRY_AGAIN_LATER, f"nft did not answer within {SECONDS} s; try again later") from None
    if done.returncode:
        raise CniError(KERNEL_REFUSED, "nft refused the tables of anypod", done.stderr.strip()[:1000])
