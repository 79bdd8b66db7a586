"""GC: ends every attachment of the network that the runtime does not list as valid, and what no record explains.

Only what stood before this GC began, and only of this network. What fails is told at the end, all of it
together; but a kernel, a lock or a plugin that does not answer ends the collection at once.
"""

from __future__ import annotations

from cni.attach import Kernel, refused
from cni.delete import delegate_of
from cni.errors import INVALID_CONFIG, TRY_AGAIN_LATER, CniError, DamagedError
from cni.owned import all_links, all_names, delete_links, owned_links, twin
from cni.release import Release
from cni.spec import is_identifier, is_ifname, network_name
from cni.store import Store, state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cni.owned import OwnedLink
    from cni.spec import Call

    Owner = tuple[str, str]
    # Container, interface name, time of the ADD, plugin of the addresses.
    Record = tuple[str, str, int, str]

# The 1.1.0 document first called the key otherwise; libcni sends both.
KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")
BRIDGE = "cni0"
# Attachments that end in one transaction: others wait for its end.
CHUNK = 256
MAX_MESSAGE = 4000


def collect(call: Call, conf: dict[str, object], started: int) -> None:
    """`started`: when this process began, on the clock of the records."""
    network = network_name(conf)
    valid = valid_attachments(conf)
    store = Store(state_dir(conf))
    collection = Collection(store, network, valid, started)
    collection.attempt(collection.forget_stale)
    collection.attempt(collection.sweep, conf.get("bridge") or BRIDGE)
    collection.attempt(_delegates, collection, call, conf)
    store.close()
    collection.report()


def _delegates(collection: Collection, call: Call, conf: dict[str, object]) -> None:
    kind = delegate_of(conf)
    reserved = collection.reserved()
    if kind or reserved:
        from cni.reservations import Reservations, forward

        reservations = Reservations(collection.store, call, conf)
        for owner in reserved:
            collection.attempt(reservations.give_back, owner)
        if kind:
            collection.attempt(forward, kind, call, conf)


def valid_attachments(conf: dict[str, object]) -> set[Owner]:
    """The attachments that the runtime lists. CniError 7 where it sends no list: that is not an empty one.

    libcni sends null for an empty list (a nil slice of Go, in GCArgs of libcni/api.go), as CRI-O has
    it for a network without pods. A call without arguments, like `cnitool gc`, sends no key.
    """
    key = next((one for one in KEYS if conf.get(one) is not None), None)
    if key is None:
        if any(one in conf for one in KEYS):
            return set()
        raise CniError(
            INVALID_CONFIG,
            f"{KEYS[0]} is missing: GC needs the list of valid attachments; [] stands for none",
        )
    entries = conf[key]
    if not isinstance(entries, list):
        raise CniError(INVALID_CONFIG, f"{key}: {ascii(entries)[:80]} is no list")
    return {_owner(f"{key}[{index}]", entry) for index, entry in enumerate(entries)}


def _owner(key: str, entry: object) -> Owner:
    container, ifname = (
        (entry.get("containerID"), entry.get("ifname")) if isinstance(entry, dict) else (None, None)
    )
    if not isinstance(container, str) or not is_identifier(container):
        raise CniError(INVALID_CONFIG, f"{key}: containerID {ascii(container)[:80]} is no container id")
    if not isinstance(ifname, str) or not is_ifname(ifname):
        raise CniError(INVALID_CONFIG, f"{key}: ifname {ascii(ifname)[:80]} is no interface name")
    return container, ifname


class Collection:
    """One GC on its way, and the errors that it met."""

    def __init__(self, store: Store, network: str, valid: set[Owner], started: int) -> None:
        self.store = store
        self._kernel = Kernel()
        self._network = network
        self._valid = valid
        self._started = started
        self._errors: list[CniError] = []

    # ---- errors

    def attempt(self, step: Callable[..., None], *args: object) -> None:
        """Runs a step and notes its error. After code 11 no further one is run."""
        if any(error.code == TRY_AGAIN_LATER for error in self._errors):
            return
        try:
            step(*args)
        except DamagedError:
            raise
        except CniError as error:
            self._note(error)
        except OSError as error:
            self._note(refused("what GC asked of the node's links", error))

    def _note(self, error: CniError) -> None:
        self.store.rollback()
        self._errors.append(error)

    def report(self) -> None:
        """CniError with the code of the first error and the words of all."""
        if not self._errors:
            return
        words = list(dict.fromkeys(error.message for error in self._errors))
        text = "; ".join(words)
        if len(text) > MAX_MESSAGE:
            text = f"{text[:MAX_MESSAGE]}… ({len(words)} errors)"
        raise CniError(self._errors[0].code, text, self._errors[0].details[:MAX_MESSAGE])

    # ---- attachments

    def forget_stale(self) -> None:
        """Forgets what is not listed, addresses and nftables elements with it."""
        rows: list[Record] = self.store.execute(
            "SELECT container, ifname, created, ipam FROM attachment WHERE network = ? AND created BETWEEN 1 AND ?",
            (self._network, self._started),
        ).fetchall()
        stale = [row for row in rows if row[:2] not in self._valid]
        for start in range(0, len(stale), CHUNK):
            chunk = stale[start : start + CHUNK]
            try:
                self._forget(chunk)
            except DamagedError:
                raise
            except CniError as error:
                self.store.rollback()
                if error.code == TRY_AGAIN_LATER or len(chunk) == 1:
                    raise
                for row in chunk:
                    self.attempt(self._forget, [row])

    def _forget(self, rows: Sequence[Record]) -> None:
        release = Release(self.store)
        self.store.begin()
        for container, ifname, created, ipam in rows:
            # A DEL may have come since, and another ADD.
            if self.store.stands(container, ifname, created):
                release.add(container, ifname, ipam)
        release.carry_out()
        release.leave_word()
        self.store.commit()
        release.take_out(self._kernel)

    def reserved(self) -> list[Owner]:
        """Attachments of which only the record is left, because another plugin gave their addresses."""
        rows = self.store.execute(
            "SELECT container, ifname FROM attachment WHERE network = ? AND created = 0", (self._network,)
        ).fetchall()
        return [row for row in rows if row not in self._valid]

    # ---- the node

    def sweep(self, bridge: object) -> None:
        """Removes links and nftables elements of the network that belong to no attachment."""
        from cni.strays import remembered_networks

        bridges = [bridge, *(one.bridge for one in remembered_networks(self.store, self._network))]
        # While this is held no ADD can record anything, and what an ADD makes it records first.
        self.store.begin()
        recorded = set(self.store.execute("SELECT container, ifname FROM attachment WHERE created > 0"))
        links = all_links(self._kernel)
        self._adopt(recorded, links)
        stray = self._stray(links, all_names(recorded | self._valid), bridges)
        gone = {link.index for link in stray}
        self._sweep_elements({link.name for link in links if link.index not in gone})
        self.store.commit()
        delete_links(self._kernel, stray)

    def _adopt(self, recorded: set[Owner], links: list[OwnedLink]) -> None:
        """Valid attachments of which the state file was lost: their addresses must not be given out again."""
        # One with word of a DEL is about to lose its link, too.
        deleted = set(self.store.execute("SELECT container, ifname FROM tombstone"))
        wanted = self._valid - recorded - deleted
        lost = [
            link for link in owned_links(links) if link.network() == self._network and link.owner() in wanted
        ]
        if lost:
            from cni.rebuild import record

            record(self.store, self._kernel, lost)

    def _stray(self, links: list[OwnedLink], known: set[str], bridges: list[object]) -> list[OwnedLink]:
        names = {link.name for link in links}
        masters = {link.index for link in links if link.name in bridges and link.kind == "bridge"}

        def is_stray(link: OwnedLink) -> bool:
            if link.name in known:
                return False
            if link.network():
                return link.network() == self._network
            # An ADD was killed before it gave a name to what it made.
            return link.master in masters if link.kind == "veth" else twin(link.name) not in names

        return [link for link in owned_links(links) if is_stray(link)]

    def _sweep_elements(self, names: set[str]) -> None:
        from cni.strays import stray_elements

        found = stray_elements(self.store, self._network, names)
        if found:
            from cni.delete import remove_elements

            remove_elements(found)
