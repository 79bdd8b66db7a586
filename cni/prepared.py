"""A network whose part of the node stands: known from the state file where nothing changed, else made."""

from __future__ import annotations

from _blake2 import blake2b

from cni import bridge, nft, sysctl
from cni.errors import IO_FAILURE, KERNEL_REFUSED, CniError, DamagedError
from cni.filelock import FileLock
from cni.jsonio import dump, parse
from cni.network import FORM, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from cni.attach import Kernel
    from cni.link import Link
    from cni.network import Network, PodAddress
    from cni.store import Store

    class Memory(Protocol):
        """The part of the state file that is asked here."""

        def network(self, digest: bytes) -> tuple[str, int, int] | None:
            """What is remembered of a valid netconf."""


# Keys that differ from call to call and say nothing of the network.
VARYING = ("prevResult", "runtimeConfig", "args")
RESERVED = "cni.dev/"
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


def fixed_part(conf: dict[str, object]) -> dict[str, object]:
    """What says something of the network: not what differs from call to call, but for `runtimeConfig.ipRanges`."""
    fixed = {key: value for key, value in conf.items() if key not in VARYING and not key.startswith(RESERVED)}
    runtime = conf.get("runtimeConfig")
    if isinstance(runtime, dict) and runtime.get("ipRanges"):
        fixed["runtimeConfig"] = {"ipRanges": runtime["ipRanges"]}
    return fixed


def remembered(store: Memory, conf: dict[str, object], version: str) -> Remembered:
    """The typed network, from the state file where this very netconf was validated before."""
    fixed = fixed_part(conf)
    digest = blake2b(f"{FORM} {dump(fixed)}".encode(), digest_size=16).digest()
    found = store.network(digest)
    if found is not None:
        compiled, bridge_index, table_handle = found
        return Remembered(digest, _loaded(compiled), bridge_index, table_handle)
    from cni.netconf import compile_network

    return Remembered(digest, compile_network(fixed, version), 0, 0)


def _loaded(compiled: str) -> Network:
    try:
        return load(parse(compiled))
    except (CniError, TypeError, ValueError, AttributeError, KeyError):
        raise DamagedError(IO_FAILURE, "the state file has a network that can't be read") from None


def standing_bridge(kernel: Kernel, known: Remembered, ports: bool = False) -> Link | None:
    """The bridge, if it is the one that was set up and all that belongs to it is there."""
    network = known.network
    links = bridge.standing(kernel, network, known.bridge_index)
    if not links:
        return None
    sysctl.ensure_forwarding({4 if len(ip) == 4 else 6 for ip, _ in bridge.own_gateways(network)})
    return links[0] if nft.standing(network, known.table_handle, ports) else None


def prepared_bridge(store: Store, kernel: Kernel, known: Remembered, ports: bool = False) -> Link:
    """The bridge, made or mended first where it has to be. One call at a time does that, the rest wait."""
    found = standing_bridge(kernel, known, ports)
    if found is not None:
        return found
    with FileLock(f"{store.state_dir}/{LOCK}", LOCK_SECONDS):
        again = store.network(known.digest)
        if again is not None:
            # Whoever held the lock before may have done it.
            _, known.bridge_index, known.table_handle = again
            found = standing_bridge(kernel, known, ports)
        if found is None:
            found = _make(store, kernel, known, ports)
    return found


def _make(store: Store, kernel: Kernel, known: Remembered, ports: bool) -> Link:
    from cni.node import prepare

    network = known.network
    held = store.element_sets()
    store.refuse_served([ip for ip, _ in bridge.own_gateways(network)])
    prepare(network, ports, held)
    if held:
        _put_back(store)
    link = kernel.link(network.bridge)
    if link is None:
        raise CniError(
            KERNEL_REFUSED, f"bridge {network.bridge} vanished while it was set up; something else removes it"
        )
    known.bridge_index = link.index
    known.table_handle = nft.handles() if held or nft.needs(network, ports) else 0
    compiled = dump(network.compiled())
    store.remember_network(known.digest, network.name, compiled, known.bridge_index, known.table_handle)
    return link


def _put_back(store: Store) -> None:
    """What attachments had in tables that a firewall's reload took away. No DEL comes in between."""
    from cni.elements import ElementSocket

    store.begin()
    ElementSocket().put(store.all_elements())
    store.commit()


def prepare_for(
    store: Store, kernel: Kernel, known: Remembered, found: Link, addresses: Sequence[PodAddress]
) -> None:
    """What the node needs for addresses that another plugin gave: their gateways, and their subnets masqueraded."""
    network = known.network
    gateways = bridge.given_gateways(network, addresses)
    subnets = {one.subnet_text() for one in addresses} if network.masquerade else set()
    holder = bridge.gateway_holder(kernel, network, found)
    if bridge.has_gateways(kernel, holder, gateways) and store.subnets(known.table_handle).issuperset(
        subnets
    ):
        sysctl.ensure_forwarding({4 if len(ip) == 4 else 6 for ip, _ in gateways})
        return
    from cni.node import hold

    with FileLock(f"{store.state_dir}/{LOCK}", LOCK_SECONDS):
        store.refuse_served([ip for ip, _ in gateways])
        hold(kernel, network, found, gateways)
        if subnets:
            nft.masquerade(subnets)
            store.remember_subnets(subnets, known.table_handle)
