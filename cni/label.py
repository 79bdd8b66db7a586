"""What the alias of a pod's link says of its virtual IPs, for a state file that has to be made anew. Pure.

The alias is the node's: nobody in the pod can change it. It has room for a handful of addresses; a pod with more has to
be made anew behind the loss of the state file.
"""

from __future__ import annotations

from cni.allocation import Vip
from cni.errors import CniError
from cni.healthcheck import load
from cni.jsonio import dump, parse
from cni.network import packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# IFALIASZ of linux/if.h, without the end.
MAX_BYTES = 255


def label(owner: str, vips: Sequence[Vip]) -> str:
    """The alias of an owner's link, with all that is known of its virtual IPs; without, where that is too long.

    One attachment's virtual IPs have weight and check in common, and next hop and number for each family.
    """
    pools: dict[str, list[str]] = {}
    for vip in vips:
        pools.setdefault(vip.pool, []).append(vip.ip)
    ways = {vip.via: vip.nexthop for vip in vips}
    first = vips[0]
    text = f"{owner} {dump([first.weight, parse(first.health) if first.health else None, ways, pools])}"
    return text if len(text.encode()) <= MAX_BYTES else owner


def read(text: str) -> list[Vip]:
    """The virtual IPs that `label` wrote behind the owner; none where that is not what it wrote."""
    try:
        return _parsed(parse(text)) if text else []
    except (CniError, ValueError, TypeError, AttributeError, KeyError):
        return []


def _parsed(found: Any) -> list[Vip]:
    weight, check, ways, pools = found
    if not 1 <= weight <= 100:
        raise ValueError(weight)
    if check is not None:
        load(check)
    by_length = {len(packed(via)): (via, int(number)) for via, number in ways.items()}
    vips = []
    for pool, ips in pools.items():
        for ip in ips:
            via, number = by_length.get(len(packed(ip))) or by_length[16]
            vips.append(Vip(ip, via, number, int(weight), dump(check) if check is not None else "", pool))
    return vips
