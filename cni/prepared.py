"""A network whose part of the node stands: known from the state file where nothing changed, else made."""

from __future__ import annotations

from _blake2 import blake2b

from cni import nft, sysctl
from cni.errors import KERNEL_REFUSED, CniError
from cni.filelock import FileLock
from cni.jsonio import dump, parse
from cni.network import FORM, load, to_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.attach import Kernel
    from cni.link import Link
    from cni.network import Network
    from cni.store import Store

# Keys that differ from call to call and say nothing of the network.
VARYING = ("prevResult", "runtimeConfig", "args")
LOCK = "node.lock"
LOCK_SECONDS = 60.0


class Remembered:
    """A netconf's typed network, and what was made for it: index of the bridge, handle of the nftables table."""

    __slots__ = ("bridge_index", "digest", "network", "table_handle")

    def __init__(self, digest: bytes, network: Network, bridge_index: int, table_handle: int) -> None:
        self.digest = digest
        self.network = network
        self.bridge_index = bridge_index
        self.table_handle = table_handle


def remembered(store: Store, conf: dict[str, object], version: str) -> Remembered:
    """The typed network, from the state file where this very netconf was validated before."""
    fixed = {key: value for key, value in conf.items() if key not in VARYING}
    digest = blake2b(f"{FORM} {dump(fixed)}".encode(), digest_size=16).digest()
    found = store.network(digest)
    if found is not None:
        compiled, bridge_index, table_handle = found
        return Remembered(digest, load(parse(compiled)), bridge_index, table_handle)
    from cni.netconf import compile_network

    return Remembered(digest, compile_network(fixed, version), 0, 0)


def standing_bridge(kernel: Kernel, known: Remembered) -> Link | None:
    """The bridge, if it is the one that was set up and all that belongs to it is there."""
    network = known.network
    bridge = kernel.link(network.bridge)
    if bridge is None or bridge.index != known.bridge_index or not bridge.up:
        return None
    if network.is_gateway:
        present = kernel.addresses(bridge.index)
        for one in network.ranges():
            if (to_bytes(one.gateway, one.family), one.prefixlen) not in present:
                return None
        sysctl.ensure_forwarding({one.family for one in network.ranges()})
    # A table that was made anew, by hand or for another network, does not have this one's subnets.
    if network.masquerade and nft.table_handle() != known.table_handle:
        return None
    return bridge


def prepared_bridge(store: Store, kernel: Kernel, known: Remembered, directory: str) -> Link:
    """The bridge, made or mended first where it has to be. One call at a time does that, the rest wait."""
    bridge = standing_bridge(kernel, known)
    if bridge is not None:
        return bridge
    with FileLock(f"{directory}/{LOCK}", LOCK_SECONDS):
        found = store.network(known.digest)
        if found is not None:
            # Whoever held the lock before may have done it.
            _, known.bridge_index, known.table_handle = found
            bridge = standing_bridge(kernel, known)
        if bridge is None:
            bridge = _make(store, kernel, known)
    return bridge


def _make(store: Store, kernel: Kernel, known: Remembered) -> Link:
    from cni.node import prepare

    network = known.network
    prepare(network)
    bridge = kernel.link(network.bridge)
    if bridge is None:
        raise CniError(
            KERNEL_REFUSED, f"bridge {network.bridge} vanished while it was set up; something else removes it"
        )
    known.bridge_index = bridge.index
    known.table_handle = nft.table_handle() if network.masquerade else 0
    compiled = dump(network.compiled())
    store.remember_network(known.digest, network.name, compiled, known.bridge_index, known.table_handle)
    return bridge
