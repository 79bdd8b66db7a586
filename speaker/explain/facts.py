"""Looks at all that the chain of a target is made of; changes nothing."""

from __future__ import annotations

import os
import time
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from cni import refusals
from speaker.ask import SilentError, ask_about
from speaker.commands.allocations import fits
from speaker.commands.direct import api_of, configuration
from speaker.commands.direct import look as look_at_gobgpd
from speaker.commands.kernel import Kernel
from speaker.commands.record import is_there, read_or_why
from speaker.doctor.facts import peer_facts, peer_rows, speaker_or_gobgpd
from speaker.explain.chains import prefixes_of
from speaker.explain.values import Seen, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from speaker.bgp import Prefix
    from speaker.commands.record import State

# Of a pod with more addresses, those first.
MOST = 64


def find(name: str, state_dir: str) -> Target:
    """What a person means: an address, a prefix, or a pod."""
    try:
        return Target(name, ip_network(name, strict=False))
    except ValueError:
        pass
    state = read_or_why(state_dir)
    found = [] if isinstance(state, str) else [one for one in state.allocations if fits(one, name)]
    refused = [one for one in refusals.read(state_dir) if _is_meant(one, name)]
    return Target(name, None, found, refused)


def _is_meant(refusal: dict[str, Any], name: str) -> bool:
    pod = refusal["pod"]
    return bool(name) and (name in {pod, pod.partition("/")[2]} or refusal["container"].startswith(name))


def look(target: Target, state_dir: str, config: str) -> Seen:
    """Everything that the chain of the target is made of."""
    prefixes = (
        [target.prefix]
        if target.prefix
        else [p for one in target.allocations for p in prefixes_of(one)][:MOST]
    )
    speaker, gobgpd = speaker_or_gobgpd(state_dir, lambda: api_of(configuration(config)))
    if gobgpd is not None and not gobgpd.trouble:
        gobgpd = look_at_gobgpd(api_of(configuration(config)), _around(prefixes))
    about = {} if isinstance(speaker, str) else _about(state_dir, prefixes)
    state = read_or_why(state_dir)
    kernel = Kernel()
    try:
        return Seen(
            state=state,
            has_state=is_there(state_dir),
            refusals=refusals.read(state_dir),
            now=time.clock_gettime(time.CLOCK_BOOTTIME),
            links=kernel.links,
            own=frozenset(str(address) for _, address, _ in kernel.addresses()),
            speaker=speaker,
            gobgpd=gobgpd,
            peers=peer_facts(kernel, peer_rows(speaker, gobgpd), 0),
            about=about,
            ways={str(one.network_address): kernel.way(ip_address(one.network_address)) for one in prefixes},
            routes=kernel.routes(prefixes),
            ended=_ended(state),
            state_dir=state_dir,
        )
    finally:
        kernel.close()


def _about(state_dir: str, prefixes: Sequence[Prefix]) -> dict[str, Any]:
    found = {}
    for one in prefixes:
        try:
            found[str(one)] = ask_about(state_dir, str(one))
        except SilentError:
            break
    return found


def _around(prefixes: Sequence[Prefix]) -> list[Prefix]:
    """Each prefix and all that it is a part of."""
    return [one.supernet(new_prefix=length) for one in prefixes for length in range(one.prefixlen + 1)]


def _ended(state: State | str) -> frozenset[str]:
    if isinstance(state, str):
        return frozenset()
    return frozenset(one.netns for one in state.allocations if one.netns and not os.path.exists(one.netns))
