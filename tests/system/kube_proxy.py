"""What kube-proxy writes for services, in its iptables mode and in its nftables mode.

The chains, their names and their order are those of Kubernetes 1.31 and later, without node ports, load
balancers and session affinity. The unit tests hold the names to those that kube-proxy's own tests expect.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from dataclasses import dataclass

MARK = "0x4000"
HOOKS = ("INPUT", "OUTPUT", "FORWARD")


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a service in one family, with the pods behind it as (address, port)."""

    namespace: str
    name: str
    port_name: str
    protocol: str
    cluster_ip: str
    port: int
    endpoints: tuple[tuple[str, int], ...]

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port_name}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The ranges of one family, and whether all that goes to a service is masqueraded (`masqueradeAll`)."""

    pods: str
    services: str
    masquerade_all: bool = False


def _hash(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()).decode()


def socket_text(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def service_chain(one: ServicePort) -> str:
    """The iptables chain of a service's port."""
    return f"KUBE-SVC-{_hash(one.title + one.protocol)[:16]}"


def endpoint_chain(one: ServicePort, endpoint: tuple[str, int]) -> str:
    """The iptables chain of a pod behind it."""
    return f"KUBE-SEP-{_hash(one.title + one.protocol + socket_text(*endpoint))[:16]}"


def iptables(ports: list[ServicePort], cluster: Cluster) -> str:
    """Both tables of one family, as iptables-restore takes them."""
    lines = _filter_table(cluster)
    chains = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"]
    portals = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
    rules = [
        f"-A PREROUTING {portals}",
        f"-A OUTPUT {portals}",
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        f"-A KUBE-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN",
        f"-A KUBE-POSTROUTING -j MARK --xor-mark {MARK}",
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT"'
        " -j MASQUERADE --random-fully",
        f"-A KUBE-MARK-MASQ -j MARK --or-mark {MARK}",
    ]
    for one in ports:
        chains += [service_chain(one), *(endpoint_chain(one, each) for each in one.endpoints)]
        rules += _service_rules(one, cluster)
    rules += [
        '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule'
        ' in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'
    ]
    lines += ["*nat", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT"]
    return "\n".join([*lines, ""])


def _filter_table(cluster: Cluster) -> list[str]:
    new = "-m conntrack --ctstate NEW"
    jumps = [
        ("INPUT", "kubernetes externally-visible service portals", new, "KUBE-EXTERNAL-SERVICES"),
        ("FORWARD", "kubernetes externally-visible service portals", new, "KUBE-EXTERNAL-SERVICES"),
        ("INPUT", "kubernetes health check service ports", "", "KUBE-NODEPORTS"),
        ("FORWARD", "kubernetes service portals", new, "KUBE-SERVICES"),
        ("OUTPUT", "kubernetes service portals", new, "KUBE-SERVICES"),
        ("FORWARD", "kubernetes forwarding rules", "", "KUBE-FORWARD"),
        *((hook, "kubernetes load balancer firewall", new, "KUBE-PROXY-FIREWALL") for hook in HOOKS),
    ]
    own = [
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules"'
        f" -m mark --mark {MARK}/{MARK} -j ACCEPT",
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule"'
        " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ]
    if ":" not in cluster.pods:
        own += ["-A INPUT -j KUBE-FIREWALL", "-A OUTPUT -j KUBE-FIREWALL"]
        own += [
            '-A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -d 127.0.0.0/8'
            " ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
        ]
    chains = dict.fromkeys([*(target for *_, target in jumps), "KUBE-FIREWALL"])
    return [
        "*filter",
        *(f":{chain} - [0:0]" for chain in chains),
        *(
            f'-A {hook} -m comment --comment "{why}" {match} -j {target}'
            for hook, why, match, target in jumps
        ),
        *own,
        "COMMIT",
    ]


def _service_rules(one: ServicePort, cluster: Cluster) -> list[str]:
    chain, protocol = service_chain(one), f"-m {one.protocol} -p {one.protocol}"
    about = f'-m comment --comment "{one.title}'
    to_service = f'{about} cluster IP" {protocol} -d {one.cluster_ip} --dport {one.port}'
    strangers = "" if cluster.masquerade_all else f" ! -s {cluster.pods}"
    rules = [
        f"-A KUBE-SERVICES {to_service} -j {chain}",
        f"-A {chain} {to_service}{strangers} -j KUBE-MARK-MASQ",
    ]
    for number, endpoint in enumerate(one.endpoints):
        left, name = len(one.endpoints) - number, endpoint_chain(one, endpoint)
        share = f" -m statistic --mode random --probability {1 / left:0.10f}" if left > 1 else ""
        rules += [
            f'-A {chain} {about} -> {socket_text(*endpoint)}"{share} -j {name}',
            f'-A {name} {about}" -s {endpoint[0]} -j KUBE-MARK-MASQ',
            f'-A {name} {about}" {protocol} -j DNAT --to-destination {socket_text(*endpoint)}',
        ]
    return rules


def nft_service_chain(one: ServicePort) -> str:
    """The nftables chain of a service's port."""
    name = f"{one.namespace}/{one.name}/{one.protocol}/{one.port_name}"
    return f"service-{_hash(name)[:8]}-{name}"


def nft_endpoint_chain(one: ServicePort, endpoint: tuple[str, int]) -> str:
    """The nftables chain of a pod behind it."""
    address, port = endpoint[0].replace(":", "."), endpoint[1]
    name = f"{one.namespace}/{one.name}/{one.protocol}/{one.port_name}__{address}/{port}"
    return f"endpoint-{_hash(name)[:8]}-{name}"


# Base chains: kind, hook, priority, and what is done in them.
NFT_BASE: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "filter-prerouting-pre-dnat": ("filter", "prerouting", -110, ("ct state new jump firewall-check",)),
    "filter-output-pre-dnat": ("filter", "output", -110, ("ct state new jump firewall-check",)),
    "filter-forward": (
        *("filter", "forward", 0),
        ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    ),
    "filter-input": (
        *("filter", "input", 0),
        ("ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"),
    ),
    "filter-output": (
        *("filter", "output", 0),
        ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    ),
    "nat-prerouting": ("nat", "prerouting", -100, ("jump services",)),
    "nat-output": ("nat", "output", -100, ("jump services",)),
    "nat-postrouting": ("nat", "postrouting", 100, ("jump masquerading",)),
}
NFT_PLAIN = (
    *("cluster-ips-check", "firewall-check", "mark-for-masquerade", "masquerading", "services"),
    *("nodeport-endpoints-check", "service-endpoints-check", "reject-chain"),
)


def nftables(ports: list[ServicePort], cluster: Cluster) -> str:
    """The table `kube-proxy` of one family, as `nft -f` takes it."""
    family = "ip6" if ":" in cluster.pods else "ip"
    address = "ipv6_addr" if family == "ip6" else "ipv4_addr"
    own = f"{family} kube-proxy"
    key = f"{address} . inet_proto . inet_service"
    lookup = f"{family} daddr . meta l4proto . th dport"
    maps = {"firewall-ips": key, "no-endpoint-services": key, "service-ips": key}
    maps |= dict.fromkeys(("no-endpoint-nodeports", "service-nodeports"), "inet_proto . inet_service")
    nodeports = f"{family} daddr @nodeport-ips meta l4proto . th dport vmap"
    rules = [
        f'cluster-ips-check {family} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"',
        f"cluster-ips-check {family} daddr {{ {cluster.services} }} drop"
        ' comment "Drop traffic to unallocated ClusterIPs"',
        f"firewall-check {lookup} vmap @firewall-ips",
        f"mark-for-masquerade mark set mark or {MARK}",
        f"masquerading mark and {MARK} == 0 return",
        f"masquerading mark set mark xor {MARK}",
        "masquerading masquerade fully-random",
        f"nodeport-endpoints-check {nodeports} @no-endpoint-nodeports",
        "reject-chain reject",
        f"service-endpoints-check {lookup} vmap @no-endpoint-services",
        f"services {lookup} vmap @service-ips",
        f"services {nodeports} @service-nodeports",
    ]
    for one in ports:
        rules += _nft_service_rules(one, cluster, family)
    bases = [
        f"add chain {own} {name} {{ type {kind} hook {hook} priority {priority} ; }}"
        for name, (kind, hook, priority, _) in NFT_BASE.items()
    ]
    jumps = [f"{name} {rule}" for name, (*_, done) in NFT_BASE.items() for rule in done]
    chains = dict.fromkeys([*NFT_PLAIN, *(rule.split()[0] for rule in rules)])
    elements = [f"add element {own} cluster-ips {{ {one.cluster_ip} }}" for one in ports]
    elements += [
        f"add element {own} service-ips {{ {one.cluster_ip} . {one.protocol} . {one.port}"
        f" : goto {nft_service_chain(one)} }}"
        for one in ports
    ]
    return "\n".join(
        [
            f'add table {own} {{ comment "rules for kube-proxy" ; }}',
            *(f"add set {own} {name} {{ type {address} ; }}" for name in ("cluster-ips", "nodeport-ips")),
            *(f"add map {own} {name} {{ type {kind} : verdict ; }}" for name, kind in maps.items()),
            *(f"add chain {own} {name}" for name in chains),
            *bases,
            *(f"add rule {own} {rule}" for rule in [*jumps, *rules]),
            *elements,
            "",
        ]
    )


def _nft_service_rules(one: ServicePort, cluster: Cluster, family: str) -> list[str]:
    chain = nft_service_chain(one)
    strangers = "" if cluster.masquerade_all else f"{family} saddr != {cluster.pods} "
    names = [nft_endpoint_chain(one, each) for each in one.endpoints]
    choices = " , ".join(f"{number} : goto {name}" for number, name in enumerate(names))
    rules = [
        f"{chain} {family} daddr {one.cluster_ip} {strangers}jump mark-for-masquerade",
        f"{chain} numgen random mod {len(names)} vmap {{ {choices} }}",
    ]
    for name, endpoint in zip(names, one.endpoints, strict=True):
        rules += [
            f"{name} {family} saddr {endpoint[0]} jump mark-for-masquerade",
            f"{name} meta l4proto {one.protocol} dnat to {socket_text(*endpoint)}",
        ]
    return rules
