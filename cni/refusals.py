"""The last ADDs that were refused, for `anypod explain` and `doctor`: of a pod that never was, nothing else stays.

Loaded when an ADD fails. One small file of the state directory, for root alone; what can't be written is left out.
"""

from __future__ import annotations

import posix
from fcntl import LOCK_EX, LOCK_NB, flock

from cni.errors import (
    ADDRESS_CONFLICT,
    ALREADY_ATTACHED,
    EXHAUSTED,
    HOST_PORT_TAKEN,
    INVALID_CONFIG,
    KERNEL_REFUSED,
    UNSUPPORTED_FIELD,
    VIP_REFUSED,
    CniError,
)
from cni.jsonio import dump, parse
from cni.statefile import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni.spec import Call

FILE = "refused.json"
# Refusals that a person has to end; the others pass by themselves.
CODES = (
    UNSUPPORTED_FIELD,
    INVALID_CONFIG,
    EXHAUSTED,
    ALREADY_ATTACHED,
    ADDRESS_CONFLICT,
    KERNEL_REFUSED,
    HOST_PORT_TAKEN,
    VIP_REFUSED,
)
KEPT = 32
# Characters of a text, and bytes of the file.
LONGEST = 600
MAX_SIZE = 1 << 16


def note(call: Call, conf: dict[str, object], error: CniError) -> None:
    """Keeps word of a refused ADD, in place of what there was of this attachment. Nothing is raised."""
    if error.code not in CODES:
        return
    try:
        from cni.store import state_dir

        _keep(state_dir(conf), _entry(call, conf, error))
    except (CniError, OSError, TypeError, ValueError):
        return


def _entry(call: Call, conf: dict[str, object], error: CniError) -> dict[str, object]:
    namespace, name = call.args.get("K8S_POD_NAMESPACE", ""), call.args.get("K8S_POD_NAME", "")
    return {
        "at": now(),
        "container": call.container,
        "ifname": call.ifname,
        "network": _clean(str(conf.get("name", ""))),
        "pod": _clean(f"{namespace}/{name}" if namespace else name),
        "code": error.code,
        "message": _clean(error.message),
    }


def _clean(text: str) -> str:
    """One line of ASCII: what pods are called is not for us to choose."""
    plain = text[:LONGEST].encode("ascii", "backslashreplace").decode("ascii")
    return "".join(letter if " " <= letter <= "~" else "?" for letter in plain)[:LONGEST]


def _keep(directory: str, entry: dict[str, object]) -> None:
    """By renaming. Of several ADDs at a time one is kept word of: nobody waits here."""
    fd = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        flock(fd, LOCK_EX | LOCK_NB)
        owner = entry["container"], entry["ifname"]
        entries = [one for one in read(directory) if (one["container"], one["ifname"]) != owner]
        text = dump([*entries, entry][-KEPT:]).encode()
        new, path = f"{directory}/.{FILE}.new", f"{directory}/{FILE}"
        _remove(new)
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
        file = posix.open(new, flags, 0o600)
        try:
            whole = posix.write(file, text) == len(text)
        finally:
            posix.close(file)
        posix.rename(new, path) if whole else _remove(new)
    finally:
        posix.close(fd)


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return


def read(directory: str) -> list[dict[str, Any]]:
    """The refusals, the oldest first; none where there is no such file, or it is none of ours."""
    try:
        # Opened without waiting, as a FIFO would have it.
        fd = posix.open(f"{directory}/{FILE}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return []
    try:
        found = parse(posix.read(fd, MAX_SIZE).decode())
    except (CniError, OSError, ValueError):
        return []
    finally:
        posix.close(fd)
    return [one for one in found if _is_entry(one)][-KEPT:] if isinstance(found, list) else []


def _is_entry(one: object) -> bool:
    if not isinstance(one, dict) or type(one.get("at")) is not int or type(one.get("code")) is not int:
        return False
    return all(isinstance(one.get(key), str) for key in ("container", "ifname", "network", "pod", "message"))
