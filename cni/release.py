"""The end of several attachments at once, inside one write transaction."""

from __future__ import annotations

from cni.statefile import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.attach import Kernel
    from cni.elements import Element
    from cni.store import Served, Store


class Release:
    """Attachments that end together: what they have in nftables' sets goes in one batch, before their rows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owners: list[tuple[str, str, str]] = []
        self._served: list[Served] = []

    @property
    def count(self) -> int:
        """How many attachments were added."""
        return len(self._owners)

    def add(self, container: str, ifname: str, ipam: str) -> None:
        """One more; `ipam` is the plugin that gave its addresses, empty for none other than this one."""
        self._owners.append((container, ifname, ipam))

    def carry_out(self) -> None:
        """Forgets them. CniError where nftables refuses: then the transaction has to be rolled back."""
        elements = [
            one for container, ifname, _ in self._owners for one in self._store.elements(container, ifname)
        ]
        if elements:
            from cni.delete import remove_elements

            remove_elements(elements)
        for container, ifname, ipam in self._owners:
            if ipam:
                self._strip(container, ifname)
            else:
                self._served += self._store.forget(container, ifname, _removed)

    def leave_word(self) -> None:
        """Makes an ADD of one of them that is under way undo itself, as DEL does."""
        for container, ifname, _ in self._owners:
            self._store.execute(
                "INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?)", (container, ifname, now())
            )

    def take_out(self, kernel: Kernel) -> None:
        """Behind the transaction: no next-hop group leads to them any more."""
        if self._served:
            from cni.anycast import take_out

            take_out(kernel, self._served)

    def _strip(self, container: str, ifname: str) -> None:
        """Forgets all but the record itself: another plugin has a reservation, and only DEL or GC can tell it."""
        owner = (container, ifname)
        self._served += self._store.unserve(*owner)
        self._store.execute("DELETE FROM element WHERE container = ? AND ifname = ?", owner)
        self._store.execute("DELETE FROM address WHERE container = ? AND ifname = ?", owner)
        # Its ADD, should it go on after all, does not find it under its own time any more.
        self._store.execute("UPDATE attachment SET created = 0 WHERE container = ? AND ifname = ?", owner)


def _removed(_elements: Sequence[Element]) -> None:
    """They are out of the kernel already."""
