"""The same job in four ways: configuration and programs of each. All are ready for one neighbour and IPv4 routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.routes import sender
from lab.daemons import FRR_LIBRARY, FRR_PARENTS
from lab.processes import Program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADDRESS, ASN = "192.0.2.2", 65001

_SPEAKER = """
[bgp]
asn = {asn}
router-id = "{address}"
[gobgpd]
api = "unix://{place}/gobgpd.sock"
[[peer]]
address = "{peer}"
asn = {peer_asn}
timers = {{ connect-retry = 1 }}
[state]
dir = "{place}/state"
follow = false
"""

_BIRD = """
log stderr all;
router id {address};
protocol device {{ }}
protocol kernel {{ scan time 3600; ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol bgp sender {{
  local {address} as {asn};
  neighbor {peer} as {peer_asn};
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 {{ import all; export none; }};
}}
"""

_GOBGPD = """
[global.config]
as = {asn}
router-id = "{address}"
port = -1
{zebra}
[[neighbors]]
[neighbors.config]
neighbor-address = "{peer}"
peer-as = {peer_asn}
[neighbors.timers.config]
connect-retry = 1
"""

_ZEBRA = """
[zebra.config]
enabled = true
url = "unix:{socket}"
redistribute-route-type-list = []
version = 6
software-name = "frr8.2"
"""


@dataclass(frozen=True)
class Contestant:
    """Writes its files into a directory, and names its programs, in the order of their start."""

    name: str
    programs: Callable[[str, Path, tuple[str, ...]], tuple[Program, ...]]


def _text(template: str, place: Path, **more: object) -> str:
    return template.format(
        address=ADDRESS, asn=ASN, peer=sender.ADDRESS, peer_asn=sender.ASN, place=place, **more
    )


def _anypod(namespace: str, place: Path, command: tuple[str, ...]) -> tuple[Program, ...]:
    (place / "speaker.toml").write_text(_text(_SPEAKER, place))
    (place / "state").mkdir()
    api = place / "gobgpd.sock"
    gobgpd = ("gobgpd", "--api-hosts", f"unix://{api}", "--pprof-disable", "--log-plain")
    speaker = (*command, "speaker", "run", "--config", str(place / "speaker.toml"))
    return (
        Program("gobgpd", namespace, gobgpd, place, api, awaited=True),
        Program("speaker", namespace, speaker, place),
    )


def _bird(namespace: str, place: Path, _: tuple[str, ...]) -> tuple[Program, ...]:
    (place / "bird.conf").write_text(_text(_BIRD, place))
    files = ("-c", f"{place}/bird.conf", "-s", f"{place}/bird.ctl")
    return (Program("bird", namespace, ("bird", "-f", *files), place),)


def _zebra(namespace: str, place: Path, _: tuple[str, ...]) -> tuple[Program, ...]:
    settings, running = (parent / namespace for parent in FRR_PARENTS)
    (settings / "zebra.conf").write_text("hostname receiver\n")
    socket = running / "zserv.api"
    config = _text(_GOBGPD, place, zebra=_ZEBRA.format(socket=socket))
    (place / "gobgpd.conf").write_text(config)
    zebra = (
        f"{FRR_LIBRARY}/zebra",
        "-N",
        namespace,
        "-P",
        "0",
        "--log",
        "stdout",
        "-f",
        f"{settings}/zebra.conf",
    )
    return (
        Program("zebra", namespace, zebra, place, socket, awaited=True),
        Program("gobgpd", namespace, _alone(place), place, place / "gobgpd.sock", awaited=True),
    )


def _gobgpd(namespace: str, place: Path, _: tuple[str, ...]) -> tuple[Program, ...]:
    (place / "gobgpd.conf").write_text(_text(_GOBGPD, place, zebra=""))
    return (Program("gobgpd", namespace, _alone(place), place, place / "gobgpd.sock", awaited=True),)


def _alone(place: Path) -> tuple[str, ...]:
    api = f"unix://{place}/gobgpd.sock"
    return ("gobgpd", "-f", f"{place}/gobgpd.conf", "--api-hosts", api, "--pprof-disable", "--log-plain")


ANYPOD = Contestant("anypod", _anypod)
BIRD = Contestant("BIRD 2", _bird)
ZEBRA = Contestant("gobgpd + zebra", _zebra)
GOBGPD = Contestant("gobgpd alone", _gobgpd)
