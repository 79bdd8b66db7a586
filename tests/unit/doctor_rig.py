"""What a node that is well looks like to doctor, and what of another one is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from cni.allocation import Allocation
from cni.network import Network, Range, packed
from speaker.commands.record import State, Usage
from speaker.commands.stale import Stale
from speaker.doctor.findings import diagnose
from speaker.doctor.values import Conflist, Facts, Groups, Level, Place

if TYPE_CHECKING:
    from cni.link import Link

DIGITS = "anyp0123456789a"
HOUR = 3600.0


def link(name: str, **fields: Any) -> Link:
    usual = {
        "index": 1,
        "kind": "",
        "mtu": 1500,
        "up": True,
        "carrier": True,
        "master": 0,
        "alias": "",
        "link": 0,
    }
    found = {**usual, **fields, "name": name}
    words = found["alias"].split(" ")
    return cast("Link", SimpleNamespace(**found, network=lambda: words[1] if len(words) > 1 else ""))


def number(text: str) -> int:
    return int.from_bytes(packed(text), "big")


RANGE = Range(4, number("10.1.0.0"), 24, number("10.1.0.1"), number("10.1.0.254"), number("10.1.0.1"))
POD = Allocation("pods", "c1", "eth0", "/run/netns/x", DIGITS, ("10.1.0.5/24",))
BRIDGE = link("cni0", index=7, kind="bridge")
PORT = link(DIGITS, index=8, kind="veth", master=7, alias="anypod pods c1/eth0")
UPLINK = link("eth0", index=2)
NETWORK = Network("pods", bridge="cni0", is_gateway=True, range_sets=[[RANGE]])
OURS = Conflist("10-anypod.conflist", ({"type": "anypod", "ipam": {}},), "pods")
GOOD = Facts(
    Groups.RESILIENT,
    {"bridge/bridge-nf-call-iptables": "0"},
    {"gobgpd": {"trouble": ""}, "peers": [], "vips": [], "routes": {}, "configuration": {}},
    gobgpd_version="3.10.0",
    links=(BRIDGE, PORT, UPLINK),
    addresses={"cni0": frozenset({"10.1.0.1/24"})},
    uplinks=frozenset({"eth0"}),
    state=State([POD], {}, [NETWORK], [Usage("pods", "10.1.0.1-10.1.0.254", 1, 253)]),
    conflists=(OURS,),
    places=(Place("/run/anypod", 0o750, 0),),
    stale=Stale(),
    now=10 * HOUR,
)


def wrong(facts: Facts) -> list[tuple[Level, str, str]]:
    """What is not well, but for the peers that this node does without."""
    found = [one for one in diagnose(facts) if one.level is not Level.OK and one.about != "peer"]
    assert all(one.fix for one in found)
    return [(one.level, one.what, one.fix) for one in found]
