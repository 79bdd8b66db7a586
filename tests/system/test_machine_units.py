"""On a booted systemd: the units' user, what a kill does, the dead man's switch, systemd-networkd beside us."""

from __future__ import annotations

import re
import time
from datetime import datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from lab.monitor import RouteMonitor
from speaker.policy import GRACEFUL_SHUTDOWN
from tests.system.gobgp_rig import Rig, wait
from tests.system.machine_probes import verdicts_under_the_unit
from tests.system.machine_rig import CONFIG, Machine
from tests.system.machine_state import POD, RECORD, SERVE, VIP
from tests.system.peers_rig import join_router, peer, unnumber
from tests.system.peers_routers import Frr, frr_conf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.gobgp_rig import Member

# The first one waits for a system to be put together from packages.
pytestmark = pytest.mark.timeout(400)
SPEAKER, GOBGPD, DEAD_MAN = "anypod-speaker.service", "anypod-gobgpd.service", "anypod-dead-man.service"
DRAIN = "anypod-drain.service"
COMMAND = "/usr/local/bin/anypod"
SUBNET = "10.244.1.0/24"
SECONDS_TO_DEATH, SECONDS_TO_DRAIN = 8, 4
SECRET, SECRET_FILE = "s3cret", "/etc/anypod/rack.password"
GRACEFUL = "[peer.graceful-restart]\nrestart-time = 60\n"
# networkd keeps the link's addresses and removes routes that it did not make, as it does by default.
NETWORK = "[Match]\nName=r1\n[Network]\nKeepConfiguration=static\nIPv6AcceptRA=no\n"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("machine"))
    try:
        rig.rack(1)
        yield rig
    finally:
        rig.close()


@pytest.fixture(scope="module")
def graceful(rig: Rig) -> Frr:
    """A router with graceful restart, TTL security and a password."""
    router = Frr("graceful", rig.directory, 2)
    rig.members.append(router)
    join_router(rig.node, router)
    words = ("remote-as 65001", f"password {SECRET}", "ttl-security hops 1", "timers connect 1")
    lines = "bgp graceful-restart\nbgp graceful-restart preserve-fw-state\n"
    lines += "".join(f"neighbor {router.node_v4} {word}\n" for word in words)
    router.start_frr(frr_conf(65402, 2, lines, "network 10.2.0.0/16\n"))
    return router


@pytest.fixture(scope="module")
def unnumbered(rig: Rig) -> Frr:
    router = Frr("unnumbered", rig.directory, 3)
    rig.members.append(router)
    join_router(rig.node, router)
    unnumber(rig.node, router)
    lines = "neighbor node interface remote-as external\nneighbor node timers connect 1\n"
    router.start_frr(frr_conf(65403, 3, lines))
    return router


@pytest.fixture(scope="module")
def machine(rig: Rig, machine_root: Path, prefix: Path, graceful: Frr, unnumbered: Frr) -> Iterator[Machine]:
    secured = peer(graceful.v4, 65402, GRACEFUL, password_file=SECRET_FILE, ttl_security=1)
    peers = secured + peer(unnumbered.link, 65403)
    rig.configure([1], f'{peers}[announce]\nsubnets = ["{SUBNET}"]\n[anycast]\ndrain = {SECONDS_TO_DRAIN}\n')
    text = rig.node.config.read_text()
    text = text.replace(f"unix://{rig.node.socket}", "unix:///run/anypod/gobgpd/api.sock")
    machine = Machine(rig.directory / "root", machine_root, rig.node.ns, prefix)
    try:
        machine.boot()
        machine.write(CONFIG, text.replace(str(rig.directory / "state"), "/run/anypod"))
        machine.write(SECRET_FILE, f"{SECRET}\n", 0o640)
        machine.install_units(prefix, SECONDS_TO_DEATH)
        machine.do("chown", "root:anypod", SECRET_FILE)
        machine.do("systemctl", "enable", "--now", GOBGPD, SPEAKER)
        yield machine
    finally:
        machine.remove()


@pytest.fixture
def rack(rig: Rig) -> Member:
    return rig.members[1]


@pytest.fixture(autouse=True)
def _standing(machine: Machine, rack: Member) -> None:
    """Each test begins where all is well."""
    try:
        wait("the speaker is ready", lambda: machine.is_active(SPEAKER), 20)
        wait("the sessions", lambda: rack.established() == 2, 40)
        wait("the subnet", lambda: SUBNET in rack.table(), 20)
        wait("nobody waits for its death", lambda: not _waits_for_death(machine), 10)
    except AssertionError as error:
        told = "".join(machine.journal(unit)[-2000:] for unit in (SPEAKER, GOBGPD, DEAD_MAN))
        raise AssertionError(f"{error}\n{told}") from None


def _waits_for_death(machine: Machine) -> bool:
    return machine.do("systemctl", "is-active", DEAD_MAN, check=False).strip() in {"active", "activating"}


def test_both_are_of_their_own_user_with_few_capabilities(machine: Machine) -> None:
    for unit in (SPEAKER, GOBGPD):
        owner = machine.do("stat", "-c", "%U", f"/proc/{machine.main_pid(unit)}").strip()
        assert owner == "anypod"
    net_bind_service, net_admin, net_raw = 1 << 10, 1 << 12, 1 << 13
    assert machine.capabilities(SPEAKER) == net_admin | net_raw
    assert machine.capabilities(GOBGPD) == net_bind_service


@pytest.mark.parametrize(("unit", "most"), [(SPEAKER, 3.0), (GOBGPD, 2.0)])
def test_little_of_the_system_is_exposed_to_them(machine: Machine, unit: str, most: float) -> None:
    told = machine.do("systemd-analyze", "security", "--no-pager", unit)
    found = re.search(rf"exposure level for {unit}: ([0-9.]+)", told)
    assert found
    assert float(found[1]) <= most, told


def test_those_suffice_for_a_password_ttl_security_and_an_interface(graceful: Frr, unnumbered: Frr) -> None:
    wait("the secured session", lambda: graceful.is_up(graceful.node_v4), 40)
    assert graceful.neighbour(graceful.node_v4)["authenticationEnabled"] == 1
    wait("the link's session", lambda: unnumbered.is_up("node"), 40)
    for router in (graceful, unnumbered):
        wait("the subnet", lambda router=router: router.has(SUBNET), 10)  # type: ignore[misc]


def test_the_api_is_for_nobody_else(machine: Machine) -> None:
    assert machine.do("stat", "-c", "%U %a", "/run/anypod/gobgpd").split() == ["anypod", "700"]
    sockets = machine.do("ss", "-Hltn")
    ports = {line.split()[3].rpartition(":")[2] for line in sockets.splitlines()}
    assert ports == {"179", "9179"}
    assert "127.0.0.1:9179" in sockets


def test_a_pod_of_the_plugin_is_announced(machine: Machine, rack: Member, prefix: Path) -> None:
    machine.do(f"{prefix}/opt/anypod/current/bin/python", "-I", "-c", RECORD)
    wait("the pod's address", lambda: f"{POD}/32" in rack.table(), 10)


def test_every_kind_of_health_check_works_under_the_unit(
    machine: Machine, prefix: Path, tmp_path: Path
) -> None:
    verdicts = verdicts_under_the_unit(machine, prefix, tmp_path)
    # What the speaker may do to the network its commands may not, and they can't become more.
    uid = machine.do("id", "-u", "anypod").strip()
    assert verdicts.pop("exec") == f"exit status 7: {uid} 0000000000000000 1"
    kinds = {"tcp", "http", "https", "grpc"}
    assert verdicts == {f"{kind} {address}": "healthy" for kind in kinds for address in ("127.0.0.1", "::1")}


def test_learned_routes_are_in_the_kernel(rig: Rig, machine: Machine, rack: Member) -> None:
    rack.gobgp("global", "rib", "add", "10.50.0.0/16", "-a", "ipv4")
    wait("the route", lambda: rig.node.gateways("10.50.0.0/16") == {"10.99.1.2"}, 10)
    assert machine.is_active(SPEAKER)


def test_routes_that_networkd_removes_are_back_within_a_second(
    rig: Rig, machine: Machine, rack: Member, tmp_path: Path
) -> None:
    rack.gobgp("global", "rib", "add", "10.51.0.0/16", "-a", "ipv4")
    wait("the route", lambda: rig.node.gateways("10.51.0.0/16") == {"10.99.1.2"}, 10)
    seen = tmp_path / "monitor.log"
    rig.node.start("monitor", ["ip", "-ts", "monitor", "route"], seen)
    machine.write("/etc/systemd/network/r1.network", NETWORK, 0o644)
    try:
        machine.do("systemctl", "restart", "systemd-networkd.service")
        # At its start in a container it has not read the routes yet when it takes the link over.
        machine.do("networkctl", "reconfigure", "r1")
        wait("networkd removes it", lambda: _moments(seen, deleted=True), 20)
        wait("it comes back", lambda: _moments(seen, deleted=False), 10)
    finally:
        machine.do("systemctl", "stop", "systemd-networkd.socket", "systemd-networkd.service")
        rig.node.kill("monitor")
    assert _moments(seen, deleted=False)[-1] - _moments(seen, deleted=True)[0] < 1.0
    assert rig.node.gateways("10.51.0.0/16") == {"10.99.1.2"}


def _moments(log: Path, deleted: bool) -> list[float]:
    """When the route went or came, in seconds."""
    found = re.findall(r"^\[(\S+)\] (Deleted )?10\.51\.0\.0/16 .*proto 177", log.read_text(), re.MULTILINE)
    return [datetime.fromisoformat(at).timestamp() for at, gone in found if bool(gone) == deleted]


def test_a_killed_speaker_comes_back_unseen(machine: Machine, rack: Member) -> None:
    before, pid = rack.updates(), machine.main_pid(SPEAKER)
    machine.do("kill", "-9", str(pid))
    wait("another process", lambda: machine.main_pid(SPEAKER) not in {0, pid}, 10)
    wait("it is ready", lambda: machine.is_active(SPEAKER), 15)
    wait("the switch is off again", lambda: not _waits_for_death(machine), 20)
    time.sleep(SECONDS_TO_DEATH)  # the switch that the kill had set would act now
    assert machine.is_active(GOBGPD)
    assert rack.updates() == before


def test_a_speaker_that_hangs_is_killed_by_the_watchdog(machine: Machine, rack: Member) -> None:
    machine.write(f"/etc/systemd/system/{SPEAKER}.d/watchdog.conf", "[Service]\nWatchdogSec=3\n")
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", SPEAKER)
    before, pid = rack.updates(), machine.main_pid(SPEAKER)
    time.sleep(5)
    assert machine.main_pid(SPEAKER) == pid  # it gives signs of life in time
    machine.do("kill", "-STOP", str(pid))
    wait("another process", lambda: machine.main_pid(SPEAKER) not in {0, pid}, 20)
    wait("it is ready", lambda: machine.is_active(SPEAKER), 15)
    assert rack.updates() == before


def test_gobgpd_killed_and_everything_is_back(machine: Machine, rack: Member) -> None:
    pid = machine.main_pid(GOBGPD)
    machine.do("kill", "-9", str(pid))
    wait("the sessions end", lambda: rack.established() < 2, 10)
    wait("another process", lambda: machine.main_pid(GOBGPD) not in {0, pid}, 10)
    wait("the sessions", lambda: rack.established() == 2, 30)
    wait("the subnet", lambda: SUBNET in rack.table(), 10)


def test_a_planned_restart_of_gobgpd_is_no_flap_for_peers_with_graceful_restart(
    rig: Rig, machine: Machine, rack: Member, graceful: Frr
) -> None:
    wait("the subnet", lambda: graceful.has(SUBNET) and "stale" not in graceful.paths(SUBNET)[0], 40)
    wait("its route", lambda: rig.node.gateways("10.2.0.0/16") == {graceful.v4}, 20)
    sessions = graceful.neighbour(graceful.node_v4)["connectionsEstablished"]
    with RouteMonitor(graceful.ns) as there, RouteMonitor(rig.node.ns) as here:
        machine.do("systemctl", "restart", GOBGPD)
        assert machine.is_active(GOBGPD)
        wait(
            "a new session",
            lambda: graceful.neighbour(graceful.node_v4).get("connectionsEstablished", 0) > sessions,
            30,
        )
        wait("the subnet anew", lambda: "stale" not in graceful.paths(SUBNET)[0], 20)
        wait("the others", lambda: rack.established() == 2 and SUBNET in rack.table(), 40)
    assert (there.removed(ip_network(SUBNET)), here.removed(ip_network("10.2.0.0/16"))) == ([], [])
    assert "Failed with result" not in machine.journal(GOBGPD).rpartition("Stopping ")[2]


def test_a_speaker_that_is_dead_for_good_takes_the_announcements_along(
    machine: Machine, rack: Member, graceful: Frr, prefix: Path
) -> None:
    wait("the graceful router has it", lambda: graceful.has(SUBNET), 40)
    machine.do("rm", COMMAND)
    machine.write(COMMAND, "not a program\n")
    machine.do("kill", "-9", str(machine.main_pid(SPEAKER)))
    started = time.monotonic()
    wait("the switch is on", lambda: _waits_for_death(machine), 10)
    time.sleep(SECONDS_TO_DEATH / 2)
    assert SUBNET in rack.table()
    wait("gobgpd is stopped", lambda: not machine.is_active(GOBGPD), SECONDS_TO_DEATH + 10)
    assert time.monotonic() - started >= SECONDS_TO_DEATH - 1
    wait("nothing is announced", lambda: SUBNET not in rack.table(), 10)
    wait("nor kept by graceful restart", lambda: not graceful.has(SUBNET), 20)
    tries = machine.restarts(SPEAKER)
    wait("systemd tries to start it again", lambda: machine.restarts(SPEAKER) >= tries + 2, 15)
    assert not machine.is_active(GOBGPD)  # nothing brings it back but a speaker that starts
    machine.do("ln", "-sfn", f"{prefix}{COMMAND}", COMMAND)
    machine.do("systemctl", "restart", SPEAKER)
    wait("gobgpd runs again", lambda: machine.is_active(GOBGPD), 10)


def test_a_node_that_shuts_down_is_drained_first_and_after_its_boot_all_is_as_before(
    machine: Machine, rack: Member, graceful: Frr, prefix: Path
) -> None:
    wait("the graceful router has the subnet", lambda: graceful.has(SUBNET), 40)
    machine.do("systemctl", "enable", "--now", DRAIN)
    machine.do(f"{prefix}/opt/anypod/current/bin/python", "-I", "-c", SERVE)
    wait("the VIP", lambda: f"{VIP}/32" in rack.table(), 10)
    machine.do("systemctl", "stop", DRAIN)  # that alone is no shutdown
    machine.do("systemctl", "start", DRAIN)
    assert not _asks_to_go_elsewhere(rack)
    machine.do("systemctl", "poweroff", "--no-block")
    wait("peers are asked to go elsewhere", lambda: _asks_to_go_elsewhere(rack), 10)
    asked = time.monotonic()
    wait("it is withdrawn", lambda: f"{VIP}/32" not in rack.table(), SECONDS_TO_DRAIN + 10)
    assert time.monotonic() - asked > SECONDS_TO_DRAIN - 1
    assert rack.established() == 2  # withdrawn, and not gone with the sessions
    wait("the sessions end", lambda: rack.established() == 0, 120)
    wait("nobody waits for its return", lambda: not graceful.has(SUBNET), 20)
    machine.stop()
    machine.boot()
    wait("the subnet", lambda: SUBNET in rack.table(), 60)
    assert not {f"{POD}/32", f"{VIP}/32"} & rack.table()  # the boot has ended its pods


def _asks_to_go_elsewhere(rack: Member) -> bool:
    return str(GRACEFUL_SHUTDOWN) in rack.gobgp("-j", "global", "rib", f"{VIP}/32", check=False)
