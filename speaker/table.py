"""The daemon's table as it was last read, and which of its prefixes changed since somebody looked. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, overload

from speaker.bgp import Destination, Prefix

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, ValuesView

    from speaker.bgp import LocalPath

T = TypeVar("T")

# Changes that are remembered at least: so many for each entry, and some more.
REMEMBERED, MORE = 2, 1000


class Table(Mapping[Prefix, Destination]):
    """An entry that is read anew and is as it was stays the same object, and is no change."""

    def __init__(self, entries: Iterable[Destination] = ()) -> None:
        self._entries: dict[Prefix, Destination] = {}
        self._changed: list[Prefix] = []
        self._forgotten = 0
        # Paths of ours.
        self.ours: dict[Prefix, LocalPath] = {}
        for entry in entries:
            self.put(entry)

    def __getitem__(self, prefix: Prefix) -> Destination:
        return self._entries[prefix]

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    # Those of Mapping take several times as long.

    def __contains__(self, prefix: object) -> bool:
        return prefix in self._entries

    @overload
    def get(self, prefix: Prefix, /) -> Destination | None: ...
    @overload
    def get(self, prefix: Prefix, /, default: Destination | T) -> Destination | T: ...
    def get(self, prefix: Prefix, /, default: Destination | T | None = None) -> Destination | T | None:
        """The entry of a prefix."""
        return self._entries.get(prefix, default)

    def values(self) -> ValuesView[Destination]:
        """All entries."""
        return self._entries.values()

    # ---- what changed

    @property
    def changes(self) -> int:
        """How many changes there have been."""
        return self._forgotten + len(self._changed)

    def since(self, changes: int) -> Collection[Prefix] | None:
        """The prefixes that changed since there had been so many changes; None: any may have."""
        start = changes - self._forgotten
        return None if start < 0 else self._changed[start:]

    def _note(self, prefix: Prefix) -> None:
        changed = self._changed
        changed.append(prefix)
        if len(changed) > REMEMBERED * len(self._entries) + MORE:
            half = len(changed) // 2
            self._forgotten += half
            del changed[:half]

    # ---- changing it

    def put(self, entry: Destination) -> None:
        """Takes an entry as it was read."""
        prefix = entry.prefix
        if self._entries.get(prefix) == entry:
            return
        self._entries[prefix] = entry
        if entry.ours is not None:
            self.ours[prefix] = entry.ours
        else:
            self.ours.pop(prefix, None)
        self._note(prefix)

    def drop(self, prefix: Prefix) -> None:
        """Notes that the daemon has none for it."""
        if self._entries.pop(prefix, None) is not None:
            self.ours.pop(prefix, None)
            self._note(prefix)

    def replace(self, entries: Collection[Destination]) -> None:
        """Takes all entries as they were read."""
        gone = self._entries.keys() - {entry.prefix for entry in entries}
        for entry in entries:
            self.put(entry)
        for prefix in gone:
            self.drop(prefix)

    def clear(self) -> None:
        """Forgets all: nothing that was read is true any more."""
        self._forgotten += len(self._changed) + 1
        self._changed.clear()
        self._entries.clear()
        self.ours.clear()
