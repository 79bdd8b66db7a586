"""Who holds what, as the plugin writes it: attachments, their addresses and nftables elements, networks seen."""

from __future__ import annotations

from cni.allocation import Vip, fetch
from cni.errors import (
    ADDRESS_CONFLICT,
    ALREADY_ATTACHED,
    HOST_PORT_TAKEN,
    INVALID_CONFIG,
    UNKNOWN_CONTAINER,
    CniError,
)
from cni.jsonio import dump, parse
from cni.network import ip_text, packed
from cni.statefile import StateFile, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cni.allocation import Allocation
    from cni.elements import Element
    from cni.network import PodAddress

    Remove = Callable[[Sequence["Element"]], object]
    # A virtual IP that an attachment had, and its next-hop id; 0 for one that was granted and never recorded.
    Served = tuple[bytes, int]
    Leave = Callable[[Sequence[Served]], object]

STATE_DIR = "/run/anypod"
TOMBSTONE_SECONDS = 600


def state_dir(conf: dict[str, object]) -> str:
    """Where the state file is; CniError 7 for what is no absolute path."""
    found = conf.get("stateDir") or STATE_DIR
    text = found if isinstance(found, str) else ""
    plain = all(letter > " " and not 0xD800 <= ord(letter) < 0xE000 for letter in text)
    if not text.startswith("/") or not plain or "/../" in f"{text}/":
        raise CniError(
            INVALID_CONFIG, f"stateDir: {str(found)[:80]!r} is no absolute path; write it like {STATE_DIR}"
        )
    return text.rstrip("/") or "/"


def _stay(_served: Sequence[Served]) -> None:
    """For a pod whose namespace is left as it is."""


class Store(StateFile):
    """The plugin's side of the state file. CniError 5 or 11 where that fails."""

    def __init__(self, directory: str) -> None:
        # Whether `attach` got through: from then on there may be something to take back.
        self.recorded = False
        super().__init__(directory)

    def rollback(self) -> None:
        """Forgets what an open transaction wrote, an attachment too; without one, nothing happens."""
        if self.db.in_transaction:
            self.recorded = False
        super().rollback()

    # ---- networks

    def network(self, digest: bytes) -> tuple[str, int, int] | None:
        """What is remembered of a valid netconf: compiled form, index of the bridge, handle of the table."""
        found: tuple[str, int, int] | None = self.execute(
            "SELECT compiled, bridge_index, table_handle FROM network WHERE digest = ?", (digest,)
        ).fetchone()
        return found

    def remember_network(
        self, digest: bytes, name: str, compiled: str, bridge_index: int, table_handle: int
    ) -> None:
        """Spares the next call the schema and the node's set-up, while bridge and table are the same."""
        row = (digest, name, compiled, bridge_index, table_handle)
        self.execute("INSERT OR REPLACE INTO network VALUES (?, ?, ?, ?, ?)", row)

    def subnets(self, table_handle: int) -> set[str]:
        """Subnets that other plugins gave addresses of, and that the table of that handle masquerades."""
        text = self._scalar("SELECT value FROM meta WHERE key = ?", (f"masquerade {table_handle}",))
        return set(text.split()) if text else set()

    def remember_subnets(self, subnets: set[str], table_handle: int) -> None:
        """Adds to what `subnets` tells; the caller holds the node's lock."""
        text = " ".join(sorted(subnets | self.subnets(table_handle)))
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"masquerade {table_handle}", text))

    # ---- attachments

    def attach(self, allocation: Allocation, started: int) -> None:
        """Records a new attachment. CniError 3 where a DEL came since `started`, 101 where it stands already."""
        owner = (allocation.container, allocation.ifname)
        # One statement for both: each that is prepared costs as much as it does.
        query = (
            "SELECT network, 0 FROM attachment WHERE container = ? AND ifname = ?"
            " UNION ALL SELECT NULL, at FROM tombstone WHERE container = ? AND ifname = ?"
        )
        for standing, deleted in self.execute(query, owner * 2).fetchall():
            if standing is not None:
                raise CniError(
                    ALREADY_ATTACHED,
                    f"container {owner[0]} has {owner[1]} in network {standing!r} already, and duplicate allocation"
                    " is not allowed; run DEL first",
                )
            if deleted > started:
                raise CniError(
                    UNKNOWN_CONTAINER, f"container {owner[0]} was deleted (DEL {owner[1]}) during this ADD"
                )
        self.execute(
            "INSERT INTO attachment (container, ifname, network, netns, host_ifname, created, netns_inode, ipam,"
            " pod, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *owner,
                allocation.network,
                allocation.netns,
                allocation.host_ifname,
                started,
                allocation.netns_inode,
                allocation.ipam,
                allocation.pod,
                dump(allocation.detail) if allocation.detail else "",
            ),
        )
        self.recorded = True

    def stands(self, container: str, ifname: str, started: int) -> bool:
        """Whether the record of the ADD that began at `started` is there: no DEL took it away since."""
        self.check_in_place()
        return self._recorded(container, ifname, started)

    def _recorded(self, container: str, ifname: str, started: int) -> bool:
        query = "SELECT 1 FROM attachment WHERE container = ? AND ifname = ? AND created = ?"
        return bool(self._scalar(query, (container, ifname, started)))

    def allocation(self, container: str, ifname: str) -> Allocation | None:
        """The attachment with its addresses."""
        found = fetch(self.db, "WHERE a.container = ? AND a.ifname = ?", (container, ifname))
        if not found:
            return None
        query = "SELECT netns_inode, ipam, pod FROM attachment WHERE container = ? AND ifname = ?"
        rest = self.execute(query, (container, ifname)).fetchone()
        found[0].netns_inode, found[0].ipam, found[0].pod = rest or (0, "", "")
        return found[0]

    def ipam(self, container: str, ifname: str) -> str:
        """The plugin that gave the attachment's addresses; empty for the built-in allocator, and for none."""
        query = "SELECT ipam FROM attachment WHERE container = ? AND ifname = ?"
        return self._scalar(query, (container, ifname)) or ""

    # ---- what an attachment holds

    def hold(self, network: str, address: PodAddress, pool: str, owner: tuple[str, str]) -> None:
        """Gives an address that was asked for; CniError 102 where another has it. Pool "" is a delegate's."""
        family = 4 if len(address.ip) == 4 else 6
        found = self.execute(
            "SELECT container, ifname FROM address WHERE network = ? AND family = ? AND ip = ?"
            " AND container IS NOT NULL UNION ALL SELECT container, ifname FROM vip WHERE ip = ?",
            (network, family, address.ip, address.ip),
        ).fetchone()
        if found:
            raise CniError(
                ADDRESS_CONFLICT,
                f"{ip_text(address.ip)} is held by {found[0]}/{found[1]} already; delete that pod or ask for another",
            )
        self.give(network, address, pool, owner)

    def give(self, network: str, address: PodAddress, pool: str, owner: tuple[str, str]) -> None:
        """Gives an address to an attachment that the allocator found free within the same transaction."""
        row = (network, 4 if len(address.ip) == 4 else 6, address.ip, address.prefixlen, pool, *owner)
        self.execute("INSERT OR REPLACE INTO address VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", row)

    def claim(self, elements: Sequence[Element], owner: tuple[str, str]) -> None:
        """Records nftables elements of an attachment; CniError 105 where another has one, as with a host port."""
        for one in elements:
            found = self.execute(
                "SELECT container, ifname FROM element WHERE set_name = ? AND key = ?",
                (one.set_name, one.key),
            ).fetchone()
            if found:
                raise CniError(
                    HOST_PORT_TAKEN,
                    f"portMappings: {one} is mapped to {found[0]}/{found[1]} already; choose another host port",
                )
            row = (one.set_name, one.key, one.data, *owner)
            self.execute("INSERT INTO element VALUES (?, ?, ?, ?, ?)", row)

    def elements(self, container: str, ifname: str) -> list[Element]:
        """What the attachment has in nftables' sets."""
        rows = self.execute(
            "SELECT set_name, key, data FROM element WHERE container = ? AND ifname = ?", (container, ifname)
        ).fetchall()
        if not rows:
            return []
        from cni.elements import Element

        return [Element(*row) for row in rows]

    def all_elements(self) -> list[Element]:
        """What all attachments have there."""
        from cni.elements import Element

        return [Element(*row) for row in self.execute("SELECT set_name, key, data FROM element").fetchall()]

    def element_sets(self) -> list[str]:
        """The sets that attachments have elements in."""
        return [row[0] for row in self.execute("SELECT DISTINCT set_name FROM element").fetchall()]

    # ---- virtual IPs

    def serve(self, vip: Vip, owner: tuple[str, str]) -> None:
        """Records a virtual IP of an attachment. Inside a transaction."""
        row = (*owner, packed(vip.ip), packed(vip.via), vip.nexthop, vip.weight, vip.health, vip.pool)
        self.execute("INSERT INTO vip VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def vips(self, container: str, ifname: str) -> list[bytes]:
        """The virtual IPs of an attachment."""
        query = "SELECT ip FROM vip WHERE container = ? AND ifname = ?"
        return [ip for (ip,) in self.execute(query, (container, ifname)).fetchall()]

    def granted(self, container: str, but: int) -> set[bytes]:
        """What a container's attachments were granted, served yet or not; all but that of the ADD begun at `but`."""
        query = "SELECT detail FROM attachment WHERE container = ? AND created NOT IN (0, ?)"
        return {
            ip for (detail,) in self.execute(query, (container, but)).fetchall() for ip in _granted(detail)
        }

    def refuse_served(self, ips: Iterable[bytes]) -> None:
        """CniError 102 where a pod serves one of these addresses, which the node is to have."""
        for ip in ips:
            row = self.execute("SELECT container, ifname FROM vip WHERE ip = ?", (ip,)).fetchone()
            if row:
                raise CniError(
                    ADDRESS_CONFLICT,
                    f"gateway {ip_text(ip)} is a virtual IP of {row[0]}/{row[1]}; set another gateway, or take the"
                    " address out of anycast.pools and delete that pod",
                )

    def unserve(self, container: str, ifname: str) -> list[Served]:
        """Forgets an attachment's virtual IPs, and tells them. Inside a transaction."""
        query = "DELETE FROM vip WHERE container = ? AND ifname = ? RETURNING ip, nexthop"
        return self.execute(query, (container, ifname)).fetchall()

    # ---- the end of it

    def withdraw(self, container: str, ifname: str, started: int, remove: Remove) -> None:
        """Takes back what the ADD that began at `started` recorded, committed or not, and no other's."""
        self.rollback()
        self.begin()
        if self._recorded(container, ifname, started):
            self.forget(container, ifname, remove)
        self.commit()

    def release(self, container: str, ifname: str, remove: Remove, leave: Leave = _stay) -> list[Served]:
        """DEL: forgets the attachment, queues its addresses, and leaves word for an ADD still on its way.

        `leave` takes what it served out of the pod.
        """
        self.begin()
        served = self.forget(container, ifname, remove)
        if served:
            leave(served)
        self.execute("INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?)", (container, ifname, now()))
        self.execute("DELETE FROM tombstone WHERE at < ?", (now() - TOMBSTONE_SECONDS * 10**9,))
        self.commit()
        self.check_in_place()
        return served

    def forget(self, container: str, ifname: str, remove: Remove) -> list[Served]:
        """Inside a transaction: what `release` does, without word for an ADD. What it served has to leave the kernel.

        `remove` takes the elements out of the kernel before their rows go: killed in between, the
        rows stand, and the next DEL finds them.
        """
        owner = (container, ifname)
        elements = self.elements(*owner)
        if elements:
            remove(elements)
            self.execute("DELETE FROM element WHERE container = ? AND ifname = ?", owner)
        served = self.unserve(*owner)
        query = "DELETE FROM attachment WHERE container = ? AND ifname = ? RETURNING detail"
        for (detail,) in self.execute(query, owner).fetchall():
            served += [(ip, 0) for ip in _granted(detail) if ip not in dict(served)]
        self.execute("DELETE FROM address WHERE container = ? AND ifname = ? AND pool = ''", owner)
        self.execute(
            "UPDATE address SET container = NULL, ifname = NULL, released = ?"
            " WHERE container = ? AND ifname = ?",
            (now(), *owner),
        )
        return served


def _granted(detail: str) -> list[bytes]:
    """The virtual IPs that the details of an attachment name: those of an ADD that did not get to record them."""
    found = parse(detail) if '"vips":' in detail else None
    return [packed(text) for text in found["vips"]] if isinstance(found, dict) and "vips" in found else []
