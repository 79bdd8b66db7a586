"""Routers of other makes in namespaces of their own, asked for what they see: FRR, BIRD 2 and ExaBGP."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from lab import netns
from tests.system.gobgp_rig import Member, run, wait

FRR = Path("/usr/lib/frr")
FRR_PARENTS = (Path("/etc/frr"), Path("/var/run/frr"))  # where a named instance looks, and nowhere else


class Router(Member):
    """A neighbour on link `number`: it is 10.98.N.2 and fd98:N::2 on `node`, the node .1 and ::1 on its side."""

    def __init__(self, name: str, directory: Path, number: int) -> None:
        super().__init__(name, directory)
        self.number = number
        self.link = f"r{number}"
        self.v4, self.v6 = f"10.98.{number}.2", f"fd98:{number}::2"
        self.node_v4, self.node_v6 = f"10.98.{number}.1", f"fd98:{number}::1"

    def forward(self) -> None:
        netns.set_forwarding(self.ns, "1")


class Frr(Router):
    """FRR's zebra and bgpd."""

    def start_frr(self, config: str, *more: str) -> None:
        """`config` is bgpd.conf; `more` are options of bgpd."""
        for parent in FRR_PARENTS:
            (parent / self.ns).mkdir(mode=0o700)
            shutil.chown(parent / self.ns, "frr", "frr")
        for name, text in (("zebra", ""), ("bgpd", config), ("vtysh", "")):
            path = self.settings(name)
            path.write_text(text)
            shutil.chown(path, "frr", "frr")
        self.start_daemon("zebra")
        wait("zebra listens", (FRR_PARENTS[1] / self.ns / "zserv.api").exists)
        self.start_daemon("bgpd", *more)

    def settings(self, name: str) -> Path:
        return FRR_PARENTS[0] / self.ns / f"{name}.conf"

    def start_daemon(self, name: str, *more: str) -> None:
        options: list[str | Path] = ["-N", self.ns, "-P", "0", "--log", "stdout", "-f", self.settings(name)]
        command = [FRR / name, *options, *more]
        self.start(name, command, self.directory / f"{name}.log")

    def vtysh(self, *commands: str) -> str:
        return run("vtysh", "-N", self.ns, *(word for one in commands for word in ("-c", one)), check=False)

    def show(self, what: str) -> dict[str, Any]:
        """`show bgp …` as a document; empty while bgpd does not answer."""
        found = self.vtysh(f"show bgp {what} json")
        return dict(json.loads(found)) if found.lstrip().startswith("{") else {}

    def neighbour(self, name: str) -> dict[str, Any]:
        """What `show bgp neighbors` says of one: an address, or the interface of an unnumbered one."""
        return dict(self.show(f"neighbors {name}").get(name, {}))

    def is_up(self, name: str) -> bool:
        return self.neighbour(name).get("bgpState") == "Established"

    def paths(self, prefix: str) -> list[dict[str, Any]]:
        """Its paths for exactly this prefix."""
        found = self.show(f"{family(prefix)} unicast {prefix}")
        return [dict(path) for path in found.get("paths", [])] if found.get("prefix") == prefix else []

    def has(self, prefix: str) -> bool:
        return bool(self.paths(prefix))

    def close(self) -> None:
        super().close()
        for parent in FRR_PARENTS:
            shutil.rmtree(parent / self.ns, ignore_errors=True)


class Bird(Router):
    """BIRD 2."""

    def start_bird(self, config: str) -> None:
        self.write(config)
        files: list[str | Path] = ["-c", self.directory / "bird.conf", "-s", self.directory / "bird.ctl"]
        self.start("bird", ["bird", "-f", *files], self.directory / "bird.log")

    def write(self, config: str) -> None:
        (self.directory / "bird.conf").write_text(config)

    def birdc(self, *words: str) -> str:
        return run("birdc", "-s", self.directory / "bird.ctl", *words, check=False)

    def is_up(self, protocol: str) -> bool:
        return bool(re.search(rf"^{protocol}\s.*Established", self.birdc("show", "protocols"), re.MULTILINE))

    def attributes(self, prefix: str) -> dict[str, str]:
        """`BGP.…` and `via` of the best route for exactly this prefix; empty without one."""
        found = self.birdc("show", "route", "all", "primary", "for", prefix)
        if f"{prefix} " not in found.replace("\t", " "):
            return {}
        pairs = re.findall(r"^\s+(?:BGP\.(\w+): (.*)|(via) (\S+).*)$", found, re.MULTILINE)
        return {name or via: (value if name else hop) for name, value, via, hop in pairs}

    def has(self, prefix: str) -> bool:
        return bool(self.attributes(prefix))


class ExaBgp(Router):
    """ExaBGP: what it hears is a file of JSON lines, what it is to say are lines of another."""

    def start_exabgp(self, neighbour: str) -> None:
        script, say = self.directory / "heard.sh", self.directory / "say"
        # ExaBGP takes it for dead when nobody has its stdout.
        script.write_text(f"exec cat 3>&1 >{self.directory}/heard\n")
        say.touch()
        config = self.directory / "exabgp.conf"
        config.write_text(
            f"process heard {{ run /bin/sh {script}; encoder json; }}\n"
            f"process say {{ run /usr/bin/tail -n +1 -f {say}; encoder text; }}\n"
            f"neighbor {neighbour}\n"
        )
        settings = ("daemon.user=root", "api.cli=false", "api.ack=false", "log.destination=stdout")
        command: list[str | Path] = ["env", *(f"exabgp.{setting}" for setting in settings), "exabgp", config]
        self.start("exabgp", command, self.directory / "exabgp.log")

    def say(self, *commands: str) -> None:
        """`announce route 10.0.0.0/8 next-hop self`, for one."""
        with (self.directory / "say").open("a") as file:
            file.writelines(f"{command}\n" for command in commands)

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """All messages of a type so far: "state", "update" or "notification"."""
        try:
            lines = (self.directory / "heard").read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [dict(one["neighbor"]) for one in found if one["type"] == kind]

    def is_up(self) -> bool:
        states = [one["state"] for one in self.heard("state")]
        return bool(states) and states[-1] == "up"

    def learned(self) -> dict[str, dict[str, Any]]:
        """Attributes of each prefix that is announced to it now."""
        table: dict[str, dict[str, Any]] = {}
        for one in self.heard("update"):
            update = one["message"].get("update", {})
            for group in update.get("withdraw", {}).values():
                for entry in group:
                    table.pop(entry["nlri"], None)
            for group in update.get("announce", {}).values():
                for hop, entries in group.items():
                    for entry in entries:
                        table[entry["nlri"]] = {**update.get("attribute", {}), "next-hop": hop}
        return table

    def has(self, prefix: str) -> bool:
        return prefix in self.learned()


def family(prefix: str) -> str:
    return "ipv6" if ":" in prefix else "ipv4"


def frr_conf(asn: int, number: int, neighbours: str, ipv4: str = "", ipv6: str = "") -> str:
    """bgpd.conf: lines for the router itself and for each address family."""
    blocks = "".join(
        f" address-family ipv{version} unicast\n{_indented(lines)} exit-address-family\n"
        for version, lines in ((4, ipv4), (6, ipv6))
        if lines
    )
    return (
        f"router bgp {asn}\n bgp router-id 10.98.{number}.2\n no bgp ebgp-requires-policy\n"
        " no bgp network import-check\n bgp bestpath as-path multipath-relax\n timers bgp 3 9\n"
        f"{_indented(neighbours)}{blocks}"
    )


def _indented(lines: str) -> str:
    return "".join(f" {line.strip()}\n" for line in lines.splitlines() if line.strip())


def bird_conf(number: int, *blocks: str) -> str:
    """bird.conf with devices and the protocols given."""
    base = ["log stderr all;", f"router id 10.98.{number}.2;", "protocol device { }"]
    return "\n".join([*base, *blocks, ""])
