"""[anycast] and [[anycast.pool]] of a configuration as typed values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speaker.config.announce import announcement
from speaker.settings import Anycast, LoadShare, Pool

if TYPE_CHECKING:
    from speaker.bgp import Address
    from speaker.config.checks import Checks
    from speaker.settings import Announce, Kernel

_USUAL = Anycast()


def anycast(item: dict[str, Any], announce: Announce, kernel: Kernel, checks: Checks) -> Anycast:
    """All about virtual IPs. Without a metric or protocol they fit those of learned routes."""
    hops = announce.subnets.next_hops
    pools = tuple(_pool(f"anycast.pool[{i}]", one, hops, checks) for i, one in enumerate(item["pool"]))
    _check_names(pools, announce, checks)
    free = _USUAL.protocol if kernel.protocol != _USUAL.protocol else _USUAL.protocol + 1
    return Anycast(
        pools=pools,
        drain=item["drain"],
        drain_prepend=item["drain-prepend"],
        metric=item.get("metric", min(_USUAL.metric, kernel.metric - 2)),
        protocol=checks.protocol("anycast.protocol", item.get("protocol", free), free),
        buckets=item["buckets"],
        idle_timer=item["idle-timer"],
        unbalanced_timer=item["unbalanced-timer"],
    )


def _pool(key: str, item: dict[str, Any], hops: tuple[Address, ...], checks: Checks) -> Pool:
    for i, text in enumerate(item["prefixes"]):
        if text in {"0.0.0.0/0", "::/0"}:
            fix = "is the whole world, all of which pods could ask for; write the addresses meant for VIPs"
            checks.add(f"{key}.prefixes[{i}]", text, fix)
    return Pool(
        announcement=announcement(key, item, hops, checks),
        load_share=LoadShare(item["link-bandwidth"]),
        min_endpoints=item["min-endpoints"],
        withdraw_below=item["below"] == "withdraw",
        unreachable=item["when-empty"] == "unreachable",
        forwards_unknown=item["unknown"] == "forward",
        damping=item["damping"],
    )


def _check_names(pools: tuple[Pool, ...], announce: Announce, checks: Checks) -> None:
    names = [pool.announcement.name for pool in pools]
    checks.once("anycast.pool[{}].name", names)
    taken = {one.name for one in announce.others}
    for i, name in enumerate(names):
        if name in taken:
            checks.add(f"anycast.pool[{i}].name", name, "is that of an [[announcement]]; write another name")
