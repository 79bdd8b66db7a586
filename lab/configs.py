"""The text of every configuration file in the lab, made from a topology. Pure."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from lab.topology import RackKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from lab.topology import Peering, PodNetwork, Prefix, Router, Timers, Topology, VipPool

CNI_VERSION = "1.0.0"
CONNECT_RETRY = 1  # seconds; all timers are short, a person is waiting
DRAIN, IDLE, DAMPING = 10, 3, 1  # seconds
# So many that few are busy: a bucket with a connection after the other never leaves a pod that drains.
BUCKETS = 16384
CAPABILITIES = ("anycast", "io.kubernetes.cri.pod-annotations")


def conflist(network: PodNetwork, state_dir: Path, pools: Sequence[VipPool] = ()) -> str:
    """A CNI configuration list as an operator writes it: a bridge that is the pods' gateway.

    With `pools`, pods may ask for virtual IPs in them.
    """
    defaults = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    versions = {subnet.version for subnet in network.subnets}
    plugin: dict[str, Any] = {
        "type": "anypod",
        "bridge": network.bridge,
        "isGateway": True,
        "ipMasq": False,
        "stateDir": str(state_dir),
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(subnet)}] for subnet in network.subnets],
            "routes": [{"dst": str(default)} for default in defaults if default.version in versions],
        },
    }
    if pools:
        plugin["capabilities"] = dict.fromkeys(CAPABILITIES, True)
        granted = [
            {"name": pool.name, "addresses": [str(prefix) for prefix in pool.prefixes]} for pool in pools
        ]
        plugin["anycast"] = {"pools": granted}
    return json.dumps({"cniVersion": CNI_VERSION, "name": network.name, "plugins": [plugin]}, indent=2) + "\n"


def speaker_toml(router: Router, topology: Topology, api: str, state_dir: Path) -> str:
    """The speaker's configuration of one router; one without pod networks is a rack and passes routes on."""
    tables = [
        f"[bgp]\nasn = {router.asn}\nrouter-id = {_quoted(router.router_id)}\n",
        f"[gobgpd]\napi = {_quoted(api)}\n",
        *(
            _peer(peering, topology.timers, waits=_waits(peering, router, topology))
            for peering in topology.peerings(router.name)
        ),
        f"[announce]\nsubnets = {_list(router.subnets)}\nprefixes = {_list(router.prefixes)}",
        f"transit = {_boolean(not router.networks)}\n",
        f"[state]\ndir = {_quoted(state_dir)}\nfollow = {_boolean(bool(router.networks))}\n",
        *([_anycast(topology.pools)] if topology.pools and router.networks else []),
    ]
    return "\n".join(tables)


def bird(router: Router, topology: Topology) -> str:
    """bird.conf (BIRD 2) of a rack: eBGP to each node, ECMP into the kernel."""
    timers = topology.timers
    blocks = [
        "log stderr all;",
        f"router id {router.router_id};",
        "protocol device { scan time 10; }",
        "protocol direct { ipv4; ipv6; }",
        *(
            f"protocol kernel kernel{v} {{ merge paths on; ipv{v} {{ import none; "
            f"export where source = RTS_BGP; }}; }}"
            for v in (4, 6)
        ),
    ]
    for peering in topology.peerings(router.name):
        v = peering.remote.version
        wanted = " || ".join(["source = RTS_BGP", *(f"net = {p}" for p in router.prefixes if p.version == v)])
        blocks.append(
            f"protocol bgp {peering.remote_member}_{v} {{\n"
            f"  local {peering.local} as {router.asn};\n"
            f"  neighbor {peering.remote} as {peering.remote_asn};\n"
            f"  hold time {timers.hold}; keepalive time {timers.keepalive}; connect retry time {CONNECT_RETRY};\n"
            f"  connect delay time {CONNECT_RETRY}; error wait time {CONNECT_RETRY}, {timers.keepalive};\n"
            f"  ipv{v} {{ import all; export where {wanted}; }};\n}}"
        )
    return "\n".join([*blocks, ""])


def _waits(peering: Peering, router: Router, topology: Topology) -> bool:
    """Whether this end leaves the dialling to the other. Between two gobgpd one end must.

    A gobgpd that lost a session, or whose attempt failed, turns all connections away for five
    seconds. From 3.11 on the first attempt comes one to two seconds after that: two that dial
    turn each other away, for a minute now and then.
    """
    if topology.rack is RackKind.GOBGP:
        return not router.networks
    return topology.rack is RackKind.NONE and int(peering.local) > int(peering.remote)


def _peer(peering: Peering, timers: Timers, *, waits: bool) -> str:
    return (
        f"[[peer]]\naddress = {_quoted(peering.remote)}\nasn = {peering.remote_asn}\n"
        f"description = {_quoted(peering.remote_member)}\nlocal-address = {_quoted(peering.local)}\n"
        f"passive = {_boolean(waits)}\n"
        f"[peer.timers]\nconnect-retry = {CONNECT_RETRY}\nhold = {timers.hold}\nkeepalive = {timers.keepalive}\n"
    )


def _anycast(pools: Sequence[VipPool]) -> str:
    """Times are short here too: of a drain, until a bucket counts as idle, until a new number is told."""
    tables = [
        f"[[anycast.pool]]\nname = {_quoted(pool.name)}\nprefixes = {_list(pool.prefixes)}\n"
        f"link-bandwidth = {_quoted(pool.link_bandwidth)}\ndamping = {DAMPING}\n"
        for pool in pools
    ]
    return "\n".join([f"[anycast]\ndrain = {DRAIN}\nbuckets = {BUCKETS}\nidle-timer = {IDLE}\n", *tables])


def _quoted(value: object) -> str:
    """A TOML basic string; JSON's escapes are TOML's."""
    return json.dumps(str(value))


def _list(prefixes: Sequence[Prefix] | Iterable[Prefix]) -> str:
    return "[" + ", ".join(_quoted(prefix) for prefix in prefixes) + "]"


def _boolean(value: bool) -> str:
    return "true" if value else "false"
