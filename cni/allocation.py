"""An attachment with the addresses that it holds, and how it is read from the state file."""

from __future__ import annotations

from cni.network import ip_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.sqlite import Connection


class Vip:
    """A virtual IP that an attachment serves; addresses as text, without a prefix length.

    `via` is the pod's own address that the node reaches it by, `nexthop` the number of the kernel's next-hop object
    for that; `weight` 1 to 100; `health` the compiled health check as JSON, empty for none.
    """

    __slots__ = ("health", "ip", "nexthop", "pool", "via", "weight")

    def __init__(self, ip: str, via: str, nexthop: int, weight: int, health: str, pool: str) -> None:
        self.ip = ip
        self.via = via
        self.nexthop = nexthop
        self.weight = weight
        self.health = health
        self.pool = pool


class Allocation:
    """An attachment and the addresses that it holds, each with its prefix length: `10.1.0.5/24`."""

    __slots__ = (
        "addresses",
        "container",
        "detail",
        "host_ifname",
        "ifname",
        "ipam",
        "netns",
        "netns_inode",
        "network",
        "pod",
        "vips",
    )

    def __init__(
        self,
        network: str,
        container: str,
        ifname: str,
        netns: str,
        host_ifname: str,
        addresses: tuple[str, ...],
    ) -> None:
        self.network = network
        self.container = container
        self.ifname = ifname
        self.netns = netns
        self.host_ifname = host_ifname
        self.addresses = addresses
        # What only the plugin's own verbs and those who look up a pod want to know.
        self.netns_inode = 0
        self.ipam = ""
        self.pod = ""
        self.vips: tuple[Vip, ...] = ()
        self.detail: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"Allocation({self.network} {self.container}/{self.ifname} {' '.join(self.addresses)})"


def fetch(db: Connection, where: str = "", values: tuple[object, ...] = ()) -> list[Allocation]:
    """The attachments that `where` leaves, in order; SQLite's errors pass."""
    rows = db.execute(
        "SELECT a.network, a.container, a.ifname, a.netns, a.host_ifname, d.ip, d.prefixlen"  # noqa: S608
        " FROM attachment a LEFT JOIN address d ON d.container = a.container AND d.ifname = a.ifname"
        f" {where} ORDER BY a.container, a.ifname, d.family",
        values,
    ).fetchall()
    addresses: dict[tuple[str, ...], list[str]] = {}
    for *key, ip, prefixlen in rows:
        held = addresses.setdefault(tuple(key), [])
        if ip is not None:
            held.append(f"{ip_text(ip)}/{prefixlen}")
    return [
        Allocation(network, container, ifname, netns, host, tuple(held))
        for (network, container, ifname, netns, host), held in addresses.items()
    ]


def fetch_vips(db: Connection, allocations: list[Allocation]) -> None:
    """Adds what virtual IPs the attachments serve, and the pod's name of those; SQLite's errors pass."""
    found: dict[tuple[str, str], list[Vip]] = {}
    pods: dict[tuple[str, str], str] = {}
    for container, ifname, pod, ip, via, *rest in db.execute(
        "SELECT v.container, v.ifname, a.pod, v.ip, v.via, v.nexthop, v.weight, v.health, v.pool"
        " FROM vip v JOIN attachment a ON a.container = v.container AND a.ifname = v.ifname"
        " ORDER BY v.container, v.ifname, v.ip"
    ).fetchall():
        found.setdefault((container, ifname), []).append(Vip(ip_text(ip), ip_text(via), *rest))
        # A name alone, of a runtime without namespaces. For readers: what is granted goes by the record itself.
        pods[container, ifname] = str(pod).removeprefix("/")
    for one in allocations if found else ():
        owner = (one.container, one.ifname)
        if owner in found:
            one.vips = tuple(found[owner])
            one.pod = pods[owner]
