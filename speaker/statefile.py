"""Follows the plugin's state file: which addresses pods hold on this node, and which virtual IPs they serve."""

from __future__ import annotations

import math
import time
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Protocol

from cni.reader import StateError
from speaker import log
from speaker.anycast.endpoints import endpoints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.allocation import Allocation
    from speaker.anycast.endpoints import Endpoint
    from speaker.bgp import Address


# Seconds between two looks at an unreadable file that does not change.
RETRY = 1.0


class Reader(Protocol):
    """The part of cni.reader.StateReader that is used here."""

    def stamp(self) -> object:
        """Changes whenever the content may have changed."""

    def digest(self) -> int:
        """Changes with the content."""

    def held(self) -> Sequence[Allocation] | None:
        """All attachments; None where there is no file."""


class Pods:
    """What could be read last of the pods. An unreadable file changes nothing: pods go on living."""

    def __init__(self, reader: Reader | None) -> None:
        self._reader = reader
        self._stamp: object = self
        self._digest = 0
        self._again_at = math.inf
        self._trouble = ""
        self.addresses: frozenset[Address] = frozenset()
        self.endpoints: tuple[Endpoint, ...] = ()
        # False until the file could be read once: before, the others say nothing of what pods hold.
        self.known = reader is None

    def poll(self, force: bool = False) -> bool:
        """Looks at the file, cheaply while it has not changed; True if what pods hold did, or became known.

        With `force` its content is looked at, too, and not only its stamp.
        """
        if self._reader is None:
            return False
        before, known = (self.addresses, self.endpoints), self.known
        try:
            # The stamp first: what is written between the two is seen at the next look.
            stamp = self._reader.stamp()
            if stamp == self._stamp and time.monotonic() < self._again_at and not (force and self._moved()):
                return False
            self._stamp, self._again_at = stamp, math.inf
            held = self._reader.held()
            if held is None and (self.addresses or self.endpoints):
                # The plugin makes another before it changes anything about pods.
                raise StateError("it was taken away; the next ADD, CHECK, DEL or GC makes it anew")
            self._take(held or ())
        except StateError as error:
            self._again_at = time.monotonic() + RETRY
            self._complain(str(error))
            return False
        self.known = True
        if self._trouble:
            log.info("state file readable again")
            self._trouble = ""
        return (self.addresses, self.endpoints) != before or not known

    def _moved(self) -> bool:
        """Whether the content is another than when this was asked last; a stamp may hide it."""
        before, self._digest = self._digest, self._reader.digest() if self._reader else 0
        return self._digest != before

    def _take(self, allocations: Sequence[Allocation]) -> None:
        try:
            found = endpoints(allocations)
        except (TypeError, ValueError) as error:
            raise StateError(f"the state file has a virtual IP that no plugin wrote: {error}") from None
        self.addresses = frozenset(
            ip_interface(text).ip for allocation in allocations for text in allocation.addresses
        )
        self.endpoints = found

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("state file unreadable", reason=trouble, addresses_kept=len(self.addresses))
        self._trouble = trouble
