"""ADD and DEL. Each is one transaction: all of it, or nothing that a later verb does not clean up.

What orders ADD and DEL of one attachment is the record in the state file. ADD writes it
before it makes a link and looks again when the links stand; DEL takes it away before it
removes the link. Whichever order the two run in, one of them sees the other's trace.
"""

from __future__ import annotations

from _blake2 import blake2b

from cni import nft
from cni.allocation import Allocation
from cni.attach import Kernel, configure, connect, host_ifname
from cni.book import Book
from cni.errors import INVALID_CONFIG, KERNEL_REFUSED, UNKNOWN_CONTAINER, CniError
from cni.ipam import choose
from cni.jsonio import dump, parse
from cni.netns import open_netns
from cni.network import FORM, Network, load, to_bytes
from cni.spec import Call, Interface, PodAddress, network_name, result
from cni.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.link import Link

STATE_DIR = "/run/anypod"
# Keys that differ from call to call and say nothing of the network.
VARYING = ("prevResult", "runtimeConfig", "args")


def state_dir(conf: dict[str, object]) -> str:
    """Where the state file is; CniError 7 for what is no absolute path."""
    found = conf.get("stateDir", STATE_DIR)
    if not isinstance(found, str) or not found.startswith("/") or "\0" in found or "/../" in f"{found}/":
        raise CniError(
            INVALID_CONFIG, f"stateDir: {str(found)[:80]!r} is no absolute path; write it like {STATE_DIR}"
        )
    return found.rstrip("/") or "/"


def remembered_network(store: Store, conf: dict[str, object], version: str) -> tuple[bytes, Network, int]:
    """The typed network, from the state file where this very netconf was validated before."""
    fixed = {key: value for key, value in conf.items() if key not in VARYING}
    digest = blake2b(f"{FORM} {dump(fixed)}".encode(), digest_size=16).digest()
    found = store.network(digest)
    if found is not None:
        return digest, load(parse(found[0])), found[1]
    from cni.netconf import compile_network

    return digest, compile_network(fixed, version), 0


def _bridge(kernel: Kernel, network: Network, index: int) -> Link | None:
    """The bridge, if it is the one that was set up and still as it was left."""
    bridge = kernel.link(network.bridge)
    if bridge is None or bridge.index != index or not bridge.up:
        return None
    if network.is_gateway:
        present = kernel.addresses(index)
        for one in network.ranges():
            if (to_bytes(one.gateway, one.family), one.prefixlen) not in present:
                return None
    return None if network.masquerade and not nft.stands() else bridge


def _prepared_bridge(
    store: Store, kernel: Kernel, digest: bytes, network: Network, index: int, directory: str
) -> Link:
    bridge = _bridge(kernel, network, index)
    if bridge is None:
        from cni.node import prepare

        index = prepare(network, directory)
        store.remember_network(digest, network.name, dump(network.compiled()), index)
        bridge = kernel.link(network.bridge)
    if bridge is None:
        raise CniError(
            KERNEL_REFUSED, f"bridge {network.bridge} vanished while it was set up; something else removes it"
        )
    return bridge


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
        one, ip = choose(book, index, range_set)
        store.hold(network.name, one, ip, (call.container, call.ifname))
        addresses.append(PodAddress(ip, one.prefixlen, to_bytes(one.gateway, one.family)))
    store.commit()
    return addresses


def _undo(store: Store, kernel: Kernel, call: Call, network: Network) -> None:
    """Takes back what this ADD recorded and made. What resists stays recorded, for DEL."""
    if not store.recorded:
        store.close()
        return
    try:
        if kernel.made:
            kernel.delete_link(kernel.made)
        store.withdraw(network.name, call.container, call.ifname)
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
    digest, network, index = remembered_network(store, conf, version)
    kernel = Kernel()
    bridge = _prepared_bridge(store, kernel, digest, network, index, directory)
    try:
        addresses = _allocate(store, network, call, started)
        host = connect(kernel, network, bridge, call, netns)
        pod = configure(network, call, netns, addresses)
        if not store.stands(call.container, call.ifname):
            raise CniError(UNKNOWN_CONTAINER, f"container {call.container} was deleted (DEL) during this ADD")
    except BaseException:
        _undo(store, kernel, call, network)
        raise
    store.close()
    interfaces = [
        Interface(network.bridge, bridge.address),
        Interface(host.name, host.address),
        Interface(call.ifname, pod.address, call.netns),
    ]
    return result(version, interfaces, addresses, network.routes, network.dns)


def delete(call: Call, conf: dict[str, object]) -> None:
    """Releases and removes what is there; nothing there is success. The addresses go first."""
    store = Store(state_dir(conf))
    store.release(network_name(conf), call.container, call.ifname)
    of_another_network = store.stands(call.container, call.ifname)
    store.close()
    if not of_another_network:
        Kernel().delete_link(host_ifname(call.container, call.ifname))
