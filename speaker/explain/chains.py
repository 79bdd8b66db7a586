"""Which chain a target has: of a virtual IP, a pod, a pod's address, a prefix of this node, or one of others. Pure."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from speaker.commands.kernel import host
from speaker.explain import vips
from speaker.explain.pods import attached, free_address, refused, state_file, unknown_pod
from speaker.explain.routing import announced, in_kernel, learned, silent_speaker
from speaker.explain.values import OK, Step
from speaker.prefixes import is_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cni.allocation import Allocation
    from speaker.bgp import Address, Prefix
    from speaker.explain.values import Seen, Target


def explain(seen: Seen, target: Target) -> list[Step]:
    """The whole chain, in order."""
    if target.prefix is not None:
        return list(_of(target.name, _prefix(seen, target.prefix)))
    return list(_pod(seen, target))


def prefixes_of(one: Allocation) -> list[Prefix]:
    """The addresses that an attachment has, and the virtual IPs that it was granted."""
    addresses = [ip_interface(text).ip for text in (*one.addresses, *sorted(vips.granted(one)))]
    return [host(address) for address in dict.fromkeys(addresses)]


def _of(name: str, steps: Iterable[Step]) -> Iterator[Step]:
    return (replace(one, of=name) for one in steps)


def _pod(seen: Seen, target: Target) -> Iterator[Step]:
    if not target.allocations and not target.refusals:
        yield from unknown_pod(seen, target.name)
        return
    for one in target.allocations:
        yield from _of(one.ifname, attached(seen, one))
    if not target.allocations:
        yield refused(seen, target.refusals[-1])
        return
    yield from silent_speaker(seen)
    for one in target.allocations:
        for prefix in prefixes_of(one):
            vip = str(prefix.network_address) in vips.granted(one)
            yield from _of(str(prefix), vips.chain(seen, prefix) if vip else _reached(seen, prefix))


def _reached(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    if not prefix.is_link_local:
        yield from announced(seen, prefix)
    yield from in_kernel(seen, prefix)


def _prefix(seen: Seen, prefix: Prefix) -> Iterator[Step]:
    address = prefix.network_address
    if not is_host(prefix):
        yield from silent_speaker(seen)
        about = seen.about.get(str(prefix))
        ours = about and any(one["prefix"] == str(prefix) for one in about["announced"])
        yield from announced(seen, prefix) if ours else learned(seen, prefix)
        return
    if str(address) in seen.own:
        yield Step("kernel", OK, f"{address} is an address of this node itself")
        return
    yield from _address(seen, prefix, address)


def _address(seen: Seen, prefix: Prefix, address: Address) -> Iterator[Step]:
    yield from state_file(seen)
    if vips.is_vip(seen, prefix):
        yield from silent_speaker(seen)
        yield from vips.chain(seen, prefix)
        return
    holder = _holder(seen, address)
    if holder is not None:
        yield from attached(seen, holder)
        yield from silent_speaker(seen)
        yield from _reached(seen, prefix)
        return
    free = list(free_address(seen, address.packed, str(address)))
    if free:
        yield from free
        return
    yield from silent_speaker(seen)
    yield from learned(seen, prefix)


def _holder(seen: Seen, address: Address) -> Allocation | None:
    if isinstance(seen.state, str):
        return None
    return next(
        (
            one
            for one in seen.state.allocations
            if any(ip_interface(text).ip == address for text in one.addresses)
        ),
        None,
    )
