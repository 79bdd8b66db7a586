"""What the node's links and its packet filter mean for pods. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from cni.network import to_bytes
from speaker.commands.output import clean, count
from speaker.doctor.values import Facts, Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni.allocation import Allocation
    from cni.link import Link
    from cni.network import Network
    from speaker.commands.record import State

# What IPv6 wants of every link (RFC 8200, 5).
LEAST_MTU = 1280
BRIDGE_FILTERS = {"ip": "bridge/bridge-nf-call-iptables", "ip6": "bridge/bridge-nf-call-ip6tables"}
SHOWN = 10


def findings(facts: Facts) -> Iterator[Finding]:
    """Bridges and pods' links, their MTU, the packet filter, the table of neighbours."""
    if isinstance(facts.state, str):
        yield from _filter(facts)
        return
    yield from _bridges(facts, facts.state)
    yield from _mtu(facts, facts.state)
    yield from _filter(facts)
    yield from _neighbours(facts, facts.state)


def families(facts: Facts) -> set[int]:
    """The families that pods have, or would get: 4 and 6; none where no network is known."""
    conflists = () if isinstance(facts.conflists, str) else facts.conflists
    nets = [one.compiled for one in conflists if one.compiled]
    held: list[str] = []
    if not isinstance(facts.state, str):
        nets += facts.state.networks
        held = [text for one in facts.state.allocations for text in one.addresses]
    return {one.family for net in nets for one in net.ranges()} | {6 if ":" in text else 4 for text in held}


def _bridges(facts: Facts, state: State) -> Iterator[Finding]:
    """By network. Earlier configurations are remembered, too: a pod may be on the bridge of any of them."""
    names = {one.network for one in state.allocations if one.host_ifname} | {
        net.name for net in state.networks
    }
    for name in sorted(names):
        pods = [one for one in state.allocations if one.network == name and one.host_ifname]
        nets = [net for net in state.networks if net.name == name and not net.chained]
        if pods:
            yield from _network(facts, name, pods, nets)


def _network(facts: Facts, name: str, pods: list[Allocation], nets: list[Network]) -> Iterator[Finding]:
    links = {link.name: link for link in facts.links}
    held = [links[one.host_ifname] for one in pods if one.host_ifname in links]
    bridges = [links[net.bridge] for net in nets if net.bridge in links]
    # A state file that was made anew remembers no network; but each pod's link is on some bridge.
    off = [
        link
        for link in held
        if link.master not in {one.index for one in bridges} and (nets or not link.master)
    ]
    if off and not bridges:
        which = f" {nets[-1].bridge}" if nets else ""
        yield Finding(
            Level.ERROR,
            f"the bridge{which} of network {name} is gone, and its {count(len(off), 'pod')} with it",
            "end those pods, so that they are made anew: the next pod makes the bridge",
            "bridge",
        )
        return
    for one in bridges:
        if not one.up:
            yield Finding(
                Level.ERROR, f"the bridge {one.name} is down", f"ip link set {one.name} up", "bridge"
            )
    yield from _gateways(facts, pods, nets)
    if off:
        yield Finding(
            Level.ERROR,
            f"{count(len(off), 'link')} of pods not on bridge {bridges[-1].name}: {_names([one.name for one in off])}",
            f"ip link set {off[0].name} master {bridges[-1].name}, and so on",
            "bridge",
        )
    lost = [clean(one.pod or one.container) for one in pods if one.host_ifname not in links]
    if lost:
        what = f"{count(len(lost), 'attachment')} of network {name} without a link: {_names(lost)}"
        yield Finding(Level.WARNING, what, "end those pods; anypod gc, if they are gone already", "bridge")
    if not off and not lost:
        yield Finding(
            Level.OK, f"network {name} has the links of its {count(len(pods), 'pod')}", about="bridge"
        )


def _names(names: list[str]) -> str:
    return ", ".join(names[:SHOWN])


def _gateways(facts: Facts, pods: list[Allocation], nets: list[Network]) -> Iterator[Finding]:
    """Of ranges that pods have addresses of."""
    held = [int(ip_interface(text).ip) for one in pods for text in one.addresses]
    for net in nets:
        if not (net.is_gateway or net.is_default_gateway) or net.vlan or net.bridge not in facts.addresses:
            continue
        there = {text.partition("/")[0] for text in facts.addresses[net.bridge]}
        for one in net.ranges():
            gateway = str(ip_address(to_bytes(one.gateway, one.family)))
            if gateway not in there and any(one.first <= number <= one.last for number in held):
                yield Finding(
                    Level.ERROR,
                    f"the bridge {net.bridge} has lost the gateway's address {gateway} of network {net.name}",
                    f"ip address add {gateway}/{one.prefixlen} dev {net.bridge}",
                    "bridge",
                )


def _mtu(facts: Facts, state: State) -> Iterator[Finding]:
    links = {link.name: link for link in facts.links}
    widest = pod_mtu(facts, state)
    if not widest:
        return
    bridge, size = widest
    narrow = [links[name] for name in sorted(facts.uplinks) if name in links and links[name].mtu < size]
    for link in narrow:
        yield _narrow(link, bridge, size)
    if not narrow and facts.uplinks:
        yield Finding(Level.OK, f"pods' packets of {size} bytes fit the links out of this node", about="mtu")


def pod_mtu(facts: Facts, state: State) -> tuple[str, int] | None:
    """The bridge whose pods send the largest packets, and their size; None without one."""
    links = {link.name: link for link in facts.links}
    ends = {link.index: link.name for link in facts.links}
    sizes = [
        (links[one.host_ifname].mtu, ends.get(links[one.host_ifname].master, one.host_ifname))
        for one in state.allocations
        if one.host_ifname in links
    ]
    bridges = [net for net in state.networks if not net.chained and net.bridge in links]
    sizes += [(net.mtu or links[net.bridge].mtu, net.bridge) for net in bridges]
    if not sizes:
        return None
    size, bridge = max(sizes)
    return bridge, size


def _narrow(link: Link, bridge: str, size: int) -> Finding:
    if link.mtu < LEAST_MTU:
        return Finding(
            Level.ERROR,
            f"the link {link.name} out of this node has an MTU of {link.mtu}, too small for IPv6, which is off there",
            f"ip link set {link.name} mtu {size}",
            "mtu",
        )
    return Finding(
        Level.WARNING,
        f"pods on {bridge} send packets of up to {size} bytes, and the link {link.name} out of this node has an MTU of"
        f" {link.mtu}: larger ones are refused, and lost where pods do not hear of that",
        f'ip link set {link.name} mtu {size}, or set "mtu": {link.mtu} in the netconf and make the pods anew',
        "mtu",
    )


def _filter(facts: Facts) -> Iterator[Finding]:
    if isinstance(facts.chains, str):
        yield Finding(
            Level.WARNING,
            f"the packet filter can't be looked at: {facts.chains}",
            "run this as root",
            "nftables",
        )
        return
    dropping = [one for one in facts.chains if one.hook == "forward" and one.policy == "drop"]
    for one in dropping:
        yield Finding(
            Level.WARNING,
            f"chain {one.name} of table {one.family} {one.table} drops what is forwarded and not allowed by a rule;"
            " pods' packets are forwarded",
            f"see that rules there let pods through: nft list chain {one.family} {one.table} {one.name}",
            "nftables",
        )
    if not dropping:
        yield Finding(Level.OK, "no packet filter drops all that is forwarded", about="nftables")
    yield from _bridge_filter(
        facts, {one.family for one in facts.chains if one.is_kube_proxys}, bool(dropping)
    )


def _bridge_filter(facts: Facts, proxied: set[str], dropping: bool) -> Iterator[Finding]:
    """`proxied`: the families in which kube-proxy has its rules, "ip" and "ip6"."""
    called = {family for family, key in BRIDGE_FILTERS.items() if facts.sysctls.get(key) == "1"}
    if called and dropping:
        yield Finding(
            Level.WARNING,
            "packets between pods on one bridge go through that filter, too (bridge netfilter is on)",
            "sysctl -w net.bridge.bridge-nf-call-iptables=0, unless kube-proxy needs it",
            "bridge-netfilter",
        )
    elif proxied - called:
        settings = " ".join(
            f"net.{BRIDGE_FILTERS[one].replace('/', '.')}=1" for one in sorted(proxied - called)
        )
        yield Finding(
            Level.WARNING,
            "kube-proxy's rules do not see what pods on one bridge send each other (bridge netfilter is off): no answer"
            " comes from a service whose pod is on the same node",
            f"modprobe br_netfilter && sysctl -w {settings}, or set masqueradeAll for kube-proxy",
            "bridge-netfilter",
        )
    elif facts.sysctls.get(BRIDGE_FILTERS["ip"]) is not None:
        state = "on, as kube-proxy needs it" if called else "off"
        yield Finding(Level.OK, f"bridge netfilter is {state}", about="bridge-netfilter")
    for one in () if isinstance(facts.conflists, str) else facts.conflists:
        if proxied & called and one.compiled and not (one.compiled.chained or one.compiled.hairpin):
            yield Finding(
                Level.WARNING,
                f"{one.name}: its pods do not reach themselves by a service of kube-proxy's, without hairpinMode",
                f'set "hairpinMode": true in {one.name} and make the pods anew',
                "bridge-netfilter",
            )


def _neighbours(facts: Facts, state: State) -> Iterator[Finding]:
    """Each pod is a neighbour, and beyond the threshold the kernel forgets some at once."""
    addresses = [text for one in state.allocations for text in one.addresses]
    for version, number in (
        ("ipv4", sum(":" not in text for text in addresses)),
        ("ipv6", sum(":" in text for text in addresses)),
    ):
        limit = facts.sysctls.get(f"{version}/neigh/default/gc_thresh3")
        if limit and limit.isdecimal() and number * 2 > int(limit):
            key = f"net.{version}.neigh.default.gc_thresh"
            yield Finding(
                Level.WARNING,
                f"{number} pods' addresses of {version}, and the kernel keeps {limit} neighbours at most",
                f"sysctl -w {key}2={number * 2} {key}3={number * 4}",
                "neighbours",
            )
