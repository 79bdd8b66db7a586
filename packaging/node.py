"""What anypod has on a node besides files: who uses it, and taking it away. For `install.sh --uninstall`.

`node.py users PREFIX` prints, in one line, what is in the way; nothing where nobody uses it. `node.py clear` removes
links, bridges, tables and routes, and prints what stays. Both run on the source tree, with any interpreter that is new
enough: the release may be half-made.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from cni.attach import HOST_PREFIX, IFB_PREFIX, Kernel
from cni.bridge import own_gateways
from cni.link import Address, address_dump
from cni.netlink import NetlinkError
from cni.network import BUILT_IN, load
from cni.node import PORT_PREFIX
from cni.owned import all_links, delete_links, owned_links
from cni.reader import StateError, StateReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni.network import Network
    from cni.owned import OwnedLink
    from cni.sqlite import Connection

RUN_DIR = Path("/run/anypod")
PLUGIN = Path("/opt/cni/bin/anypod")
NETWORKS = "etc/cni/net.d"
SUFFIXES = {".conf", ".conflist", ".json"}  # what runtimes load
CONFIGS = ("etc/anypod/speaker.toml", "etc/anypod/cluster.toml")
PROTOCOLS = {177, 178}
NAMED = 3
SECONDS = 120
OUR_LINK = re.compile(f"(?:{HOST_PREFIX}|{IFB_PREFIX}|{PORT_PREFIX})[0-9a-f]{{11}}")


def users(prefix: Path) -> str:
    """Who would lose something by the removal, and what to do first."""
    pods, troubles = attached(prefix)
    named = ", ".join(sorted(pods)[:NAMED]) + (", …" if len(pods) > NAMED else "")
    files = [str(path) for path in naming(prefix / NETWORKS)]
    there = [f"{len(pods)} {'pod is' if len(pods) == 1 else 'pods are'} attached ({named})"] if pods else []
    there += [f"{', '.join(files)} {'names' if len(files) == 1 else 'name'} the plugin"] if files else []
    there += troubles
    first = ["delete the pods"] if pods else []
    first += [f"move {' '.join(files)} away"] if files else []
    fix = f"{' and '.join(first)}, then run this again; " if first else ""
    return (
        f"{'; '.join(there)}: {fix}--uninstall --force goes on all the same, and cuts off pods"
        if there
        else ""
    )


def attached(prefix: Path) -> tuple[set[str], list[str]]:
    """Pods that hold an address or have a link here, and why that is not known."""
    pods, troubles, recorded = set(), [], set()
    for directory in state_directories(prefix):
        try:
            for one in StateReader(str(directory)).allocations():
                pods.add(one.pod or one.container[:12])
                recorded.add(one.host_ifname)
        except (StateError, OSError) as error:
            troubles.append(str(error))
    if prefix == Path("/"):
        links = [one for one in owned_links(all_links(Kernel())) if one.name.startswith(HOST_PREFIX)]
        pods |= {one.alias or one.name for one in links if one.name not in recorded}
    return pods, troubles


def state_directories(prefix: Path) -> list[Path]:
    """Where pods of this installation may be recorded."""
    found = [prefix / RUN_DIR.relative_to("/")]
    for config in configs(prefix):
        state = config.get("state")
        if isinstance(state, dict) and isinstance(state.get("dir"), str):
            found.append(Path(state["dir"]))
    # The plugin's default is outside of every prefix; without another installation its pods are this one's.
    if not PLUGIN.exists() and os.access(RUN_DIR, os.R_OK | os.X_OK):
        found.append(RUN_DIR)
    return list(dict.fromkeys(found))


def configs(prefix: Path) -> Iterator[dict[str, object]]:
    """The speaker's files, as far as they can be read."""
    for name in CONFIGS:
        with contextlib.suppress(OSError, ValueError):
            yield tomllib.loads((prefix / name).read_text())


def naming(directory: Path) -> list[Path]:
    """The files from which a runtime would call the plugin."""
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES)
    except OSError:
        return []
    return [path for path in paths if _names(path)]


def _names(path: Path) -> bool:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return False
    try:
        document = json.loads(text)
        plugins = document.get("plugins", [document])
        return any(one.get("type") == "anypod" for one in plugins)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return '"anypod"' in text  # a runtime can't read it either, until it is mended


def clear() -> Iterator[str]:
    """Removes all that is anypod's in the kernel; says what stays."""
    kernel = Kernel()
    networks = list(known_networks())
    delete_links(kernel, [one for one in all_links(kernel) if OUR_LINK.fullmatch(one.name) and is_made(one)])
    yield from _clear_bridges(kernel, networks)
    for family in ("inet", "bridge"):
        _run("nft", "delete", "table", family, "anypod")
    for protocol in sorted(protocols()):
        _run("ip", "nexthop", "flush", "proto", str(protocol))
        for version in ("-4", "-6"):
            _run("ip", version, "route", "flush", "table", "all", "proto", str(protocol))


def is_made(link: OwnedLink) -> bool:
    """Whether its kind is one that the plugin makes under such names."""
    return link.kind == ("ifb" if link.name.startswith(IFB_PREFIX) else "veth")


def known_networks() -> Iterator[Network]:
    """Those whose bridges stand since this boot."""

    def read(db: Connection, _version: int) -> list[str]:
        return [compiled for (compiled,) in db.execute("SELECT compiled FROM network").fetchall()]

    for directory in state_directories(Path("/")):
        with contextlib.suppress(StateError, OSError):
            for compiled in StateReader(str(directory)).look(read) or []:
                with contextlib.suppress(TypeError, ValueError, KeyError):
                    yield load(json.loads(compiled))


def _clear_bridges(kernel: Kernel, networks: list[Network]) -> Iterator[str]:
    links = all_links(kernel)
    gateways: dict[str, set[tuple[bytes, int]]] = {}
    foreign = {one.bridge for one in networks if one.ipam != BUILT_IN}
    for one in networks:
        gateways.setdefault(one.bridge, set()).update(own_gateways(one))
    for link in links:
        if link.kind != "bridge" or link.name not in gateways:
            continue
        ports = [one.name for one in links if one.master == link.index]
        others = addresses(kernel, link.index) - gateways[link.name] if link.name not in foreign else set()
        if ports or others:
            why = f"has the port {ports[0]}" if ports else "has addresses that are not the plugin's"
            yield f"the bridge {link.name} stays, it {why}; to remove it: ip link delete {link.name}"
            continue
        with contextlib.suppress(NetlinkError):
            delete_links(kernel, [link])


def addresses(kernel: Kernel, index: int) -> set[tuple[bytes, int]]:
    """A link's, without those that the kernel gives."""
    found = [Address(payload) for _, payload in kernel.socket.dump(address_dump(index))]
    return {(one.ip, one.prefixlen) for one in found if one.index == index and one.ip[:2] != b"\xfe\x80"}


def protocols() -> set[int]:
    """Of routes and next hops that the speaker wrote."""
    found = set(PROTOCOLS)
    for config in configs(Path("/")):
        for part in ("kernel", "anycast"):
            table = config.get(part)
            number = table.get("protocol") if isinstance(table, dict) else None
            if isinstance(number, int) and 4 < number < 256:
                found.add(number)
    return found


def _run(*command: str) -> None:
    # What isn't there is refused; so is what a kernel without such objects is asked.
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)


def main() -> None:
    """By its arguments."""
    if sys.argv[1] == "users":
        found = users(Path(sys.argv[2]))
        print(found, end="\n" if found else "")
    else:
        for line in clear():
            print(line)


if __name__ == "__main__":
    main()
