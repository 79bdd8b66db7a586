"""What another plugin reserved for attachments that GC ended: given back one by one, and GC handed on."""

from __future__ import annotations

import posix
import time

from cni import delegate
from cni.errors import INVALID_ENVIRONMENT, TRY_AGAIN_LATER, CniError
from cni.prepared import RESERVED
from cni.spec import Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.store import Store

# All of them together. Each call of a plugin has its own bound, too.
SECONDS = 60.0


class Reservations:
    """Gives back what plugins reserved, as long as there is time."""

    def __init__(self, store: Store, call: Call, conf: dict[str, object]) -> None:
        self._store = store
        self._call = call
        self._conf = {key: value for key, value in conf.items() if not key.startswith(RESERVED)}
        self._deadline = time.monotonic() + SECONDS

    def give_back(self, owner: tuple[str, str]) -> None:
        """Calls the plugin's DEL, which every one has, and forgets the attachment behind it."""
        if time.monotonic() > self._deadline:
            raise CniError(
                TRY_AGAIN_LATER,
                f"GC gave reservations back for {SECONDS:.0f} s and is not done; the next GC goes on",
            )
        query = "SELECT netns, ipam FROM attachment WHERE container = ? AND ifname = ? AND created = 0"
        row = self._store.execute(query, owner).fetchone()
        if row is None:
            return
        call = Call("DEL", owner[0], str(row[0]), owner[1])
        call.path = self._call.path
        # A delegate's environment is our own, and GC's names no attachment.
        variables = {"CNI_CONTAINERID": call.container, "CNI_NETNS": call.netns, "CNI_IFNAME": call.ifname}
        before = dict(posix.environ)
        posix.environ.update({name.encode(): value.encode() for name, value in variables.items()})
        try:
            delegate.delete(str(row[1]), call, self._conf)
        finally:
            posix.environ.clear()
            posix.environ.update(before)
        self._store.begin()
        if self._store.execute(query, owner).fetchone() is not None:
            self._store.forget(*owner, lambda _: None)
        self._store.commit()


def forward(kind: str, call: Call, conf: dict[str, object]) -> None:
    """Hands GC on to the plugin that `ipam.type` names. One that does not know the verb has lost nothing by it."""
    try:
        delegate.gc(kind, call, conf)
    except CniError as error:
        if error.code != INVALID_ENVIRONMENT or "unknown CNI_COMMAND" not in error.message:
            raise
