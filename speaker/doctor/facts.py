"""Looks at this node; changes nothing."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cni import refusals, sysctl
from cni.statefile import FILE
from speaker.ask import SilentError, ask
from speaker.commands import stale
from speaker.commands.direct import api_of, configuration
from speaker.commands.direct import look as look_at_gobgpd
from speaker.commands.kernel import LEARNED, Kernel
from speaker.commands.peers import row_of, rows_of
from speaker.commands.record import is_there, read_or_why
from speaker.doctor import probes
from speaker.doctor.conflists import conflists
from speaker.doctor.network import pod_mtu
from speaker.doctor.values import Dial, Facts, Fit, PeerFacts, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speaker.commands.direct import Gobgpd
    from speaker.commands.stale import Stale

KEYS = (
    "ipv4/fib_multipath_hash_policy",
    "ipv6/fib_multipath_hash_policy",
    "ipv4/fib_multipath_hash_fields",
    "ipv6/fib_multipath_hash_fields",
    "ipv4/ip_forward",
    "ipv6/conf/all/forwarding",
    "ipv4/neigh/default/gc_thresh3",
    "ipv6/neigh/default/gc_thresh3",
    "bridge/bridge-nf-call-iptables",
    "bridge/bridge-nf-call-ip6tables",
)
# The peers that are dialled and whose paths are tried; one cause of many is found by a few.
TRIED = 32


def look(state_dir: str, config: str = "", conflist_dir: str = "") -> Facts:
    """Everything that a finding is made of."""
    settings = configuration(config) if config else "no configuration is named"
    speaker, gobgpd = speaker_or_gobgpd(state_dir, lambda: api_of(settings))
    kernel = Kernel()
    try:
        state = read_or_why(state_dir)
        facts = Facts(
            groups=probes.groups(),
            sysctls=_sysctls(),
            speaker=speaker,
            gobgpd=gobgpd,
            gobgpd_version=probes.gobgpd_version(),
            config=settings if isinstance(settings, str) and isinstance(speaker, str) and config else "",
            links=kernel.links,
            addresses=_addresses(kernel),
            uplinks=uplinks(kernel, speaker, gobgpd),
            state=state,
            has_state=is_there(state_dir),
            refusals=refusals.read(state_dir),
            now=time.clock_gettime(time.CLOCK_BOOTTIME),
            conflists=conflists(conflist_dir) if conflist_dir else (),
            state_dir=state_dir,
            chains=probes.chains(),
            open_api=probes.open_api(),
            places=_places(state_dir, config),
            stale=_stale(state_dir),
            set_aside=_set_aside(state_dir),
            routes_of_ours=sum(1 for _ in kernel.found()),
        )
        size = pod_mtu(facts, state) if not isinstance(state, str) else None
        return replace(facts, peers=peer_facts(kernel, peer_rows(speaker, gobgpd), size[1] if size else 0))
    finally:
        kernel.close()


# ---- speaker, gobgpd and peers


def speaker_or_gobgpd(state_dir: str, api: Any) -> tuple[dict[str, Any] | str, Gobgpd | None]:
    """The speaker's document; where it is silent why, and what gobgpd says itself."""
    try:
        return ask(state_dir), None
    except SilentError as error:
        return str(error), look_at_gobgpd(api())


def peer_rows(speaker: dict[str, Any] | str, gobgpd: Gobgpd | None) -> list[dict[str, Any]]:
    """The peers as whoever answers has them."""
    if not isinstance(speaker, str):
        return rows_of(speaker)
    return [row_of(status) for status in gobgpd.peers] if gobgpd else []


def peer_facts(kernel: Kernel, rows: Sequence[dict[str, Any]], size: int) -> list[PeerFacts]:
    """Each peer with the way to it; those that are down are dialled, to the others a packet of that size is sent."""
    addresses = {str(row["address"] or row["peer"]) for row in rows}
    ways = {one: kernel.way_to(one) for one in addresses}
    down = [str(row["address"]) for row in rows if row["state"] != "established" and row["address"]][:TRIED]
    up = [
        str(row["address"])
        for row in rows
        if row["state"] == "established" and "%" not in str(row["address"])
    ]
    dialled = probes.dial_all(down)
    fits = probes.fit_all(up[:TRIED], size) if size else {}
    found = []
    for row in rows:
        address = str(row["address"] or row["peer"])
        way = ways[address]
        link = kernel.link(way.get("dev", ""))
        on_link = bool(way.get("dev")) and not way.get("via")
        found.append(
            PeerFacts(
                row,
                way,
                link is None or link.carrier,
                probes.neighbour(address.partition("%")[0], way["dev"])
                if on_link and address in down
                else "",
                dialled.get(address, Dial.UNTRIED),
                fits.get(address, Fit.UNTRIED),
            )
        )
    return found


def uplinks(kernel: Kernel, speaker: dict[str, Any] | str, gobgpd: Gobgpd | None) -> frozenset[str]:
    """The links that peers and the next hops of learned routes are on."""
    hops = {hop.oif for route in kernel.found((LEARNED,)) for hop in route.nexthops if hop.gateway}
    names = {kernel.name_of(index) for index in hops}
    for row in peer_rows(speaker, gobgpd):
        names.add(kernel.way_to(str(row["address"] or row["peer"])).get("dev", ""))
    return frozenset(names - {"", "lo"})


# ---- the node


def _sysctls() -> dict[str, str | None]:
    found = {key: sysctl.read(key) for key in KEYS}
    try:
        names = os.listdir(f"{sysctl.ROOT}/ipv4/conf")
    except OSError:
        names = []
    return found | {key: sysctl.read(key) for key in (f"ipv4/conf/{name}/rp_filter" for name in names)}


def _addresses(kernel: Kernel) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for link, address, prefixlen in kernel.addresses():
        found.setdefault(link, set()).add(f"{address}/{prefixlen}")
    return {link: frozenset(held) for link, held in found.items()}


def _places(state_dir: str, config: str) -> list[Place]:
    paths = [state_dir, f"{state_dir}/{FILE}", f"{state_dir}/speaker", "/run/anypod/gobgpd/api.sock", config]
    found = []
    for path in filter(None, paths):
        try:
            seen = os.stat(path)
        except OSError:
            continue
        # What others may do with a socket its directory says, too.
        mode = stat.S_IMODE(seen.st_mode)
        parent = stat.S_IMODE(os.stat(os.path.dirname(path) or "/").st_mode)
        if stat.S_ISSOCK(seen.st_mode) and not parent & 0o001:
            mode &= ~0o002
        found.append(Place(path, mode, seen.st_uid))
    return found


def _stale(state_dir: str) -> Stale | str:
    from cni.reader import StateError

    try:
        return stale.look(state_dir)
    except (StateError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)


def _set_aside(state_dir: str) -> list[str]:
    try:
        names = os.listdir(state_dir)
    except OSError:
        return []
    return sorted(name for name in names if ".damaged-" in name and not name.endswith(("-wal", "-shm")))
