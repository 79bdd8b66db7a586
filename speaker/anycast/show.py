"""VIPs and drains in values that JSON has, for the status socket; docs/speaker.md names the fields."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from speaker.anycast import drainfile
from speaker.anycast.drain import Drains, Scope
from speaker.anycast.judge import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from speaker.anycast.anycast import Anycast
    from speaker.anycast.drain import Drain
    from speaker.anycast.endpoints import Endpoint
    from speaker.anycast.judge import Verdict
    from speaker.bgp import Address, Destination, Prefix

# Of longer lists the first are shown, and how many there are.
LISTED = 100


def vips(
    anycast: Anycast,
    table: Mapping[Prefix, Destination],
    wanted: Iterable[Address] | None = None,
    most: int | None = None,
) -> list[dict[str, object]]:
    """VIPs with their endpoints, the first ones or those that are wanted, `most` endpoints of each.

    `announced` is what gobgpd holds.
    """
    chosen = islice(anycast.verdicts, LISTED) if wanted is None else wanted
    most = LISTED if wanted is None else most
    drains = Drains(anycast.drains, drainfile.now(), anycast.drain_seconds)
    return [
        {
            "vip": str(verdict.vip),
            "pool": verdict.pool.announcement.name if verdict.pool else "",
            "state": verdict.standing.value,
            "reason": verdict.reason,
            "announced": _is_announced(verdict, table),
            "serving": len(verdict.serving),
            "endpoints": [_endpoint(one, anycast, drains) for one in islice(verdict.endpoints, most)],
        }
        for verdict in (anycast.verdicts[vip] for vip in chosen)
    ]


def _is_announced(verdict: Verdict, table: Mapping[Prefix, Destination]) -> bool:
    entry = table.get(verdict.route.prefix)
    return entry is not None and entry.ours is not None


def _endpoint(one: Endpoint, anycast: Anycast, drains: Drains) -> dict[str, object]:
    detail = anycast.detail(one)
    return {
        "pod": one.name,
        "container": one.container,
        "address": str(one.via),
        "weight": one.weight,
        "check": str(one.check) if one.check else "",
        "health": anycast.health(one).value,
        "since": round(detail.since, 3) if detail else None,
        "error": detail.error if detail else "",
        "drain": drains.of_endpoint(one).value,
        "unreachable": anycast.refusals.next_hops.get(one.nexthop, ""),
    }


def drains(anycast: Anycast, table: Mapping[Prefix, Destination], in_step: bool) -> list[dict[str, object]]:
    """Each drain, and whether nothing is left to be done for it; `in_step`: gobgpd has what is wanted."""
    now, seconds = drainfile.now(), anycast.drain_seconds
    return [
        {
            "scope": one.scope.value,
            "of": one.of,
            "name": one.name,
            "phase": one.phase(now, seconds).value,
            "seconds_left": round(max(0.0, one.since + seconds - now), 1),
            "done": in_step and all(_is_over(one, verdict, table) for verdict in _meant(one, anycast)),
        }
        for one in anycast.drains
    ]


def _meant(drain: Drain, anycast: Anycast) -> Iterator[Verdict]:
    for verdict in anycast.verdicts.values():
        if drain.scope is Scope.POD:
            if any(one.container == drain.of for one in verdict.endpoints):
                yield verdict
        elif drain.scope is Scope.NODE or str(verdict.vip) == drain.of:
            yield verdict


def _is_over(drain: Drain, verdict: Verdict, table: Mapping[Prefix, Destination]) -> bool:
    withdrawn = verdict.standing is Standing.WITHDRAWN
    if drain.scope is Scope.POD:
        routed = {member.nexthop for member in verdict.route.members}
        if any(one.container == drain.of and one.nexthop in routed for one in verdict.endpoints):
            return False
    elif not withdrawn:
        return False
    return not (withdrawn and _is_announced(verdict, table))
