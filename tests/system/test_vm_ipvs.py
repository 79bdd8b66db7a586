"""kube-proxy's IPVS mode, in a virtual machine whose kernel has IPVS; tests/vm/guest_ipvs.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.system import vm_rig
from tests.system.kube_rig import EXAMPLES

MODULES = ("guest_ipvs",)

pytestmark = pytest.mark.timeout(vm_rig.SECONDS + 60)


def needs() -> vm_rig.Needs:
    """IPVS, sets of addresses, iptables on nftables with the extensions that rules name, and the example files."""
    argv = ["dpkg-query", "-L", "iptables"]
    listed = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    (extensions,) = (one for one in listed if one.endswith("/xtables"))
    return vm_rig.Needs(
        modules=(
            *("dummy", "ip_vs", "ip_vs_rr", "ip_set", "ip_set_hash_ip", "ip_set_hash_ipport"),
            *("ip_set_hash_ipportip", "ip_set_bitmap_port", "nft_compat", "xt_set", "xt_comment", "xt_mark"),
            *("xt_conntrack", "xt_addrtype", "xt_MASQUERADE", "ipt_REJECT", "ip6t_REJECT", "nft_reject_ipv4"),
            *("nft_reject_ipv6", "nft_fib_ipv4", "nft_fib_ipv6"),
        ),
        commands=("ipvsadm", "ipset", "iptables-nft-restore", "ip6tables-nft-restore"),
        files=(Path(extensions), EXAMPLES),
    )


@pytest.fixture(scope="module")
def run(prefix: Path) -> vm_rig.Run:
    return vm_rig.run_tests(prefix, MODULES, needs())


@pytest.mark.parametrize("test", vm_rig.tests_of(MODULES), ids=vm_rig.short)
def test_in_the_machine(run: vm_rig.Run, test: str) -> None:
    failures = run.failures(test)
    assert not failures, failures


def test_the_machine_ended_by_itself(run: vm_rig.Run) -> None:
    assert run.status == 0, run.console
