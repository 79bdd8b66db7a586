"""The chains of `explain`, and which step is the first that is missing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from cni.allocation import Allocation, Vip
from cni.network import Network, Range, packed
from cni.pools import Anycast, Pool
from speaker.bgp import Destination, LocalPath
from speaker.commands.direct import Gobgpd
from speaker.commands.record import State
from speaker.doctor.values import Dial, PeerFacts
from speaker.explain.chains import explain
from speaker.explain.values import Seen, Step, Target, first_missing

if TYPE_CHECKING:
    from cni.link import Link

VIP, POD_IP, FREE, REMOTE = "198.51.100.10", "10.1.0.5", "10.1.0.9", "10.2.0.5"
PEER = {
    "peer": "192.0.2.1",
    "address": "192.0.2.1",
    "asn": 65000,
    "description": "rack",
    "state": "established",
}
UP = PeerFacts({**PEER, "reason": "", "password": ""})
DOWN = PeerFacts({**UP.row, "state": "active"}, dial=Dial.REFUSED)
TOLD = [{"peer": "192.0.2.1", "established": True, "allowed": True}]
END = {
    "pod": "shop/web", "container": "c1", "address": POD_IP, "weight": 1, "check": "tcp://:80", "health": "up",
    "error": "", "drain": "serving", "unreachable": "",
}  # fmt: skip
VERDICT = {"vip": VIP, "pool": "edge", "state": "announced", "reason": "", "serving": 1, "endpoints": [END]}
GOBGPD = {"api": "unix:///x", "connected": True, "trouble": ""}


def link(name: str, **fields: Any) -> Link:
    usual = {"index": 1, "kind": "", "up": True, "carrier": True, "master": 0, "alias": ""}
    return cast("Link", SimpleNamespace(**{**usual, "name": name, **fields}))


def number(text: str) -> int:
    return int.from_bytes(packed(text), "big")


def allocation(vips: bool = True) -> Allocation:
    made = Allocation("pods", "c1", "eth0", "/run/netns/x", "anyp1", (f"{POD_IP}/24",))
    made.pod = "shop/web"
    if vips:
        made.vips = (Vip(VIP, POD_IP, 7, 1, "", "edge"),)
    return made


RANGE = Range(4, number("10.1.0.0"), 24, number("10.1.0.1"), number("10.1.0.254"), number("10.1.0.1"))
POOLS = Anycast([Pool("edge", ["198.51.100.0/24"])]).compiled()
NETWORK = Network("pods", bridge="cni0", range_sets=[[RANGE]], anycast=POOLS)


def path(prefix: str, name: str, told: Any = TOLD, held: bool = True) -> dict[str, Any]:
    return {"prefix": prefix, "announcement": name, "in_gobgpd": held, "told": told}


def about(announced: Any = (), learned: Any = (), vips: Any = (), pool: Any = None) -> dict[str, Any]:
    return {"announced": list(announced), "learned": list(learned), "virtual_ips": list(vips), "pool": pool}


def learned(
    state: str = "installed", reason: str = "", fix: str = "", prefix: str = "10.2.0.0/24"
) -> dict[str, Any]:
    paths = [{"next_hop": "192.0.2.1", "peer": "192.0.2.1"}]
    return {"prefix": prefix, "state": state, "reason": reason, "fix": fix, "paths": paths}


GOOD = Seen(
    state=State([allocation()], {}, [NETWORK], []),
    has_state=True,
    refusals=(),
    now=100.0,
    links=(link("cni0", index=7, kind="bridge"),
           link("anyp1", index=8, kind="veth", master=7, alias="anypod pods c1/eth0")),
    own=frozenset({"192.0.2.2"}),
    speaker={"gobgpd": GOBGPD},
    peers=(UP,),
    about={
        f"{VIP}/32": about([path(f"{VIP}/32", "edge")], vips=[VERDICT]),
        f"{POD_IP}/32": about([path("10.1.0.0/24", "subnets")]),
        f"{REMOTE}/32": about(learned=[learned()]),
        "10.1.0.0/24": about([path("10.1.0.0/24", "subnets")]),
        "10.2.0.0/24": about(learned=[learned()]),
    },
    ways={
        POD_IP: {"kind": "unicast", "via": "", "dev": "cni0", "error": ""},
        REMOTE: {"kind": "unicast", "via": "192.0.2.1", "dev": "eth0", "error": ""},
        "10.2.0.0": {"kind": "unicast", "via": "192.0.2.1", "dev": "eth0", "error": ""},
    },
    routes=[{"prefix": f"{VIP}/32", "kind": "unicast", "via": POD_IP, "dev": "cni0", "protocol": 178}],
)  # fmt: skip


def chain(seen: Seen, name: str) -> list[Step]:
    if name[0].isdigit():
        return explain(seen, Target(name, ip_network(name)))
    found: list[Allocation] = [] if isinstance(seen.state, str) else seen.state.allocations
    refusals = [one for one in seen.refusals if one["pod"] == name]
    return explain(seen, Target(name, None, [one for one in found if one.pod == name], refusals))


def of_vip(**verdict: Any) -> Seen:
    found = {**VERDICT, **verdict}
    paths = [path(f"{VIP}/32", "edge")] if found["state"] != "withdrawn" else []
    return replace(GOOD, about={**GOOD.about, f"{VIP}/32": about(paths, vips=[found])})


def told_of_vip(told: Any, held: bool = True) -> Seen:
    return replace(
        GOOD,
        about={**GOOD.about, f"{VIP}/32": about([path(f"{VIP}/32", "edge", told, held)], vips=[VERDICT])},
    )


def remote(entry: dict[str, Any] | None, way: str = "unicast", **seen: Any) -> Seen:
    ways = {
        REMOTE: {"kind": way, "via": "", "dev": "eth0", "error": "no route to host" if way == "none" else ""}
    }
    return replace(GOOD, about={f"{REMOTE}/32": about(learned=[entry] if entry else [])}, ways=ways, **seen)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        (VIP, "annotation pool allocation health desired gobgpd peer kernel"),
        (POD_IP, "allocation link desired gobgpd peer kernel"),
        (REMOTE, "peer gobgpd desired kernel"),
        ("10.1.0.0/24", "desired gobgpd peer"),
        ("10.2.0.0/24", "peer gobgpd desired kernel"),
        ("192.0.2.2", "kernel"),
        ("shop/web", "allocation link desired gobgpd peer kernel"
         " annotation pool allocation health desired gobgpd peer kernel"),
    ],
)  # fmt: skip
def test_a_whole_chain(name: str, steps: str) -> None:
    found = chain(GOOD, name)
    assert [one.step for one in found] == steps.split()
    assert {one.state for one in found} == {"ok"}
    assert first_missing(found) is None


NOT_HELD = {"pod": "shop/api", "container": "c9", "ifname": "eth0", "network": "pods", "at": 40 * 10**9}
OUTSIDE = {**NOT_HELD, "code": 106, "message": "anypod.dev/anycast: 203.0.113.7 is in none; ask for another"}
NO_POOL = {**NOT_HELD, "code": 7, "message": 'anycast.vips[0]: "203.0.113.8" is in no pool; add it to a pool'}
EXHAUSTED = {**NOT_HELD, "code": 100, "message": "no IP addresses available; 9 held; widen ipam.ranges"}
GRANTED = allocation(vips=False)
GRANTED.detail = {"vips": [VIP]}
SICK = {**END, "health": "down", "error": "connection refused"}
LATE = {**END, "health": "unknown"}
BARE = State([], {}, [], [])

MISSING: list[tuple[Seen, str, str, str, str]] = [
    # ---- virtual IPs
    (replace(GOOD, state=State([], {}, [NETWORK], []), about={}), VIP, "annotation", "no pod of this node asks", VIP),
    (replace(GOOD, refusals=(OUTSIDE,)), "203.0.113.7", "pool", "ADD of shop/api was refused 1m00s ago",
     "ask for another"),
    (replace(GOOD, refusals=(NO_POOL,)), "203.0.113.8", "pool", "ADD of shop/api was refused", "add it to a pool"),
    (replace(GOOD, state=State([GRANTED], {}, [NETWORK], [])), VIP, "allocation", "granted and not recorded",
     "made anew"),
    (of_vip(state="withdrawn", reason="none of them", endpoints=[SICK]), VIP, "health",
     "shop/web (10.1.0.5) fails its check tcp://:80: connection refused", "application in that pod"),
    (of_vip(state="withdrawn", reason="none of them", endpoints=[LATE]), VIP, "health", "has not proved itself",
     "wait"),
    (of_vip(state="withdrawn", reason="x", endpoints=[{**END, "unreachable": "no way"}]), VIP, "health",
     "no way", "reason"),
    (of_vip(state="withdrawn", reason="drained"), VIP, "desired", "withdrawn: drained", "anypod undrain"),
    (of_vip(state="withdrawn", reason="1 healthy, min-endpoints is 2"), VIP, "desired", "min-endpoints",
     "start more pods"),
    (replace(GOOD, about={**GOOD.about, f"{VIP}/32": about()}), VIP, "health", "the speaker does not know",
     "state.dir"),
    (replace(GOOD, speaker={"gobgpd": {**GOBGPD, "connected": False, "trouble": "gone"}}), VIP, "gobgpd",
     "does not answer at unix:///x: gone", "systemctl restart anypod-gobgpd"),
    (told_of_vip(TOLD, held=False), VIP, "gobgpd", "does not have", "journalctl"),
    (told_of_vip([{**TOLD[0], "allowed": False}]), VIP, "peer", "no peer may hear of it", "peer.export"),
    (told_of_vip([]), VIP, "peer", "no peer to tell", "[[peer]]"),
    (replace(told_of_vip([{**TOLD[0], "established": False}]), peers=(DOWN,)), VIP, "peer",
     "192.0.2.1 (rack) is down: nobody listens", "start the BGP daemon"),
    (replace(GOOD, routes=[]), VIP, "kernel", "no route leads to a pod", "journalctl"),
    # ---- pods and their addresses
    (replace(GOOD, refusals=(EXHAUSTED,)), "shop/api", "allocation", "no IP addresses available; 9 held",
     "widen ipam.ranges"),
    (GOOD, "shop/none", "allocation", "no pod shop/none is attached", "crictl pods"),
    (replace(GOOD, links=GOOD.links[1:]), POD_IP, "link", "the bridge cni0 of network pods is gone", "made anew"),
    (replace(GOOD, links=GOOD.links[1:]), VIP, "link", "shop/web: the bridge cni0 of network pods", "made anew"),
    (replace(GOOD, links=GOOD.links[:1]), POD_IP, "link", "its link anyp1 is gone", "made anew"),
    (replace(GOOD, links=(GOOD.links[0], link("anyp1"))), POD_IP, "link", "not on the bridge cni0", "master cni0"),
    (replace(GOOD, ended=frozenset({"/run/netns/x"})), POD_IP, "pod", "/run/netns/x is gone", "anypod gc"),
    (replace(GOOD, has_state=False, state="none", about={}), POD_IP, "state file",
     "state.db is gone while 1 pod", "anypod gc"),
    (replace(GOOD, state="it is damaged"), POD_IP, "state file", "it is damaged", "anypod doctor"),
    (GOOD, FREE, "allocation", "no pod of this node has 10.1.0.9", "anypod allocations"),
    (replace(GOOD, about={f"{POD_IP}/32": about()}), POD_IP, "desired", "does not announce it", "[announce]"),
    # ---- prefixes of others
    (replace(remote(None), peers=(DOWN,), ways={}), REMOTE, "peer", "nobody listens", "start the BGP daemon"),
    (replace(remote(None), peers=(), ways={}), REMOTE, "peer", "no peer that could tell", "[[peer]]"),
    (remote(None, "none"), REMOTE, "gobgpd", "no peer has told a route to 10.2.0.5/32", "announces it"),
    (remote(learned("left-out", "no entry of accept.prefixes", "add it")), REMOTE, "desired", "accept.prefixes",
     "add it"),
    (remote(learned(), "none"), REMOTE, "kernel", "end here: no route to host", "ip route get"),
    (replace(GOOD, speaker="no socket", about={}, gobgpd=Gobgpd("unix:///x")), REMOTE, "speaker", "no socket",
     "systemctl"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "name", "step", "what", "fix"), MISSING, ids=[f"{one[1]} {one[3]}" for one in MISSING]
)
def test_the_first_thing_that_is_missing(seen: Seen, name: str, step: str, what: str, fix: str) -> None:
    missing = first_missing(chain(seen, name))
    assert missing is not None
    assert missing.step == step
    assert what in missing.what
    assert fix in missing.fix


def test_what_others_serve_is_well() -> None:
    entry = learned(prefix=f"{VIP}/32")
    ways = {VIP: {"kind": "unicast", "via": "192.0.2.1", "dev": "eth0", "error": ""}}
    state = State([], {}, [NETWORK], [])
    found = chain(replace(GOOD, state=state, about={f"{VIP}/32": about(learned=[entry])}, ways=ways), VIP)
    assert first_missing(found) is None
    assert found[0].what == "no pod of this node asks for it; other nodes serve it"


def test_one_sick_pod_of_two_and_one_peer_of_two_break_nothing() -> None:
    two = of_vip(endpoints=[END, SICK])
    told = [TOLD[0], {"peer": "192.0.2.9", "established": False, "allowed": True}]
    down = replace(DOWN, row={**DOWN.row, "peer": "192.0.2.9", "address": "192.0.2.9"})
    for seen in (two, replace(told_of_vip(told), peers=(UP, down))):
        found = chain(seen, VIP)
        assert first_missing(found) is None
        assert [one.state for one in found].count("warning") == 1


def test_pods_that_lost_their_names_are_told_of() -> None:
    nameless = allocation()
    nameless.pod = ""
    missing = first_missing(chain(replace(GOOD, state=State([nameless], {}, [NETWORK], [])), "shop/web"))
    assert missing is not None
    assert "1 pod here without a name" in missing.what
    assert missing.fix.startswith("explain it by its container's id or its address: anypod allocations")


def test_what_a_slow_gobgpd_said_before_may_be_old() -> None:
    found = chain(replace(GOOD, speaker={"gobgpd": GOBGPD, "late": True}), VIP)
    assert [one.what for one in found if one.state == "warning"] == [
        f"it had {VIP}/32, and does not answer within 2 s now: what follows may be old"
    ]


def test_a_route_of_somebody_else_is_a_warning() -> None:
    found = chain(remote(None), REMOTE)
    assert first_missing(found) is None
    assert [one.state for one in found] == ["ok", "warning", "ok"]


def test_without_a_speaker_gobgpds_own_table_is_told() -> None:
    ours = LocalPath(ip_network("10.1.0.0/24"), ip_network("0.0.0.0").network_address)
    gobgpd = Gobgpd("unix:///x", version=3, table=[Destination(ours.prefix, ours, False, ())])
    found = chain(replace(GOOD, speaker="no socket", about={}, gobgpd=gobgpd), POD_IP)
    assert [(one.step, one.state) for one in found][:4] == [
        ("allocation", "ok"),
        ("link", "ok"),
        ("speaker", "error"),
        ("gobgpd", "ok"),
    ]


def test_addresses_are_told_from_longer_ones() -> None:
    other = {**OUTSIDE, "message": "anypod.dev/anycast: 203.0.113.77 is in none; ask for another"}
    missing = first_missing(
        chain(replace(remote(None, "none"), refusals=(other,), state=BARE), "203.0.113.7")
    )
    assert missing is not None
    assert missing.step == "gobgpd"


def test_what_pods_are_called_is_cleaned() -> None:
    evil = {**EXHAUSTED, "pod": "shop/\x1b[31m", "message": "\x07no; fix"}
    found = explain(replace(GOOD, refusals=(evil,)), Target("x", None, (), (evil,)))
    assert all(one.what.isprintable() for one in found)
