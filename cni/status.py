"""STATUS: could an ADD succeed now? Nothing is written, locked or made: runtimes ask every few seconds."""

from __future__ import annotations

import posix

from cni import nft
from cni.attach import Kernel
from cni.delete import delegate_of
from cni.errors import LIMITED_CONNECTIVITY, NOT_AVAILABLE, CniError
from cni.network import BUILT_IN
from cni.prepared import remembered
from cni.spec import network_name
from cni.sqlite import DatabaseError
from cni.statefile import FILE
from cni.store import state_dir
from cni.view import View, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.network import Network
    from cni.prepared import Remembered
    from cni.spec import Call

# What a transaction needs, with its log.
LEAST_FREE = 1 << 20
PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A checkpoint may come between two reads: then the next try finds everything in order.
TRIES = 3
ERRORS_OF_VALUES = (TypeError, ValueError, AttributeError, KeyError, OverflowError)


def status(call: Call, conf: dict[str, object], version: str) -> None:
    """CniError 51 where pods that are attached have lost their bridge, 50 for what an ADD would fail for."""
    network_name(conf)
    directory = state_dir(conf)
    _check_directory(directory)
    for number in range(1, TRIES + 1):
        try:
            _look(directory, conf, version, number < TRIES)
            break
        except (DatabaseError, *ERRORS_OF_VALUES) as error:
            if number == TRIES:
                raise failure(f"{directory}/{FILE}", error) from None
    kind = delegate_of(conf)
    if kind != BUILT_IN:
        from cni.delegate import status as ask

        ask(kind, call, conf)


def _look(directory: str, conf: dict[str, object], version: str, with_log: bool) -> None:
    view = View(directory, with_log)
    try:
        known = _known(view, conf, version)
        if known is None:
            return
        network, kernel = known.network, Kernel()
        if not network.chained:
            _check_bridge(kernel, view, network)
        _check_nft(known)
        if network.require_speaker:
            from cni.speakerfile import check_speaker

            check_speaker(directory)
        _check_addresses(kernel, view, network)
    finally:
        view.close()


def _unavailable(message: str) -> CniError:
    return CniError(NOT_AVAILABLE, message)


def _known(view: View, conf: dict[str, object], version: str) -> Remembered | None:
    """The network; None where it is not whole before a call brings its ranges."""
    capabilities = conf.get("capabilities")
    if isinstance(capabilities, dict) and capabilities.get("ipRanges"):
        runtime = conf.get("runtimeConfig")
        if not isinstance(runtime, dict) or not runtime.get("ipRanges"):
            return None
    try:
        return remembered(view, conf, version)
    except CniError as error:
        raise CniError(NOT_AVAILABLE, error.message, error.details) from None


def _check_directory(directory: str) -> None:
    """The state directory, or where it would be made, takes files and has room for them."""
    place = directory
    while not _is_there(place):
        place = place.rpartition("/")[0] or "/"
    if not posix.stat(place).st_mode & 0o40000:
        raise _unavailable(f"stateDir {directory}: {place} is no directory; move it away")
    if not posix.access(place, posix.W_OK | posix.X_OK):
        reason = "is read-only" if posix.statvfs(place).f_flag & posix.ST_RDONLY else "can't be written"
        raise _unavailable(f"stateDir {directory}: {place} {reason}; see to it, or set another stateDir")
    room = posix.statvfs(place)
    if room.f_bavail * room.f_frsize < LEAST_FREE:
        raise _unavailable(f"stateDir {directory}: no space is left in {place}")


def _is_there(path: str) -> bool:
    try:
        posix.stat(path)
    except FileNotFoundError:
        return path == "/"
    except OSError as error:
        raise _unavailable(f"stateDir: {path} can't be looked at: {error.strerror}") from None
    return True


def _check_bridge(kernel: Kernel, view: View, network: Network) -> None:
    name = network.bridge
    bridge = kernel.link(name)
    if bridge is not None and bridge.kind != "bridge":
        raise _unavailable(f"bridge: {name!r} exists and is no bridge; choose another name or remove it")
    if (bridge is None or not bridge.up) and view.is_used(network.name):
        if bridge is None:
            what = "is missing; the next ADD makes another, but pods that had it have to be made anew"
        else:
            what = f"is down; ip link set {name} up"
        raise CniError(
            LIMITED_CONNECTIVITY, f"bridge {name}, which pods of network {network.name} have, {what}"
        )


def _check_nft(known: Remembered) -> None:
    """The command nft, where the network needs it and what it makes does not stand."""
    key = nft.needs(known.network, False)
    if key and not _has_command(b"nft") and not nft.standing(known.network, known.table_handle):
        raise _unavailable(f"{key} needs the command nft; install the package nftables")


def _has_command(name: bytes) -> bool:
    path = posix.environ.get(b"PATH") or PATH
    return any(
        posix.access(directory + b"/" + name, posix.X_OK) for directory in path.split(b":") if directory
    )


def _check_addresses(kernel: Kernel, view: View, network: Network) -> None:
    ranges = view.exhausted(network)
    if ranges:
        from cni.reclaim import count_gone

        if not count_gone(view.records(network.name), kernel):
            raise _unavailable(
                f"no IP addresses available in range set: {ranges}; widen ipam.ranges or delete pods"
            )
