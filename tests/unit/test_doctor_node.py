"""What doctor makes of bridges, MTU, packet filter, state file, refused pods, conflists, permissions and leftovers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cni.allocation import Allocation
from cni.network import Network
from speaker.commands.record import State, Usage
from speaker.commands.stale import Stale
from speaker.doctor.conflists import conflists, parsed
from speaker.doctor.values import Chain, Conflist, Facts, Level, Place

if TYPE_CHECKING:
    from pathlib import Path


from tests.unit.doctor_rig import BRIDGE, DIGITS, GOOD, HOUR, NETWORK, OURS, POD, PORT, UPLINK, link, wrong


def test_a_node_that_is_well() -> None:
    assert wrong(GOOD) == []


def refusal(seconds: float, container: str = "c2", pod: str = "shop/web") -> dict[str, Any]:
    return {
        "at": int((GOOD.now - seconds) * 1e9),
        "container": container,
        "ifname": "eth0",
        "network": "pods",
        "pod": pod,
        "code": 100,
        "message": "none is left; widen ipam.ranges",
    }


DROP = Chain("ip", "filter", "FORWARD", "forward", "drop")
CASES: list[tuple[Facts, Level, str, str]] = [
    (
        replace(GOOD, links=(PORT, UPLINK)),
        Level.ERROR,
        "the bridge cni0 of network pods is gone",
        "made anew",
    ),
    (
        replace(
            GOOD, links=(link(DIGITS, kind="veth", alias=PORT.alias), UPLINK), state=State([POD], {}, [], [])
        ),
        Level.ERROR,
        "the bridge of network pods is gone",
        "made anew",
    ),
    (
        replace(GOOD, links=(link("cni0", index=7, up=False), PORT)),
        Level.ERROR,
        "the bridge cni0 is down",
        "ip link set cni0 up",
    ),
    (
        replace(GOOD, links=(BRIDGE, link(DIGITS, kind="veth", master=3), UPLINK)),
        Level.ERROR,
        f"not on bridge cni0: {DIGITS}",
        f"ip link set {DIGITS} master cni0",
    ),
    (
        replace(GOOD, links=(BRIDGE, UPLINK)),
        Level.WARNING,
        "1 attachment of network pods without a link: c1",
        "gc",
    ),
    (
        replace(GOOD, addresses={"cni0": frozenset()}),
        Level.ERROR,
        "lost the gateway's address 10.1.0.1",
        "ip address add 10.1.0.1/24 dev cni0",
    ),
    (
        replace(GOOD, links=(BRIDGE, PORT, link("eth0", mtu=1400))),
        Level.WARNING,
        "up to 1500 bytes, and the link eth0 out of this node has an MTU of 1400",
        '"mtu": 1400',
    ),
    (
        replace(GOOD, links=(BRIDGE, PORT, link("eth0", mtu=1000))),
        Level.ERROR,
        "too small for IPv6",
        "ip link set eth0 mtu 1500",
    ),
    (
        replace(GOOD, chains=(DROP,)),
        Level.WARNING,
        "chain FORWARD of table ip filter drops",
        "nft list chain ip",
    ),
    (replace(GOOD, chains="no nft"), Level.WARNING, "can't be looked at: no nft", "as root"),
    (
        replace(GOOD, sysctls={"ipv4/neigh/default/gc_thresh3": "1"}),
        Level.WARNING,
        "1 pods' addresses of ipv4, and the kernel keeps 1",
        "net.ipv4.neigh.default.gc_thresh2=2",
    ),
    (
        replace(GOOD, has_state=False, state="none"),
        Level.ERROR,
        "/run/anypod/state.db is gone while 1 pod of this node",
        "anypod gc",
    ),
    (replace(GOOD, state="it is damaged"), Level.ERROR, "it is damaged", "sets a damaged file aside"),
    (replace(GOOD, set_aside=("state.db.damaged-1",)), Level.WARNING, "state.db.damaged-1", "rm "),
    (
        replace(GOOD, refusals=(refusal(60), refusal(50, "c3"))),
        Level.ERROR,
        "pod shop/web and 1 more was refused 50s ago: none is left",
        "widen ipam.ranges",
    ),
    (replace(GOOD, refusals=(refusal(HOUR),)), Level.WARNING, "was refused 1h00m ago", "widen ipam.ranges"),
    (
        replace(GOOD, state=State([], {}, [], [Usage("pods", "r", 5, 5)])),
        Level.ERROR,
        "range r of network pods is exhausted",
        "widen ipam.ranges",
    ),
    (
        replace(GOOD, state=State([], {}, [], [Usage("pods", "r", 19, 20)])),
        Level.WARNING,
        "nearly exhausted: 19 of 20",
        "widen ipam.ranges",
    ),
    (replace(GOOD, conflists="no such folder"), Level.WARNING, "no such folder", "--conflists"),
    (replace(GOOD, conflists=()), Level.WARNING, "no conflist has anypod", "10-anypod.conflist"),
    (
        replace(GOOD, conflists=(Conflist("05-other.conflist", ({"type": "bridge"},)), OURS)),
        Level.WARNING,
        "which is 05-other.conflist and not 10-anypod.conflist",
        "rename",
    ),
    (
        replace(GOOD, conflists=(OURS, Conflist("20-bad.conf", trouble="it is no JSON"))),
        Level.ERROR,
        "20-bad.conf: it is no JSON",
        "mend that file",
    ),
    (
        replace(GOOD, conflists=(replace(OURS, plugins=({"type": "portmap"}, *OURS.plugins)),)),
        Level.ERROR,
        "stands behind portmap",
        "put anypod first",
    ),
    (
        replace(GOOD, conflists=(replace(OURS, plugins=({"type": "anypod", "anycast": {}},)),)),
        Level.ERROR,
        "no plugin before it",
        "put it behind",
    ),
    (
        replace(GOOD, conflists=(replace(OURS, plugins=({"type": "anypod", "stateDir": "/x"},)),)),
        Level.WARNING,
        "has stateDir /x",
        "--state-dir",
    ),
    (
        replace(GOOD, places=(Place("/run/anypod", 0o777, 0),)),
        Level.ERROR,
        "written by everybody",
        "chmod o-w /run",
    ),
    (
        replace(GOOD, places=(Place("/run/anypod", 0o700, 99),)),
        Level.ERROR,
        "belongs to user 99",
        "chown root",
    ),
    (replace(GOOD, stale="not permitted"), Level.WARNING, "not permitted", "as root"),
    (
        replace(GOOD, stale=Stale(attachments=[cast("Any", ())])),
        Level.WARNING,
        "gone: 1 attachment",
        "anypod gc",
    ),
]


@pytest.mark.parametrize(("facts", "level", "what", "fix"), CASES, ids=[case[2] for case in CASES])
def test_what_is_wrong_is_named_with_its_fix(facts: Facts, level: Level, what: str, fix: str) -> None:
    (found,) = wrong(facts)
    assert found[0] is level
    assert what in found[1]
    assert fix in found[2]


def test_a_dropping_filter_counts_twice_with_bridge_netfilter() -> None:
    found = wrong(replace(GOOD, chains=(DROP,), sysctls={"bridge/bridge-nf-call-iptables": "1"}))
    assert [one[0] for one in found] == [Level.WARNING] * 2


def test_a_pod_that_was_refused_and_has_its_network_now_is_well() -> None:
    assert wrong(replace(GOOD, refusals=(refusal(60, "c1"),))) == []
    assert wrong(replace(GOOD, refusals=(refusal(HOUR + 1),))) == []
    named = Allocation("pods", "c1", "eth0", "/run/netns/x", DIGITS, ("10.1.0.5/24",))
    named.pod = "shop/web"
    assert wrong(replace(GOOD, refusals=(refusal(60),), state=State([named], {}, [NETWORK], []))) == []


def test_a_range_that_was_widened_since_is_not_exhausted() -> None:
    state = State([], {}, [], [Usage("pods", "10.1.0.1-10.1.0.2", 2, 2)])
    assert wrong(replace(GOOD, state=state, conflists=(replace(OURS, compiled=NETWORK),))) == []


def test_pods_on_the_bridge_of_an_earlier_configuration_are_well() -> None:
    later = Network("pods", bridge="cni9", range_sets=[])
    assert wrong(replace(GOOD, state=State([POD], {}, [NETWORK, later], []))) == []


# ---- conflists


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "20-b.conflist").write_text(
        '{"name": "b", "cniVersion": "1.0.0", "plugins": [{"type": "bridge"}]}'
    )
    (tmp_path / "10-a.conf").write_text('{"name": "a", "type": "bridge"}')
    (tmp_path / "30-c.json").write_text("{")
    (tmp_path / "notes.txt").write_text("x")
    found = conflists(str(tmp_path))
    assert not isinstance(found, str)
    assert [(one.name, one.network, bool(one.trouble)) for one in found] == [
        ("10-a.conf", "a", False),
        ("20-b.conflist", "b", False),
        ("30-c.json", "", True),
    ]
    assert isinstance(conflists(str(tmp_path / "none")), str)


@pytest.mark.parametrize(
    ("document", "trouble"),
    [
        ([], "no JSON object"),
        ({"plugins": 1}, "no list of objects"),
        ({"plugins": [1]}, "no list of objects"),
        ({"name": "pods", "cniVersion": "1.0.0", "plugins": [{"type": "anypod", "mtu": -1}]}, "mtu"),
    ],
)
def test_what_is_no_conflist(document: object, trouble: str) -> None:
    assert trouble in parsed("x", document).trouble


def test_our_part_is_read_as_add_reads_it() -> None:
    plugin = {"type": "anypod", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]]}}
    found = parsed("x", {"name": "pods", "cniVersion": "1.0.0", "plugins": [plugin]})
    assert found.compiled is not None
    assert [str(one) for one in found.compiled.ranges()] == ["10.1.0.1-10.1.0.254"]
