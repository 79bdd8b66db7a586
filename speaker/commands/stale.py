"""What is left of pods that are gone: attachments, links on the node, elements of our nftables sets.

The runtime's own GC knows which pods there are; an operator's knows only what can be proved. So what a running pod
might use stays, and is named.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cni.attach import Kernel
from cni.network import load
from cni.owned import all_links, all_names, owned_links, twin
from cni.reclaim import RECORDS, gone
from cni.strays import BY_LINK, link_name, pod_address, standing_elements

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cni.elements import Element
    from cni.network import Network, Range
    from cni.owned import OwnedLink
    from cni.reclaim import Record
    from cni.sqlite import Connection

    Owner = tuple[str, str]

# The form of the state file that has all that is asked for.
NEEDED = 2


@dataclass(slots=True)
class Held:
    """What the state file says."""

    records: list[Record] = field(default_factory=list)
    deleted: set[Owner] = field(default_factory=set)
    networks: list[Network] = field(default_factory=list)
    elements: set[tuple[str, bytes]] = field(default_factory=set)
    addresses: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Stale:
    """What can go; `kept` are links that look left over and may be a running pod's.

    `anew`: the attachments of a state file that was lost and is made anew.
    """

    attachments: list[Record] = field(default_factory=list)
    links: list[OwnedLink] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    kept: list[OwnedLink] = field(default_factory=list)
    anew: int = 0

    def __len__(self) -> int:
        return len(self.attachments) + len(self.links) + len(self.elements)


def read(db: Connection, version: int) -> Held:
    """For `StateReader.look`, or of an open state file."""
    if version < NEEDED:
        return Held()
    networks = [load_network(text) for (text,) in db.execute("SELECT compiled FROM network").fetchall()]
    return Held(
        records=db.execute(RECORDS).fetchall(),
        deleted=set(db.execute("SELECT container, ifname FROM tombstone").fetchall()),
        networks=networks,
        elements=set(db.execute("SELECT set_name, key FROM element").fetchall()),
        addresses={
            ip for (ip,) in db.execute("SELECT ip FROM address WHERE container IS NOT NULL").fetchall()
        },
    )


def load_network(text: str) -> Network:
    """A network as the state file remembers it."""
    from cni.jsonio import parse

    return load(parse(text))


def look(state_dir: str) -> Stale:
    """What can go. Changes nothing; StateError or OSError where it can't be looked at."""
    from cni.reader import StateReader

    held = StateReader(state_dir).look(read)
    if held is None:
        return Stale()
    kernel = Kernel()
    try:
        links = all_links(kernel)
    finally:
        kernel.socket.close()
    return judge(held, links, gone(held.records, links), standing_elements())


def remove(state_dir: str) -> Stale:
    """Takes it away, and tells what. CniError or OSError where that is not possible."""
    from cni.delete import remove_elements
    from cni.owned import delete_links
    from cni.reclaim import reclaim
    from cni.statefile import FILE, SCHEMA_VERSION
    from cni.store import Store

    kernel = Kernel()
    lost = not os.path.exists(f"{state_dir}/{FILE}")
    if lost and not owned_links(all_links(kernel)):
        return Stale()  # nothing is made where nothing was
    store = Store(state_dir)
    try:
        before = read(store.db, SCHEMA_VERSION)
        left = gone(before.records, all_links(kernel))
        reclaim(store, kernel)
        # While this is held no ADD can record anything, and what an ADD makes it records first.
        store.begin()
        held = read(store.db, SCHEMA_VERSION)
        stays = {record[:2] for record in held.records if record[5]}
        found = judge(held, all_links(kernel), [], standing_elements())
        if found.elements:
            remove_elements(found.elements)
        store.commit()
        delete_links(kernel, found.links)
    finally:
        store.close()
        kernel.socket.close()
    found.attachments = [record for record in left if record[:2] not in stays]
    found.anew = len(before.records) if lost else 0
    return found


# ---- what can be proved. Pure.


def judge(held: Held, links: Collection[OwnedLink], left: list[Record], elements: Iterable[Element]) -> Stale:
    """What of the links and elements belongs to nobody; `left` are the attachments that are gone."""
    owners = {(record[0], record[1]) for record in held.records if record[5]}
    bridges = {network.bridge for network in held.networks}
    names = {network.name for network in held.networks} | {record[2] for record in held.records}
    masters = {link.index for link in links if link.kind == "bridge" and link.name in bridges}
    there = {link.name for link in links}
    known = all_names(owners)
    found = Stale(attachments=left)
    for link in owned_links(links):
        if link.name in known:
            continue
        if is_left(link, held.deleted, names, masters, there):
            found.links.append(link)
        elif link.network() in names:
            found.kept.append(link)
    going = {link.name for link in found.links}
    ranges = [one for network in held.networks for one in network.ranges()]
    found.elements = [
        one
        for one in elements
        if (one.set_name, one.key) not in held.elements
        and (
            link_name(one) not in there - going
            if one.set_name in BY_LINK
            # A pod whose link is kept may have any address.
            else not found.kept
            and pod_address(one) not in held.addresses
            and _is_ours(pod_address(one), ranges)
        )
    ]
    return found


def is_left(
    link: OwnedLink,
    deleted: Collection[Owner],
    networks: Collection[str],
    masters: Collection[int],
    there: set[str],
) -> bool:
    """Whether a link without a record is nobody's for sure: its DEL came, or its ADD never got to an address."""
    if link.kind == "ifb":  # it limits what leaves a pod whose own link is gone
        return twin(link.name) not in there and (not link.network() or link.network() in networks)
    if not link.network():
        return link.master in masters
    return link.network() in networks and link.owner() in deleted


def _is_ours(ip: bytes, ranges: Iterable[Range]) -> bool:
    number = int.from_bytes(ip, "big")
    return any(
        len(ip) == (4 if one.family == 4 else 16) and one.first <= number <= one.last for one in ranges
    )
