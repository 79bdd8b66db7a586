"""Small questions to the network and to other programs, each within a bound. Nothing is changed by them."""

from __future__ import annotations

import errno
import json
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from speaker.doctor.values import KUBE_PROXY_CHAIN, Chain, Dial, Fit, Groups

if TYPE_CHECKING:
    from collections.abc import Sequence

BGP_PORT = 179
GOBGP_PORT = 50051
# Nobody listens there (the port that traceroute begins with): whoever is asked says so.
NOBODY = 33434
# Seconds: for another program, for a peer.
PATIENCE = 20.0
ANSWER = 0.7
# Headers of IP and UDP; what a small packet carries.
HEADERS = {4: 28, 6: 48}
SMALL = 16
# linux/in.h, linux/in6.h: never fragment, whatever is known of the path.
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
AT_ONCE = 16


def run(*command: str) -> str:
    """What a program prints; empty where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def groups() -> Groups:
    """By trying, in a network namespace that is gone afterwards."""
    try:
        return Groups(run("unshare", "--net", sys.executable, "-I", "-m", "speaker.doctor.groups").strip())
    except ValueError:
        return Groups.UNTRIED


def gobgpd_version() -> str:
    """Which gobgpd is in PATH: 3.10.0; empty for none."""
    found = re.search(r"\d+(\.\d+)+", run("gobgpd", "--version"))
    return found[0] if found else ""


def chains() -> list[Chain] | str:
    """The base chains of the packet filter, and kube-proxy's; not their rules, of which there may be many thousands."""
    text = run("nft", "-j", "list", "chains")
    if not text:
        return "nft is not there, or does not answer"
    try:
        found = [one["chain"] for one in json.loads(text)["nftables"] if "chain" in one]
    except (KeyError, TypeError, ValueError):
        return "nft says what is not understood"
    return [
        Chain(one["family"], one["table"], one["name"], one.get("hook", ""), one.get("policy", "accept"))
        for one in found
        if "hook" in one or one["name"] == KUBE_PROXY_CHAIN
    ]


def neighbour(address: str, dev: str) -> str:
    """The state of an address in the kernel's table of neighbours; empty for none."""
    try:
        found: list[dict[str, Any]] = json.loads(
            run("ip", "-j", "neigh", "show", "to", address, "dev", dev) or "[]"
        )
    except ValueError:
        return ""
    return str(next(iter(found[0].get("state", [])), "")) if found else ""


def open_api() -> bool:
    """Whether something takes connections to GoBGP's usual port from everywhere."""
    for name, everywhere in (("tcp", "00000000"), ("tcp6", "0" * 32)):
        try:
            with open(f"/proc/net/{name}", encoding="ascii") as file:
                lines = [line.split() for line in file]
        except OSError:
            continue
        if any(line[1] == f"{everywhere}:{GOBGP_PORT:04X}" and line[3] == "0A" for line in lines[1:]):
            return True
    return False


def dial_all(addresses: Sequence[str]) -> dict[str, Dial]:
    """What answers on each address's BGP port."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(addresses, pool.map(_dial, addresses), strict=True))


def _dial(address: str) -> Dial:
    host, _, zone = address.partition("%")
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            address if zone else host, BGP_PORT, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        with socket.socket(family, kind) as connection:
            connection.settimeout(ANSWER)
            connection.connect(where)
    except ConnectionRefusedError:
        return Dial.REFUSED
    except TimeoutError:
        return Dial.SILENT
    except OSError:
        return Dial.NO_WAY
    return Dial.ANSWERED


def fit_all(addresses: Sequence[str], size: int) -> dict[str, Fit]:
    """Whether packets of that size get to each address unbroken."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(addresses, pool.map(lambda one: _fits(one, size), addresses), strict=True))


def _fits(address: str, size: int) -> Fit:
    """By two datagrams to a port that nobody has: a small one, whose refusal must come, and a large one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    version = 6 if family == socket.AF_INET6 else 4
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            if version == 4:
                asking.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
            else:
                asking.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
            asking.settimeout(ANSWER)
            asking.connect((address, NOBODY))
            if not _refused(asking, SMALL):
                return Fit.UNTRIED  # who is silent to all may be so on purpose
            return Fit.PASSED if _refused(asking, size - HEADERS[version]) else Fit.LOST
    except OSError as error:
        return Fit.TOO_BIG if error.errno == errno.EMSGSIZE else Fit.UNTRIED


def _refused(asking: socket.socket, size: int) -> bool:
    asking.send(bytes(size))
    try:
        asking.recv(1)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    return True
