"""What kube-proxy writes for services in its IPVS mode: virtual servers, sets of addresses, and rules that use them.

As of Kubernetes 1.31 and later, without node ports, load balancers and external addresses: their sets are empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.system.kube_proxy import MARK, socket_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.system.kube_proxy import Cluster, ServicePort

DEVICE = "kube-ipvs0"
SYSCTLS = ("conntrack", "expire_nodest_conn", "expire_quiescent_template")
# ipset looks names up in /etc/protocols, which not every machine has.
PROTOCOLS = {"tcp": 6, "udp": 17}
SETS = {
    "LOOP-BACK": "hash:ip,port,ip",
    "CLUSTER-IP": "hash:ip,port",
    "LOAD-BALANCER": "hash:ip,port",
    "EXTERNAL-IP": "hash:ip,port",
    "EXTERNAL-IP-LOCAL": "hash:ip,port",
    "HEALTH-CHECK-NODE-PORT": "bitmap:port",
    "IPVS-IPS": "hash:ip",
}
NAT = ("SERVICES", "POSTROUTING", "NODE-PORT", "LOAD-BALANCER", "MARK-MASQ")
FILTER = (
    *("FORWARD", "NODE-PORT", "PROXY-FIREWALL", "SOURCE-RANGES-FIREWALL"),
    *("IPVS-FILTER", "IPVS-OUT-FILTER"),
)
FILTER_JUMPS = (
    ("FORWARD", "kubernetes forwarding rules", "FORWARD"),
    ("INPUT", "kubernetes health check rules", "NODE-PORT"),
    ("INPUT", "kube-proxy firewall rules", "PROXY-FIREWALL"),
    ("FORWARD", "kube-proxy firewall rules", "PROXY-FIREWALL"),
    ("INPUT", "kubernetes ipvs access filter", "IPVS-FILTER"),
    ("OUTPUT", "kubernetes ipvs access filter", "IPVS-OUT-FILTER"),
)


def _set(name: str, cluster: Cluster) -> str:
    return f"KUBE-6-{name}" if ":" in cluster.pods else f"KUBE-{name}"


def servers(ports: list[ServicePort]) -> str:
    """The virtual servers and the pods behind them, as `ipvsadm -R` takes them."""
    lines = []
    for one in ports:
        server = f"-{one.protocol[0]} {socket_text(one.cluster_ip, one.port)}"
        lines.append(f"-A {server} -s rr")
        lines += [f"-a {server} -r {socket_text(*each)} -m -w 1" for each in one.endpoints]
    return "\n".join([*lines, ""])


def sets(ports: list[ServicePort], cluster: Cluster, local: Collection[str]) -> str:
    """The sets of one family, as `ipset restore` takes them; `local` are the addresses of this node's pods."""
    family = "inet6" if ":" in cluster.pods else "inet"
    lines = []
    for name, kind in SETS.items():
        more = "range 0-65535" if kind == "bitmap:port" else f"family {family} hashsize 1024 maxelem 65536"
        lines.append(f"create {_set(name, cluster)} {kind} {more}")
    entries = []
    for one in ports:
        number = PROTOCOLS[one.protocol]
        entries.append(f"{_set('CLUSTER-IP', cluster)} {one.cluster_ip},{number}:{one.port}")
        entries.append(f"{_set('IPVS-IPS', cluster)} {one.cluster_ip}")
        entries += [
            f"{_set('LOOP-BACK', cluster)} {address},{number}:{port},{address}"
            for address, port in one.endpoints
            if address in local
        ]
    return "\n".join([*lines, *(f"add {one}" for one in dict.fromkeys(entries)), ""])


def iptables(cluster: Cluster) -> str:
    """Both tables of one family, as iptables-restore takes them: they are the same however many services there are."""
    lines = ["*filter", *(f":KUBE-{chain} - [0:0]" for chain in FILTER)]
    lines += [_jump(*one) for one in FILTER_JUMPS]
    lines += _filter_rules(cluster)
    lines += ["COMMIT", "*nat", *(f":KUBE-{chain} - [0:0]" for chain in NAT)]
    lines += [_jump(hook, "kubernetes service portals", "SERVICES") for hook in ("OUTPUT", "PREROUTING")]
    lines += [_jump("POSTROUTING", "kubernetes postrouting rules", "POSTROUTING")]
    lines += _nat_rules(cluster)
    return "\n".join([*lines, "COMMIT", ""])


def _jump(hook: str, why: str, chain: str) -> str:
    return f'-I {hook} -m comment --comment "{why}" -j KUBE-{chain}'


def _matching(name: str, cluster: Cluster, fields: str) -> str:
    return f"-m set --match-set {_set(name, cluster)} {fields}"


def _nat_rules(cluster: Cluster) -> list[str]:
    loopback = "::1/128" if ":" in cluster.pods else "127.0.0.0/8"
    services = _matching("CLUSTER-IP", cluster, "dst,dst")
    itself = _matching("LOOP-BACK", cluster, "dst,dst,src")
    strangers = "" if cluster.masquerade_all else f" ! -s {cluster.pods}"
    return [
        f"-A KUBE-SERVICES -s {loopback} -j RETURN",
        '-A KUBE-POSTROUTING -m comment --comment "Kubernetes endpoints dst ip:port, source ip for solving'
        f' hairpin purpose" {itself} -j MASQUERADE',
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose"'
        f" {services}{strangers} -j KUBE-MARK-MASQ",
        "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
        "-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ",
        f"-A KUBE-SERVICES {services} -j ACCEPT",
        f"-A KUBE-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN",
        f"-A KUBE-POSTROUTING -j MARK --xor-mark {MARK}",
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT"'
        " -j MASQUERADE --random-fully",
        f"-A KUBE-MARK-MASQ -j MARK --or-mark {MARK}",
    ]


def _filter_rules(cluster: Cluster) -> list[str]:
    health = _matching("HEALTH-CHECK-NODE-PORT", cluster, "dst")
    known = ("LOAD-BALANCER", "CLUSTER-IP", "EXTERNAL-IP", "EXTERNAL-IP-LOCAL")
    return [
        "-A KUBE-SOURCE-RANGES-FIREWALL -j DROP",
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules"'
        f" -m mark --mark {MARK}/{MARK} -j ACCEPT",
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule"'
        " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f'-A KUBE-NODE-PORT -m comment --comment "Kubernetes health check node port" {health} -j ACCEPT',
        *(f"-A KUBE-IPVS-FILTER {_matching(name, cluster, 'dst,dst')} -j RETURN" for name in known),
        f"-A KUBE-IPVS-FILTER {health} -j RETURN",
        f"-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW {_matching('IPVS-IPS', cluster, 'dst')} -j REJECT",
    ]
