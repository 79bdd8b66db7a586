"""The two racks of the soak, FRR and BIRD: what they are told to do, and what they have."""

from __future__ import annotations

import json
import re
from datetime import datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, NamedTuple

from tests.system.gobgp_rig import wait
from tests.system.peers_routers import Bird, Frr, bird_conf, frr_conf
from tests.system.soak_model import NODES, VERSIONS, Path, address, node_asn, rack_asn

if TYPE_CHECKING:
    from pathlib import Path as File

    from speaker.bgp import Prefix

Told = dict["Prefix", Path]
HEARD = re.compile(
    r"^(\S+ \S+) <TRACE> node(\d)_\d"
    r"(?:\.ipv\d > (added|removed|updated) \[.*?\] (\S+)|: State changed to (\w+))",
    re.MULTILINE,
)
NAMES = {"noExport": "no-export", "65535:65281": "no-export"}


class FrrRack(Frr):
    """Rack 1: FRR. `secrets` are its passwords for the nodes."""

    def __init__(self, name: str, directory: File, number: int) -> None:
        super().__init__(name, directory, number)
        self.prefixes = {"10.201.0.0/16", "10.200.0.0/16"}
        self.secrets = dict.fromkeys(NODES, "")

    def text(self) -> str:
        lines, activate = ["no bgp default ipv4-unicast"], dict.fromkeys(VERSIONS, "")
        for node in NODES:
            for version in VERSIONS:
                neighbour = f"neighbor {address(version, 1, node, 2)}"
                lines += [f"{neighbour} remote-as {node_asn(node)}", f"{neighbour} timers connect 1"]
                lines += [f"{neighbour} password {self.secrets[node]}"] if self.secrets[node] else []
                activate[version] += f"{neighbour} activate\n"
        own = "".join(f"network {one}\n" for one in sorted(self.prefixes))
        return frr_conf(rack_asn(1), 1, "\n".join(lines), activate[4] + own, activate[6])

    def begin(self) -> None:
        self.start_frr(self.text())

    def toggle(self, one: str) -> None:
        self.prefixes ^= {one}
        no = "" if one in self.prefixes else "no "
        self._set("address-family ipv4 unicast", f"{no}network {one}")

    def agree(self, node: int, secret: str) -> None:
        """From now on this is the password of that node's sessions."""
        self.secrets[node] = secret
        neighbours = (f"neighbor {address(version, 1, node, 2)} password" for version in VERSIONS)
        self._set(*(f"{one} {secret}" if secret else f"no {one}" for one in neighbours))

    def _set(self, *lines: str) -> None:
        """In the running daemon, and in the file for the next one."""
        self.settings("bgpd").write_text(self.text())
        if "bgpd" in self.processes:
            self.vtysh("configure", f"router bgp {rack_asn(1)}", *lines)

    def end(self) -> None:
        self.kill("bgpd")

    def restart(self) -> None:
        """From then on it takes commands."""
        self.start_daemon("bgpd")
        wait("bgpd answers", lambda: self.show("summary"))

    def told(self) -> Told:
        """What the nodes told it."""
        found: Told = {}
        for version in VERSIONS:
            output = self.vtysh(f"show bgp ipv{version} unicast json detail")
            entries = json.loads(output)["routes"] if output.lstrip().startswith("{") else {}
            for prefix, paths in entries.items():
                for path in paths:
                    if "aspath" in path and not path.get("local"):
                        found[ip_network(prefix)] = Path(
                            next(hop["ip"] for hop in path["nexthops"] if hop.get("scope") != "link-local"),
                            tuple(map(int, path["aspath"]["string"].split())),
                            _words(path.get("community"), path.get("largeCommunity")),
                            path.get("metric", 0),
                        )
        return found


def _words(*communities: dict[str, list[str]] | None) -> frozenset[str]:
    return frozenset(NAMES.get(word, word) for one in communities if one for word in one["list"])


class Heard(NamedTuple):
    """A line of BIRD's log: a node's route that came or went, or the end of a session (without a prefix)."""

    at: float
    node: int
    prefix: Prefix | None
    there: bool


class BirdRack(Bird):
    """Rack 2: BIRD."""

    def __init__(self, name: str, directory: File, number: int) -> None:
        super().__init__(name, directory, number)
        self.prefixes = {"10.202.0.0/16", "10.200.0.0/16"}
        self.secrets = dict.fromkeys(NODES, "")

    def text(self) -> str:
        own = " ".join(f"route {one} blackhole;" for one in sorted(self.prefixes))
        secrets = {node: f' password "{secret}";' if secret else "" for node, secret in self.secrets.items()}
        sessions = [
            f"protocol bgp node{node}_{version} {{ local {address(version, 2, node, 1)} as {rack_asn(2)};"
            f" neighbor {address(version, 2, node, 2)} as {node_asn(node)};{secrets[node]}"
            " connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 9;"
            " debug { states, routes };"
            f" ipv{version} {{ import all; export where source = RTS_BGP || source = RTS_STATIC; }}; }}"
            for node in NODES
            for version in VERSIONS
        ]
        return bird_conf(2, f"protocol static {{ ipv4; {own} }}", *sessions)

    def begin(self) -> None:
        self.start_bird(self.text())

    def toggle(self, one: str) -> None:
        self.prefixes ^= {one}
        self._set()

    def agree(self, node: int, secret: str) -> None:
        """From now on this is the password of that node's sessions."""
        self.secrets[node] = secret
        self._set()

    def _set(self) -> None:
        self.write(self.text())
        if "bird" in self.processes:
            self.birdc("configure")

    def end(self) -> None:
        self.kill("bird")

    def restart(self) -> None:
        """From then on it takes commands."""
        self.start_bird(self.text())
        wait("BIRD answers", lambda: "up" in self.birdc("show", "status"))

    def told(self) -> Told:
        """What the nodes told it."""
        found: Told = {}
        for entry in re.split(r"^(?=\S)", self.birdc("show", "route", "all"), flags=re.MULTILINE):
            fields = dict(re.findall(r"^\s+BGP\.(\w+): (.*)$", entry, re.MULTILINE))
            if fields:
                words = f"{fields.get('community', '')} {fields.get('large_community', '')}"
                communities = (re.sub(r",\s*", ":", one) for one in re.findall(r"\(([\d, ]+)\)", words))
                found[ip_network(entry.split()[0])] = Path(
                    fields["next_hop"].split()[0],
                    tuple(map(int, fields["as_path"].split())),
                    frozenset(NAMES.get(one, one) for one in communities),
                    int(fields.get("med", 0)),
                )
        return found

    def heard(self) -> list[Heard]:
        """What the nodes told it since it began, and which of their sessions ended when."""
        lines = HEARD.findall((self.directory / "bird.log").read_text())
        return [
            Heard(
                datetime.fromisoformat(at).timestamp(),
                int(node),
                ip_network(prefix) if prefix else None,
                verb in {"added", "updated"} or state == "up",
            )
            for at, node, verb, prefix, state in lines
        ]
