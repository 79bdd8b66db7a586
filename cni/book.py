"""The answers that the state file gives the allocator."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.store import Store


class Book:
    """What the allocator asks, for one network. Valid inside a transaction."""

    def __init__(self, store: Store, network: str) -> None:
        self._store = store
        self._network = network

    def _ip(self, query: str, values: tuple[object, ...]) -> bytes | None:
        row = self._store.execute(query, (self._network, *values)).fetchone()
        return row[0] if row else None

    def cursor(self, pool: str) -> bytes | None:
        """See `cni.ipam.Book`, as for all of these."""
        return self._ip("SELECT next FROM cursor WHERE network = ? AND pool = ?", (pool,))

    def move_cursor(self, pool: str, to: bytes) -> None:
        """See `cni.ipam.Book`."""
        self._store.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", (self._network, pool, to))

    def passes(self, pool: str, ip: bytes) -> bool:
        """See `cni.ipam.Book`."""
        query = (
            "SELECT ip FROM address WHERE network = ? AND family = ? AND ip = ?"
            " AND (container IS NOT NULL OR pool = ?) UNION ALL SELECT ip FROM vip WHERE ip = ?"
        )
        return self._ip(query, (_family(ip), ip, pool, ip)) is not None

    def longest_released(self, pool: str, but: bytes, before: int) -> bytes | None:
        """See `cni.ipam.Book`."""
        query = (
            "SELECT ip FROM address WHERE network = ? AND pool = ? AND released < ? AND ip != ?"
            " AND NOT EXISTS (SELECT 1 FROM vip WHERE vip.ip = address.ip) ORDER BY released LIMIT 1"
        )
        return self._ip(query, (pool, before, but))

    def any_released(self, first: bytes, last: bytes, but: bytes) -> bytes | None:
        """See `cni.ipam.Book`."""
        query = (
            "SELECT ip FROM address WHERE network = ? AND family = ? AND ip BETWEEN ? AND ?"
            " AND released IS NOT NULL AND ip != ? AND NOT EXISTS (SELECT 1 FROM vip WHERE vip.ip = address.ip)"
            " ORDER BY released LIMIT 1"
        )
        return self._ip(query, (_family(first), first, last, but))


def _family(ip: bytes) -> int:
    return 4 if len(ip) == 4 else 6
