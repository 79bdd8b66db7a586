"""The chains by which tests stand in for kube-proxy have the names that kube-proxy's own tests expect."""

from __future__ import annotations

from tests.system import kube_proxy
from tests.system.kube_proxy import Cluster, ServicePort

ENDPOINT = ("10.180.0.1", 80)
SERVICE = ServicePort("ns1", "svc1", "p80", "tcp", "172.30.0.41", 80, (ENDPOINT,))
CLUSTER = Cluster("10.0.0.0/8", "172.30.0.0/16")


def test_names_of_chains() -> None:
    assert kube_proxy.service_chain(SERVICE) == "KUBE-SVC-XPGD46QRK7WJZT7O"
    assert kube_proxy.endpoint_chain(SERVICE, ENDPOINT) == "KUBE-SEP-SXIVWICOYRO3J4NJ"
    assert kube_proxy.nft_service_chain(SERVICE) == "service-ULMVA6XW-ns1/svc1/tcp/p80"
    chain = kube_proxy.nft_endpoint_chain(SERVICE, ENDPOINT)
    assert chain == "endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"


def test_the_rules_of_a_service_in_iptables() -> None:
    service, endpoint = "KUBE-SVC-XPGD46QRK7WJZT7O", "KUBE-SEP-SXIVWICOYRO3J4NJ"
    own = [
        line
        for line in kube_proxy.iptables([SERVICE], CLUSTER).splitlines()
        if line.startswith("-A") and (service in line or endpoint in line)
    ]
    to_service = '-m comment --comment "ns1/svc1:p80 cluster IP" -m tcp -p tcp -d 172.30.0.41 --dport 80'
    assert own == [
        f"-A KUBE-SERVICES {to_service} -j {service}",
        f"-A {service} {to_service} ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ",
        f'-A {service} -m comment --comment "ns1/svc1:p80 -> 10.180.0.1:80" -j {endpoint}',
        f'-A {endpoint} -m comment --comment "ns1/svc1:p80" -s 10.180.0.1 -j KUBE-MARK-MASQ',
        f'-A {endpoint} -m comment --comment "ns1/svc1:p80" -m tcp -p tcp -j DNAT --to-destination 10.180.0.1:80',
    ]


def test_the_rules_of_a_service_in_nftables() -> None:
    service = "service-ULMVA6XW-ns1/svc1/tcp/p80"
    endpoint = "endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    own = {line for line in kube_proxy.nftables([SERVICE], CLUSTER).splitlines() if "ns1/svc1" in line}
    start = "add rule ip kube-proxy"
    assert own == {
        f"add chain ip kube-proxy {service}",
        f"add chain ip kube-proxy {endpoint}",
        f"{start} {service} ip daddr 172.30.0.41 ip saddr != 10.0.0.0/8 jump mark-for-masquerade",
        f"{start} {service} numgen random mod 1 vmap {{ 0 : goto {endpoint} }}",
        f"{start} {endpoint} ip saddr 10.180.0.1 jump mark-for-masquerade",
        f"{start} {endpoint} meta l4proto tcp dnat to 10.180.0.1:80",
        f"add element ip kube-proxy service-ips {{ 172.30.0.41 . tcp . 80 : goto {service} }}",
    }
