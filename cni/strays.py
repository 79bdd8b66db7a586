"""What our nftables sets hold for attachments, as the kernel tells it: whose it is, and what is nobody's."""

from __future__ import annotations

from cni.elements import FAMILIES, IFNAMSIZ, ElementSocket
from cni.errors import CniError
from cni.jsonio import parse
from cni.network import load
from cni.nft import table_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.elements import Element
    from cni.network import Network, Range
    from cni.statefile import StateFile

# The sets whose elements belong to an attachment; the others are a network's.
BY_ADDRESS = ("hostports4", "hostports6", "hostports4_ip", "hostports6_ip", "published4", "published6")
BY_LINK = ("guarded", "macspoof")
_PORT = 4
_PROTOCOL_AND_PORT = 8


def pod_address(element: Element) -> bytes:
    """The pod's address that a port mapping leads to."""
    if element.set_name.startswith("published"):
        return element.key[_PROTOCOL_AND_PORT:-_PORT]
    return element.data[:-_PORT]


def link_name(element: Element) -> str:
    """The node's end of the veth pair that an element of the bridge's table is about."""
    return element.key[:IFNAMSIZ].rstrip(b"\0").decode("ascii", "replace")


def standing_elements() -> list[Element]:
    """All that attachments have in our sets; none where our tables aren't there."""
    try:
        families = {family for family in set(FAMILIES.values()) if table_handle(family)}
        if not families:
            return []
        netfilter = ElementSocket()
    except OSError:
        return []  # a kernel without nftables
    names = [name for name in BY_ADDRESS + BY_LINK if FAMILIES[name] in families]
    found = [element for name in names for element in netfilter.dump(name)]
    netfilter.close()
    return found


def stray_elements(store: StateFile, network: str, links: set[str]) -> list[Element]:
    """Those that no attachment has, as far as they are this network's or lead to no link.

    `links`: the names of all links. Inside a transaction, so that no ADD is between its two steps.
    """
    recorded = set(store.execute("SELECT set_name, key FROM element").fetchall())
    strays = [one for one in standing_elements() if (one.set_name, one.key) not in recorded]
    if not strays:
        return []
    # An element says nothing of its network; another state directory may have networks of its own.
    ranges = [each for one in remembered_networks(store, network) for each in one.ranges()]
    return [
        one
        for one in strays
        if (
            link_name(one) not in links
            if one.set_name in BY_LINK
            else any(_holds(each, pod_address(one)) for each in ranges)
        )
    ]


def remembered_networks(store: StateFile, network: str) -> list[Network]:
    """The network as it is configured, and as it was earlier."""
    found = []
    for (compiled,) in store.execute("SELECT compiled FROM network WHERE name = ?", (network,)).fetchall():
        try:
            found.append(load(parse(compiled)))
        except (CniError, TypeError, ValueError, AttributeError, KeyError):
            continue
    return found


def _holds(one: Range, ip: bytes) -> bool:
    size = 4 if one.family == 4 else 16
    return len(ip) == size and one.first <= int.from_bytes(ip, "big") <= one.last
