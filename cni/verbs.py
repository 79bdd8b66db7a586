"""ADD and DEL. Each is one transaction: all of it, or nothing that a later verb does not clean up.

What orders ADD and DEL of one attachment is the record in the state file. ADD writes it
before it makes a link and looks again when the links stand; DEL takes it away before it
removes the link. Whichever order the two run in, one of them sees the other's trace. A
record is known by the moment at which its ADD began, a link by its hardware address: what
a later ADD of the same attachment made is not mistaken for one's own.
"""

from __future__ import annotations

from _signal import SIG_IGN, SIGTERM, signal  # type: ignore[import-not-found]

from cni.allocation import Allocation
from cni.attach import Kernel, configure, connect, host_ifname, overtaken, pod_mac
from cni.book import Book
from cni.errors import INVALID_CONFIG, CniError
from cni.ipam import choose
from cni.netns import open_netns
from cni.network import Network, to_bytes
from cni.prepared import VARYING, prepared_bridge, remembered
from cni.spec import Call, Interface, PodAddress, network_name, result
from cni.store import Store, now

STATE_DIR = "/run/anypod"


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


def _allocate(store: Store, network: Network, call: Call, started: int) -> list[PodAddress]:
    """Records the attachment with an address of each range set, in one write transaction."""
    addresses = []
    store.begin()
    allocation = Allocation(
        network.name, call.container, call.ifname, call.netns, host_ifname(call.container, call.ifname), ()
    )
    store.attach(allocation, started)
    book = Book(store, network.name)
    for index, range_set in enumerate(network.range_sets):
        one, ip = choose(book, index, range_set, now())
        store.hold(network.name, one, ip, (call.container, call.ifname))
        addresses.append(PodAddress(ip, one.prefixlen, to_bytes(one.gateway, one.family)))
    store.commit()
    return addresses


def _undo(store: Store, kernel: Kernel, call: Call, started: int) -> None:
    """Takes back what this ADD recorded and made. What resists stays recorded, for DEL."""
    signal(SIGTERM, SIG_IGN)
    if not store.recorded:
        store.close()
        return
    try:
        kernel.delete_made()
        store.withdraw(call.container, call.ifname, started)
    except (CniError, OSError):
        # The error that led here is the one to answer with.
        return


def add(call: Call, conf: dict[str, object], version: str, started: int) -> dict[str, object]:
    """Attaches the pod; the result in the shape of `version`. Undone whole where a step fails."""
    if call.args or any(conf.get(key) for key in VARYING):
        from cni.unserved import refuse_unserved_call

        refuse_unserved_call(conf, call.args)
    network_name(conf)
    directory = state_dir(conf)
    netns = open_netns(call.netns)
    store = Store(directory)
    known = remembered(store, conf, version)
    network = known.network
    kernel = Kernel()
    bridge = prepared_bridge(store, kernel, known, directory)
    try:
        addresses = _allocate(store, network, call, started)
        mac = pod_mac(addresses[0].ip)
        routes = network.routes_with([one.gateway for one in addresses])
        host = connect(kernel, network, bridge, call, netns, mac)
        configure(call, netns, mac, addresses, routes)
        if not store.stands(call.container, call.ifname, started):
            raise overtaken(call)
        # From here on it stands: a runtime that ends us now has to say DEL.
        signal(SIGTERM, SIG_IGN)
    except BaseException:
        _undo(store, kernel, call, started)
        raise
    store.close()
    interfaces = [
        Interface(network.bridge, bridge.address),
        Interface(host.name, host.address),
        Interface(call.ifname, mac, call.netns),
    ]
    return result(version, interfaces, addresses, routes, network.dns)


def delete(call: Call, conf: dict[str, object]) -> None:
    """Releases and removes what is there; nothing there is success. The link goes even without a state file.

    Whatever network recorded the attachment: an interface of a container is in one network only.
    """
    network_name(conf)
    try:
        store = Store(state_dir(conf))
        store.release(call.container, call.ifname)
        store.close()
    finally:
        Kernel().delete_link(host_ifname(call.container, call.ifname))
