"""How an address is chosen. Pure: what is taken is asked through `Book`, which the state file answers.

Addresses that were never given out come first, in order; then those released, the
longest-released first. So an address rests as long as the range allows before it
comes back, and each choice costs a constant number of indexed look-ups. In a range too
large to be used up, an hour of rest is enough: the book must not grow with every pod.
"""

from __future__ import annotations

from cni.errors import INVALID_CONFIG, CniError
from cni.network import ip_text, to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from cni.network import Range

    class Book(Protocol):
        """What the allocator asks of the state file, for one network. Addresses are packed."""

        def cursor(self, pool: str) -> bytes | None:
            """The first address of the pool that was never given out; None where none was."""

        def move_cursor(self, pool: str, to: bytes) -> None:
            """Remembers `to` as the pool's next address."""

        def passes(self, pool: str, ip: bytes) -> bool:
            """Whether the cursor has to go past `ip`: it is held or a virtual IP, or waits in this pool's queue."""

        def longest_released(self, pool: str, but: bytes, before: int) -> bytes | None:
            """The first released of those that wait in the pool's queue, if it was before that time."""

        def any_released(self, first: bytes, last: bytes, but: bytes) -> bytes | None:
            """A released address between the two that another pool gave out (the range was changed since)."""


LARGE = 1 << 16
REST = 3600 * 10**9


def _never_given(book: Book, one: Range) -> bytes | None:
    start = book.cursor(one.pool)
    number = max(int.from_bytes(start, "big"), one.first) if start is not None else one.first
    while number <= one.last:
        ip = to_bytes(number, one.family)
        number += 1
        if number - 1 != one.gateway and not book.passes(one.pool, ip):
            book.move_cursor(one.pool, to_bytes(number, one.family))
            return ip
    if start is None or int.from_bytes(start, "big") != number:
        book.move_cursor(one.pool, to_bytes(number, one.family))
    return None


def _choose(book: Book, one: Range, now: int) -> bytes | None:
    # The gateway may be an address that pods had before the configuration was changed.
    gateway = to_bytes(one.gateway, one.family)
    ip = None
    if one.last - one.first >= LARGE:
        ip = book.longest_released(one.pool, gateway, now - REST)
    if ip is None:
        ip = _never_given(book, one) or book.longest_released(one.pool, gateway, now)
    if ip is None:
        ip = book.any_released(to_bytes(one.first, one.family), to_bytes(one.last, one.family), gateway)
    return ip


def choose(book: Book, range_set: Sequence[Range], now: int) -> tuple[Range, bytes] | None:
    """A free address of the set and the range that it is from; None where all are held.

    `now`: nanoseconds on the clock of the releases.
    """
    for one in range_set:
        ip = _choose(book, one, now)
        if ip is not None:
            return one, ip
    return None


def requested(range_set: Sequence[Range], wanted: Sequence[bytes]) -> tuple[Range, bytes] | None:
    """The first of the addresses asked for that the set has, and its range. CniError 7 for a gateway."""
    for ip in wanted:
        number = int.from_bytes(ip, "big")
        for one in range_set:
            if len(ip) != (4 if one.family == 4 else 16) or not one.first <= number <= one.last:
                continue
            if number == one.gateway:
                raise CniError(
                    INVALID_CONFIG,
                    f"requested ip {ip_text(ip)} is subnet's gateway; ask for another, or set another gateway",
                )
            return one, ip
    return None
