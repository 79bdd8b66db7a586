"""What facts about a node mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cni.allocation import Allocation
from speaker.commands.direct import Gobgpd
from speaker.commands.peers import NOT_THERE
from speaker.commands.record import State
from speaker.commands.stale import Stale
from speaker.doctor.findings import diagnose
from speaker.doctor.values import Conflist, Dial, Facts, Fit, Groups, Level, PeerFacts

OURS = Conflist("10-anypod.conflist", ({"type": "anypod", "ipam": {}},), "pods")


def peer(state: str = "established", **facts: Any) -> PeerFacts:
    row = {"peer": "192.0.2.1", "address": "192.0.2.1", "asn": 65000, "description": "rack", "state": state}
    return PeerFacts(
        {**row, "reason": facts.pop("reason", ""), "password": facts.pop("password", "")}, **facts
    )


GOOD = Facts(
    Groups.RESILIENT,
    {
        "ipv4/fib_multipath_hash_policy": "3",
        "ipv6/fib_multipath_hash_policy": "3",
        "ipv4/fib_multipath_hash_fields": "55",
        "ipv6/fib_multipath_hash_fields": "55",
        "ipv4/ip_forward": "1",
        "ipv6/conf/all/forwarding": "1",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/default/rp_filter": "1",
        "ipv4/conf/eth0/rp_filter": "2",
    },
    {"gobgpd": {"trouble": ""}, "peers": [], "vips": [], "routes": {}, "configuration": {"refused": ""}},
    gobgpd_version="3.10.0",
    peers=(peer(),),
    state=State([], {}, [], []),
    conflists=(OURS,),
    stale=Stale(),
)


def bad(facts: Facts) -> list[tuple[Level, str, str]]:
    return [(one.level, one.what, one.fix) for one in diagnose(facts) if one.level is not Level.OK]


def spoken(**parts: Any) -> Facts:
    assert isinstance(GOOD.speaker, dict)
    return replace(GOOD, speaker={**GOOD.speaker, **parts})


def down(**facts: Any) -> Facts:
    return replace(GOOD, peers=(peer("active", **facts),))


def vip(state: str, health: str = "up", error: str = "") -> dict[str, Any]:
    end = {"pod": "shop/web", "address": "10.1.0.5", "check": "tcp://:80", "health": health, "error": error}
    return {
        "vip": "198.51.100.1",
        "state": state,
        "reason": "because",
        "endpoints": [{**end, "unreachable": ""}],
    }


def sysctl(key: str, value: str) -> Facts:
    return replace(GOOD, sysctls={**GOOD.sysctls, key: value})


def test_a_node_that_has_all_has_nothing_to_mend() -> None:
    assert bad(GOOD) == []
    assert all(not one.fix for one in diagnose(GOOD))


@pytest.mark.parametrize(
    ("facts", "level", "what", "fix"),
    [
        (
            replace(GOOD, groups=Groups.PLAIN),
            Level.WARNING,
            "no resilient next-hop groups",
            "kernel from 5.13",
        ),
        (replace(GOOD, groups=Groups.NONE), Level.ERROR, "no next-hop objects", "kernel from 5.13"),
        (replace(GOOD, groups=Groups.UNTRIED), Level.WARNING, "could not be tried", "as root"),
        (
            sysctl("ipv4/fib_multipath_hash_policy", "0"),
            Level.WARNING,
            "go to one pod",
            "net.ipv4.fib_multipath_hash_policy=3",
        ),
        (
            sysctl("ipv6/fib_multipath_hash_policy", "1"),
            Level.WARNING,
            "may break when packets are lost",
            "net.ipv6.fib_multipath_hash_policy=3",
        ),
        (sysctl("ipv6/conf/all/forwarding", "0"), Level.WARNING, "IPv6", "net.ipv6.conf.all.forwarding=1"),
        (sysctl("ipv4/conf/eth0/rp_filter", "1"), Level.WARNING, "filtering on eth0", "rp_filter=2"),
        (replace(GOOD, speaker="no socket"), Level.ERROR, "no socket", "systemctl start anypod-speaker"),
        (
            replace(GOOD, speaker={"gobgpd": {"trouble": "port taken"}}),
            Level.ERROR,
            "port taken",
            "journalctl",
        ),
        (spoken(late=True), Level.WARNING, "does not answer within 2 s", "restart anypod-gobgpd"),
        (replace(GOOD, gobgpd_version=""), Level.WARNING, "no gobgpd is found", "apt-get install gobgpd"),
        (replace(GOOD, open_api=True), Level.WARNING, "port 50051", "systemctl disable --now gobgpd"),
        (replace(GOOD, config="bgp.asn: is missing"), Level.ERROR, "bgp.asn", "anypod speaker check"),
        (
            replace(GOOD, speaker={"gobgpd": {"trouble": "gone", "connected": False, "api": "unix:///x"}}),
            Level.ERROR,
            "does not answer at unix:///x: gone",
            "systemctl restart anypod-gobgpd",
        ),
        (
            spoken(
                configuration={"refused": "", "waiting": {"bgp": "restart both", "gobgpd": "restart both"}}
            ),
            Level.WARNING,
            "bgp, gobgpd: changed in the speaker's configuration",
            "restart both",
        ),
        (
            spoken(configuration={"refused": "peer[0].asn"}),
            Level.ERROR,
            "stays in force: peer[0].asn",
            "speaker check",
        ),
        (
            spoken(routes={"refusals": {"10.0.0.0/8": "EEXIST"}}),
            Level.ERROR,
            "the route to 10.0.0.0/8",
            "that reason",
        ),
        (
            spoken(routes={"next_hops": {"192.0.2.9": 3}}),
            Level.WARNING,
            "next hop 192.0.2.9",
            "ip route get 192.0.2.9",
        ),
        (spoken(routes={"beyond_maximum": 3}), Level.WARNING, "accept.maximum", "raise accept.maximum"),
        (
            spoken(vips=[vip("withdrawn", health="down", error="connection refused")]),
            Level.ERROR,
            "pod shop/web (10.1.0.5): its check tcp://:80 fails: connection refused",
            "anypod explain 198.51.100.1",
        ),
        (
            spoken(vips=[vip("withdrawn")]),
            Level.WARNING,
            "is withdrawn: because",
            "anypod explain 198.51.100.1",
        ),
        # ---- peers
        (replace(GOOD, peers=()), Level.WARNING, "no peer is configured", "[[peer]]"),
        (
            down(way={"kind": "none", "error": "no route"}),
            Level.ERROR,
            "no route to it (no route)",
            "ip route get",
        ),
        (
            down(way={"kind": "unicast", "dev": "e0"}, carrier=False),
            Level.ERROR,
            "e0 to it has no carrier",
            "e0",
        ),
        (
            down(way={"kind": "unicast", "dev": "e0"}, neighbour="FAILED"),
            Level.ERROR,
            "does not answer ARP",
            "e0",
        ),
        (down(password="no signature"), Level.ERROR, "passwords differ: no signature", "peer.password-file"),  # noqa: S106
        (
            down(reason="most often its AS is not 65000"),
            Level.ERROR,
            "its AS is not 65000",
            "AS 65000 (peer.asn)",
        ),
        (
            down(reason="more prefixes than its prefix limit"),
            Level.ERROR,
            "prefix limit",
            "raise peer.prefix-limit",
        ),
        (
            down(dial=Dial.REFUSED),
            Level.ERROR,
            "nobody listens on port 179 of 192.0.2.1",
            "start the BGP daemon",
        ),
        (down(dial=Dial.SILENT), Level.ERROR, "does not answer on port 179", "packet filters"),
        (down(dial=Dial.ANSWERED), Level.ERROR, "answers on port 179", "peer.local-address"),
        (down(dial=Dial.NO_WAY), Level.ERROR, "can't be reached", "ip route get 192.0.2.1"),
        (down(), Level.ERROR, "its session is active", "see the log"),
        (
            replace(GOOD, peers=(peer(path=Fit.LOST),)),
            Level.ERROR,
            "get lost on the way to 192.0.2.1",
            "raise the MTU",
        ),
        (replace(GOOD, peers=(peer(path=Fit.TOO_BIG),)), Level.WARNING, "do not fit", "raise the MTU"),
    ],
)
def test_what_is_missing_is_named_with_its_fix(facts: Facts, level: Level, what: str, fix: str) -> None:
    (found,) = bad(facts)
    assert found[0] is level
    assert what in found[1]
    assert fix in found[2]


def test_a_peer_that_gobgpd_does_not_have_is_told_so() -> None:
    row = {
        "peer": "eth9",
        "address": "",
        "asn": None,
        "description": "",
        "state": "missing",
        "reason": "no such link",
    }
    (found,) = [one for one in bad(replace(GOOD, peers=(PeerFacts(row),))) if "eth9" in one[1]]
    assert found[0] is Level.ERROR
    assert "no such link" in found[1]
    (found,) = bad(replace(GOOD, peers=(PeerFacts({**row, "reason": NOT_THERE}),)))
    assert found[1] == "peer eth9 is down: gobgpd does not have it"


def test_of_a_gobgpd_that_does_not_answer_no_peer_is_told() -> None:
    dead = spoken(gobgpd={"trouble": "gone", "connected": False, "api": "unix:///x"})
    assert [what for _, what, _ in bad(replace(dead, peers=down().peers))] == [
        "gobgpd does not answer at unix:///x: gone"
    ]


def test_forwarding_is_asked_of_the_families_that_pods_have() -> None:
    off = replace(GOOD, sysctls={**GOOD.sysctls, "ipv6/conf/all/forwarding": "0"})
    assert ["IPv6 packets are not forwarded" in what for _, what, _ in bad(off)] == [True]
    one = Allocation("pods", "c1", "eth0", "/run/netns/x", "anyp1", ("10.1.0.5/24",))
    assert not [what for _, what, _ in bad(replace(off, state=State([one], {}, [], []))) if "forward" in what]


def test_without_a_speaker_gobgpd_is_told_of() -> None:
    silent = replace(GOOD, speaker="no socket", peers=(), routes_of_ours=7)
    dead = bad(replace(silent, gobgpd=Gobgpd("unix:///x", trouble="nobody listens")))
    assert [one[0] for one in dead] == [Level.ERROR, Level.ERROR, Level.WARNING]
    assert "gobgpd does not answer at unix:///x: nobody listens" in dead[1][1]
    assert "7 routes" in bad(replace(silent, gobgpd=Gobgpd("unix:///x", version=3)))[-1][1]


def test_every_finding_has_a_word_for_what_it_is_about() -> None:
    assert all(one.about for one in diagnose(GOOD))
    assert {one.about for one in diagnose(GOOD)} >= {
        "kernel",
        "speaker",
        "gobgpd",
        "peer",
        "conflist",
        "leftovers",
    }


def test_before_linux_5_14_policy_1_is_the_best_there_is() -> None:
    sysctls = {key: value for key, value in GOOD.sysctls.items() if not key.endswith("_fields")}
    sysctls |= {f"{version}/fib_multipath_hash_policy": "1" for version in ("ipv4", "ipv6")}
    assert bad(replace(GOOD, sysctls=sysctls)) == []


def test_all_counts_for_every_interface() -> None:
    assert bad(sysctl("ipv4/conf/all/rp_filter", "2")) == []
    strict = replace(
        GOOD, sysctls={**GOOD.sysctls, "ipv4/conf/all/rp_filter": "1", "ipv4/conf/eth0/rp_filter": "0"}
    )
    assert "filtering on eth0" in bad(strict)[0][1]
