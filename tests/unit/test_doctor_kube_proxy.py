"""What doctor makes of a node with kube-proxy's rules: bridge netfilter, and hairpinMode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cni.network import NO_IPAM, Network
from speaker.doctor.values import Chain, Level
from tests.unit.doctor_rig import GOOD, NETWORK, OURS, RANGE, wrong

ON = {f"bridge/bridge-nf-call-{key}": "1" for key in ("iptables", "ip6tables")}


@pytest.mark.parametrize(
    ("table", "name"), [("nat", "KUBE-SERVICES"), ("kube-proxy", "services")], ids=["iptables", "nftables"]
)
def test_kube_proxy_wants_bridge_netfilter_in_its_families(table: str, name: str) -> None:
    both = tuple(Chain(family, table, name, "", "accept") for family in ("ip", "ip6"))
    ((level, what, fix),) = wrong(replace(GOOD, chains=both))
    assert (level, "same node" in what) == (Level.WARNING, True)
    assert "net.bridge.bridge-nf-call-iptables=1" in fix
    assert "net.bridge.bridge-nf-call-ip6tables=1" in fix
    ((_, _, fix),) = wrong(replace(GOOD, chains=both, sysctls=ON | {"bridge/bridge-nf-call-iptables": "0"}))
    assert "ip6tables" not in fix
    assert wrong(replace(GOOD, chains=both[1:], sysctls=ON)) == []


def test_without_hairpin_mode_pods_do_not_reach_themselves_by_kube_proxy() -> None:
    proxied = replace(GOOD, chains=(Chain("ip", "nat", "KUBE-SERVICES", "", "accept"),), sysctls=ON)
    made = replace(OURS, compiled=NETWORK)
    ((level, what, fix),) = wrong(replace(proxied, conflists=(made,)))
    assert (level, "hairpinMode" in what, OURS.name in fix) == (Level.WARNING, True, True)
    of_another_plugin = Network("pods", ipam=NO_IPAM, anycast={})
    for fits in (Network("pods", bridge="cni0", hairpin=True, range_sets=[[RANGE]]), of_another_plugin):
        assert wrong(replace(proxied, conflists=(replace(OURS, compiled=fits),))) == []
    # Where bridges do not show the rules what they carry, the way back is another.
    assert not [one for one in wrong(replace(GOOD, conflists=(made,))) if "hairpin" in one[1]]
