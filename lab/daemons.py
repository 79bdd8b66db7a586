"""Which programs run in each router, their files, and what they need on the machine."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import commands, configs, frr
from lab.errors import LabError
from lab.processes import Program
from lab.topology import RackKind

if TYPE_CHECKING:
    from lab.installed import Installation
    from lab.topology import Router, Topology

FRR_LIBRARY = Path("/usr/lib/frr")
FRR_PARENTS = (
    Path("/etc/frr"),
    Path("/var/run/frr"),
)  # FRR looks there and nowhere else for a named instance
FRR_USER = "frr"
ALWAYS = {"ip": "iproute2", "nft": "nftables", "gobgpd": "gobgpd", "gobgp": "gobgpd"}
OF_RACK = {RackKind.FRR: {"vtysh": "frr"}, RackKind.BIRD: {"bird": "bird2", "birdc": "bird2"}}


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one router, all below one private directory."""

    directory: Path

    @property
    def api(self) -> str:
        """Address of the API of gobgpd."""
        return f"unix://{self.socket}"

    @property
    def socket(self) -> Path:
        """The socket of that address."""
        return self.directory / "gobgpd.sock"

    @property
    def state(self) -> Path:
        """The state directory that plugin and speaker share."""
        return self.directory / "state"

    @property
    def conflists(self) -> Path:
        """Where the node's conflists are."""
        return self.directory / "net.d"

    @property
    def results(self) -> Path:
        """Where the node's runtime keeps the plugin's results."""
        return self.directory / "results"

    @property
    def speaker_toml(self) -> Path:
        """The speaker's configuration."""
        return self.directory / "speaker.toml"


def require(rack: RackKind) -> None:
    """Refuses to go on when a program that such a lab runs is missing."""
    commands.require({**ALWAYS, **OF_RACK.get(rack, {})})


def is_anypod(router: Router, topology: Topology) -> bool:
    """Whether the router runs gobgpd and a speaker; only a rack may be something else."""
    return bool(router.networks) or topology.rack is RackKind.GOBGP


def programs(
    router: Router, topology: Topology, place: Place, installed: Installation
) -> tuple[Program, ...]:
    """A router's programs in the order in which they are started."""
    namespace, directory = topology.namespace(router.name), place.directory
    if is_anypod(router, topology):
        gobgpd = ("gobgpd", "--api-hosts", place.api, "--pprof-disable", "--log-plain")
        speaker = (*installed.anypod, "speaker", "run", "--config", str(place.speaker_toml))
        return (
            Program("gobgpd", namespace, gobgpd, directory, place.socket),
            Program("speaker", namespace, speaker, directory),
        )
    if topology.rack is RackKind.BIRD:
        files = ("-c", f"{directory}/bird.conf", "-s", f"{directory}/bird.ctl")
        return (Program("bird", namespace, ("bird", "-f", *files), directory),)
    settings, running = (parent / namespace for parent in FRR_PARENTS)
    common = ("-N", namespace, "-P", "0", "--log", "stdout", "-f")
    zebra = (str(FRR_LIBRARY / "zebra"), *common, f"{settings}/zebra.conf")
    bgpd = (str(FRR_LIBRARY / "bgpd"), *common, f"{settings}/bgpd.conf")
    # A bgpd that has a session before it knows its interfaces from zebra drops IPv6 paths for good.
    return (
        Program("zebra", namespace, zebra, directory, running / "zserv.api", awaited=True),
        Program("bgpd", namespace, bgpd, directory),
    )


def write_files(router: Router, topology: Topology, place: Place) -> None:
    """Writes every file that a router's programs and its plugin read."""
    place.directory.mkdir(mode=0o700)
    if is_anypod(router, topology):
        _write(place.speaker_toml, configs.speaker_toml(router, topology, place.api, place.state))
        for directory in (place.state, place.conflists, place.results) if router.networks else ():
            directory.mkdir(mode=0o700)
        for network in router.networks:
            text = configs.conflist(network, place.state, topology.pools)
            _write(place.conflists / f"10-{network.name}.conflist", text)
    elif topology.rack is RackKind.BIRD:
        _write(place.directory / "bird.conf", configs.bird(router, topology))
    else:
        _write_frr(router, topology)


def _write_frr(router: Router, topology: Topology) -> None:
    namespace = topology.namespace(router.name)
    try:
        for parent in FRR_PARENTS:
            (parent / namespace).mkdir(mode=0o700)
            shutil.chown(parent / namespace, FRR_USER, FRR_USER)
        settings = FRR_PARENTS[0] / namespace
        bgpd = frr.bgpd(router, topology)
        for name, text in (("zebra", frr.zebra(router)), ("bgpd", bgpd), ("vtysh", "")):
            _write(settings / f"{name}.conf", text)
            shutil.chown(settings / f"{name}.conf", FRR_USER, FRR_USER)
    except (FileNotFoundError, LookupError) as error:
        missing = next((parent for parent in FRR_PARENTS if not parent.is_dir()), None)
        if missing is not None and FRR_LIBRARY.is_dir():
            # Where systemd runs, its tmpfiles make the one below /var/run; FRR's package alone does not.
            fix = f"install -d -o {FRR_USER} -g {FRR_USER} {missing}"
            raise LabError(f"FRR's folder {missing} is missing; make it with: {fix}") from None
        raise LabError(f"FRR is not installed ({error}); install it with: apt-get install frr") from None


def remove_elsewhere(start: str) -> None:
    """Removes the directories that FRR needed outside the lab's own, for namespaces that begin so."""
    for parent in FRR_PARENTS:
        for directory in parent.glob(f"{start}*"):
            shutil.rmtree(directory, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with contextlib.suppress(FileExistsError):
        path.touch(0o600, exist_ok=False)
    path.write_text(text)
