"""Virtual IPs on kernels and with rights that have less to give, and beside learned routes."""

from __future__ import annotations

import subprocess
import sys
import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from cni.netlink import HEADER, NetlinkError, NetlinkSocket, attributes
from cni.nexthop import NHA_GROUP, NHA_GROUP_TYPE, RTM_GETNEXTHOP, RTM_NEWNEXTHOP
from speaker.desired import KernelRoute, NextHop
from speaker.kernel import vips
from speaker.kernel.fib import Fib
from speaker.plan import plan_routes
from speaker.settings import Anycast, Kernel
from tests.system.gobgp_rig import run, wait
from tests.system.vip_rig import VIPS, VipNode, configured, hop, routed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

V4 = ip_network(VIPS[4])


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VipNode]:
    rig = VipNode(tmp_path_factory.mktemp("vips"))
    try:
        for number in (1, 2):
            rig.pod(number)
        yield rig
    finally:
        rig.close()


class OlderKernel(NetlinkSocket):
    """A fake: the real kernel, but what one before Linux 6.12, 5.13 or 5.3 does not know is refused as there."""

    heavy, resilient, objects = True, True, True

    def refusal(self, message: bytes) -> NetlinkError | None:
        if HEADER.unpack_from(message)[1] != RTM_NEWNEXTHOP:
            return None
        if not self.objects:
            return NetlinkError(95, "Operation not supported")
        found = attributes(message, HEADER.size + 8)
        if not self.resilient and NHA_GROUP_TYPE in found:
            return NetlinkError(22, "Invalid group type")
        members = found.get(NHA_GROUP, b"")
        if not self.heavy and (any(members[5::8]) or 255 in members[4::8]):
            return NetlinkError(22, "Reserved fields in nexthop_grp must be 0")
        return None

    def request_each(self, messages: Sequence[bytes]) -> list[NetlinkError | None]:
        refusals = [self.refusal(message) for message in messages]
        passed = iter(
            super().request_each([one for one, no in zip(messages, refusals, strict=True) if no is None])
        )
        return [no or next(passed) for no in refusals]

    def dump(self, message: bytes) -> list[tuple[int, bytes]]:
        if not self.objects and HEADER.unpack_from(message)[1] == RTM_GETNEXTHOP:
            raise NetlinkError(95, "Operation not supported")
        return super().dump(message)


def older(**lacks: bool) -> type[OlderKernel]:
    return type("Older", (OlderKernel,), lacks)


def test_before_linux_6_12_weights_have_one_byte(rig: VipNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vips, "NetlinkSocket", older(heavy=False))
    table = rig.table(configured(buckets=128))
    assert not rig.inside(lambda: table.sync(routed({1: 0, 2: 3}, 4), rig.hops))
    assert (table.refused, table.plain) == ({}, False)
    assert rig.buckets(4) == {2: 128}
    rig.inside(table.clear)


def test_before_linux_5_13_groups_are_plain(
    rig: VipNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vips, "NetlinkSocket", older(heavy=False, resilient=False))
    table = rig.table(configured())
    for _ in range(2):
        assert not rig.inside(lambda: table.sync(routed({1: 1, 2: 3}, 4), rig.hops))
    assert (table.refused, table.plain) == ({}, True)
    assert f"group {hop(1, 4)}/{hop(2, 4)},3 proto 178" in rig.node.ip("nexthop")
    assert caplog.text.count("no resilient next-hop groups") == 1
    rig.inside(lambda: table.sync(routed({1: 0, 2: 3}, 4), rig.hops))
    assert f"group {hop(2, 4)},3 proto 178" in rig.node.ip("nexthop")
    heir = rig.table(configured())
    assert rig.inside(heir.adopt) == {V4: {hop(2, 4)}}
    before = rig.node.ip("nexthop")
    rig.inside(lambda: heir.sync(routed({1: 0, 2: 3}, 4), rig.hops))
    assert rig.node.ip("nexthop") == before
    rig.inside(heir.clear)


def test_before_linux_5_3_each_pod_is_told_why(rig: VipNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vips, "NetlinkSocket", older(objects=False))
    table = rig.table(configured())
    assert rig.inside(table.adopt) == {}
    failed = rig.inside(lambda: table.sync(routed({1: 1, 2: 3}, 4, unreachable=True), rig.hops))
    assert set(failed) == {hop(1, 4), hop(2, 4)}
    assert all("this kernel has no next-hop objects" in why and "Linux 5.3" in why for why in failed.values())
    assert [route["metric"] for route in rig.node.routes(str(VIPS[4]), 178)] == [191]
    rig.inside(table.clear)


SYNC = """
import sys
from ipaddress import ip_address, ip_network
from speaker import log
from speaker.bgp import BgpGlobal
from speaker.kernel.vipgroups import Member, VipRoute
from speaker.kernel.vips import VipTable
from speaker.settings import Api, Config
log.set_up("info", sys.stderr)
table = VipTable(Config(BgpGlobal(65001, "10.0.0.1"), Api("")))
prefix = ip_network("198.51.100.10/32")
route = VipRoute(prefix, (Member(0x60000014, 1),))
print(dict(table.sync({prefix: route}, {0x60000014: ip_address("10.244.1.11")})), table.refused)
"""


@pytest.mark.parametrize("capability", ["+net_admin", "-net_admin"])
def test_net_admin_is_all_that_it_takes(rig: VipNode, prefix: Path, capability: str) -> None:
    """As the unit runs the speaker: a user of its own. That user may set the sysctls of the network, too."""
    rig.sysctl("net.ipv4.fib_multipath_hash_policy=0")
    python = prefix / "opt/anypod/current/bin/python"
    words = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]
    words += [
        "--bounding-set",
        f"-all,{capability}",
        "--inh-caps",
        f"-all,{capability}",
        "--ambient-caps",
        f"-all,{capability}",
    ]
    command = ["ip", "netns", "exec", rig.node.ns, *words, str(python), "-I", "-c", SYNC]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    if capability.startswith("+"):
        assert done.stdout == "{} {}\n"
        assert rig.buckets(4) == {1: Anycast().buckets}
        assert rig.sysctl("net.ipv4.fib_multipath_hash_policy") == "3"
        rig.inside(rig.table(configured()).clear)
    else:
        assert (
            "Operation not permitted: the speaker needs CAP_NET_ADMIN; start it with that capability"
            in done.stdout
        )
        assert rig.sysctl("net.ipv4.fib_multipath_hash_policy") == "0"


def test_a_sysctl_that_cannot_be_set_is_one_warning(rig: VipNode) -> None:
    rig.sysctl("net.ipv4.fib_multipath_hash_policy=0")
    script = 'mount -t proc proc /proc -o ro && mount --bind -o ro /proc/sys /proc/sys && exec "$@"'
    command = [
        "ip",
        "netns",
        "exec",
        rig.node.ns,
        "unshare",
        "-m",
        "sh",
        "-c",
        script,
        "sh",
        sys.executable,
        "-c",
        SYNC,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "{} {}\n"
    assert done.stderr.count("virtual IPs shared by address alone") == 1
    assert "sysctl net.ipv4.fib_multipath_hash_" in done.stderr
    assert "set it on the node" in done.stderr
    rig.inside(rig.table(configured()).clear)


def _settle(fib: Fib) -> None:
    """Lets pass what the kernel has still to tell of links and addresses that have just been made."""
    end, quiet = time.monotonic() + 10, time.monotonic()
    while time.monotonic() < min(end, quiet + 0.5):
        if fib.changed():
            quiet = time.monotonic()
        time.sleep(0.02)


def test_learned_routes_and_those_of_vips_do_not_touch_each_other(rig: VipNode) -> None:
    fib = rig.inside(lambda: Fib(Kernel()))
    fib.vips = Anycast().protocol
    table = rig.table(configured())
    wanted = {**routed({1: 1, 2: 1}, 4, unreachable=True), **routed({1: 1}, 6)}
    client = NextHop(ip_address("192.0.2.2"))
    learned = KernelRoute(V4, Kernel().metric, frozenset({client}))
    try:
        fib.read()
        assert fib.apply(plan_routes({learned.key: learned}, fib.known.ours)) == {}
        # Next hops that are looked for everywhere, the VIPs among them.
        fib.watched = [VIPS[4], VIPS[6]]
        fib.read()
        before = (fib.known.ours, fib.known.others, fib.known.direct, fib.known.connected, fib.known.own)
        _settle(fib)
        assert not rig.inside(lambda: table.sync(wanted, rig.hops))
        assert not rig.inside(lambda: table.sync(routed({2: 1}, 4), rig.hops))
        assert not rig.inside(lambda: table.sync(wanted, rig.hops))
        assert not fib.changed()
        fib.read()
        assert (
            fib.known.ours,
            fib.known.others,
            fib.known.direct,
            fib.known.connected,
            fib.known.own,
        ) == before
        assert [route["metric"] for route in rig.node.routes(str(VIPS[4]))] == [1190]
        assert [route["metric"] for route in rig.node.routes(str(VIPS[4]), 178)] == [190, 191]
        # Each notices when its own goes, and only then.
        rig.node.ip("route", "del", str(VIPS[4]), "proto", "177")
        wait("the news", fib.changed, 20)
        assert not rig.inside(table.changed)
        assert fib.apply(plan_routes({learned.key: learned}, {})) == {}
        rig.node.ip("route", "del", str(VIPS[4]), "proto", "178", "metric", "190")
        wait("the news", lambda: rig.inside(table.changed), 20)
        assert not fib.changed()
        rig.inside(table.clear)
        fib.read()
        assert fib.known.ours == {learned.key: learned}
        assert fib.apply(plan_routes({}, fib.known.ours)) == {}
    finally:
        fib.close()
    assert run("ip", "-n", rig.node.ns, "nexthop") == ""
