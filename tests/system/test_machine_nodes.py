"""Two booted nodes and a rack: installed as an operator does it, rebooted, killed, upgraded, uninstalled."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.monitor import RouteMonitor
from tests.system.gobgp_rig import wait
from tests.system.machine_nodes import (
    CONFLIST,
    DROP_IN,
    GOBGPD,
    INSTALL,
    INSTALL_SECONDS,
    SPEAKER,
    Flow,
    Stage,
)
from tests.system.machine_rig import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.machine_nodes import Node

# The first one waits for a system to be put together from packages, and for two installations.
pytestmark = pytest.mark.timeout(600)
PERSON = ("-c", 'exec "$@" 2>&1', "sh")  # reads both streams


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, machine_root: Path) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("nodes")
    (directory / "machines").mkdir()
    stage = Stage(directory, machine_root)
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="module")
def pods(stage: Stage) -> str:
    """A pod `a` on the first node and `b` on the second; the address of `b`, which answers."""
    stage.stand()
    first, second = stage.nodes
    first.add("a")
    address = second.add("b")
    second.serve("b")
    return address


def test_the_distribution_s_gobgpd_is_installed_and_not_started(stage: Stage) -> None:
    for node in stage.nodes:
        assert "installing packages: gobgpd" in node.told
        assert node.do("systemctl", "is-enabled", "gobgpd.service", check=False).strip() == "disabled"
        assert not node.is_active("gobgpd.service")
        assert ":50051" not in node.do("ss", "-Hltn")
        assert not (node.directory / "usr/sbin/policy-rc.d").exists()
        assert "next: systemctl enable --now anypod-gobgpd anypod-speaker" in node.told


def test_pods_of_both_nodes_reach_each_other(stage: Stage, pods: str) -> None:
    with Flow(stage.nodes[0], "a", pods) as flow:
        time.sleep(1)
    assert flow.sent > 50
    assert flow.lost == []


def test_a_killed_speaker_and_a_killed_gobgpd_cost_no_packet(stage: Stage, pods: str) -> None:
    other, node = stage.nodes
    with (
        RouteMonitor(stage.rack.ns) as rack,
        RouteMonitor(stage.members[other.number].ns) as there,
        RouteMonitor(stage.members[node.number].ns) as here,
        Flow(other, "a", pods) as flow,
    ):
        for unit in (SPEAKER, GOBGPD):
            pid = node.main_pid(unit)
            node.do("kill", "-9", str(pid))
            wait("another process", lambda: node.main_pid(unit) not in {0, pid}, 10)  # noqa: B023
            wait("it is ready", lambda: node.is_active(unit), 20)  # noqa: B023
        wait("a new session", lambda: stage.is_up(node) and not is_stale(stage, node), 40)
        time.sleep(3)
    for monitor, subnet in ((rack, node.subnet), (there, node.subnet), (here, other.subnet)):
        assert monitor.removed(ip_network(subnet)) == []
    assert flow.lost == []
    assert flow.sent > 100


def is_stale(stage: Stage, node: Node) -> bool:
    return any("stale" in path for path in stage.rack.paths(node.subnet))


def test_a_plugin_killed_in_the_middle_leaves_nothing_behind_its_del(stage: Stage, pods: str) -> None:
    node = stage.nodes[0]
    before, killed = node.links(), 0
    with Flow(node, "a", pods) as flow:
        for number in range(6):
            pod = f"killed{number}"
            node.do("ip", "netns", "add", pod)
            # `env` becomes the plugin, so that is what is killed.
            words = ["timeout", "--signal=KILL", f"{0.01 + 0.015 * number:.3f}", *node.call("ADD", pod)]
            killed += not node.do(*words, stdin=node.netconf(), check=False)
            node.delete(pod)
        node.add("whole")
        node.delete("whole")
    assert killed > 0
    assert node.links() == before
    assert flow.lost == []


def test_an_upgrade_costs_no_packet_no_call_and_no_update(stage: Stage, pods: str) -> None:
    node = stage.nodes[1]
    old, updates = node.release(), stage.updates(node)
    with (node.directory / "root/anypod/speaker/__init__.py").open("a") as file:
        file.write("# another version\n")
    with RouteMonitor(stage.rack.ns) as there, Flow(stage.nodes[0], "a", pods) as flow:
        with ThreadPoolExecutor() as threads:
            upgrade = threads.submit(node.install)
            calls = 0
            while not upgrade.done():
                node.add("passing")
                node.delete("passing")
                calls += 1
        assert "until: systemctl restart anypod-speaker" in upgrade.result()
        assert old in node.do("cat", f"/proc/{node.main_pid(SPEAKER)}/cmdline")
        node.do("systemctl", "restart", SPEAKER)
        assert node.release() in node.do("cat", f"/proc/{node.main_pid(SPEAKER)}/cmdline")
        assert "OWN=1" in node.do("systemctl", "show", "--property=Environment", SPEAKER)
        node.add("passing")
        node.delete("passing")
        time.sleep(2)
    assert node.release() != old
    assert calls > 5
    assert flow.sent > 300
    assert flow.lost == []
    assert there.lines == [] or there.removed(ip_network(node.subnet)) == []
    assert stage.updates(node) == updates


def test_after_a_reboot_all_is_as_before(stage: Stage, pods: str) -> None:
    node = stage.nodes[0]
    stage.reboot(node)
    stage.stand()
    assert not node.is_active("gobgpd.service")
    assert node.links() == {"lo", "up0"}  # the boot has ended its pods
    ready, started = (
        int(node.do("systemctl", "show", "--value", f"--property={key}", unit))
        for key, unit in (
            ("ActiveEnterTimestampMonotonic", SPEAKER),
            ("ExecMainStartTimestampMonotonic", "kubelet.service"),
        )
    )
    assert 0 < ready <= started
    node.add("a")
    with Flow(node, "a", pods) as flow:
        time.sleep(1)
    assert flow.lost == []


def uninstall(node: Node, *options: str) -> str:
    """What the person reads."""
    return node.do("sh", *PERSON, *INSTALL, "--uninstall", *options, check=False, seconds=INSTALL_SECONDS)


def test_uninstall_is_refused_while_pods_are_attached_and_goes_on_with_force(stage: Stage, pods: str) -> None:
    node = stage.nodes[0]
    before = node.look()
    with Flow(node, "a", pods) as flow:
        refused = uninstall(node)
        time.sleep(0.5)
    assert flow.lost == []
    assert node.look() == before
    assert refused.startswith(
        f"install.sh: 1 pod is attached (a); {CONFLIST} names the plugin: delete the pods and move "
    )
    assert refused.count("\n") == 1
    told = uninstall(node, "--force")
    assert told.endswith("removed from /\n"), told
    # What an operator wrote stays, and is named.
    folders = {"/etc/anypod", "/etc/cni", "/etc/cni/net.d", str(Path(DROP_IN).parent)}
    assert node.differences() == {CONFIG, CONFLIST, DROP_IN, *folders}
    assert all(name in told for name in (CONFIG, CONFLIST, str(Path(DROP_IN).parent)))
    assert node.do("stat", "-c", "%U:%G", CONFIG).strip() == "root:root"
    wait("the rack has heard", lambda: not stage.rack.has(node.subnet), 20)
    assert uninstall(node) == "anypod: nothing of anypod is installed below /\n"
    node.do("ip", "netns", "del", "a")


@pytest.mark.usefixtures("pods")
def test_uninstall_behind_the_last_pod_leaves_nothing(stage: Stage) -> None:
    node = stage.nodes[1]
    node.add("c", ipMasq=True)
    node.delete("c")
    node.delete("b")
    # What a stopped speaker leaves, and what virtual IPs would.
    node.do("systemctl", "stop", SPEAKER)
    node.do("ip", "nexthop", "add", "id", "1610612737", "via", "10.97.2.2", "dev", "up0", "proto", "178")
    node.do("ip", "route", "add", "198.51.100.7", "nhid", "1610612737", "proto", "178")
    assert node.do("ip", "route", "show", "proto", "177") != ""
    assert {"tables", "next hops", "routes -4", "links"} <= node.differences()
    node.do("rm", "-r", CONFLIST, CONFIG, str(Path(DROP_IN).parent))
    node.do("ip", "link", "add", "mine", "type", "veth", "peer", "name", "other")
    node.do("ip", "link", "set", "mine", "master", "cni0")
    # An installation that somebody began to remove by hand.
    node.do("rm", "-r", node.release())
    told = uninstall(node)
    assert "the bridge cni0 stays, it has the port mine" in told
    assert told.endswith("removed from /\n"), told
    node.do("ip", "link", "delete", "mine")
    node.do("ip", "link", "delete", "cni0")
    assert node.differences() == set()
    assert stage.rack.paths(node.subnet) == []
