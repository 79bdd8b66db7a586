"""What the speaker reports below the state directory, for STATUS: is this node routed?

The speaker holds a lock on the file that it wrote last, for as long as it lives, and STATUS asks the
kernel who holds it. Unlike a process id that tells the living from the dead also where the two run in
different containers, and after an id was given out again.
"""

from __future__ import annotations

import posix
import struct
from fcntl import F_OFD_GETLK, F_UNLCK, F_WRLCK, fcntl

from cni.errors import NOT_AVAILABLE, CniError
from cni.jsonio import parse

# The directory is the speaker's, which may run as a user of its own.
DIRECTORY = "speaker"
FILE = f"{DIRECTORY}/speaker.json"
MAX_SIZE = 1 << 16
# struct flock: type, whence, start, length, process. From 0, length 0: all of the file.
_FLOCK = struct.Struct("hhqqi4x")
WHOLE_FILE = _FLOCK.pack(F_WRLCK, 0, 0, 0, 0)


def check_speaker(state_dir: str) -> None:
    """CniError 50 unless a speaker lives, has an established peer, and has what it learned in the kernel."""
    path = f"{state_dir}/{FILE}"
    found = _report(path)
    peers, established = found.get("peers"), found.get("established")
    if type(peers) is not int or type(established) is not int:
        raise _not_routed(f"{path} can't be read; install one version of plugin and speaker")
    if not established:
        raise _not_routed(f"none of the speaker's {peers} peers is established")
    if found.get("routes") is not True:
        raise _not_routed("what the speaker learned is not in the kernel's routing table yet")


def _not_routed(why: str) -> CniError:
    return CniError(NOT_AVAILABLE, f"requireSpeaker: {why}")


def _report(path: str) -> dict[str, object]:
    try:
        # O_NONBLOCK: a FIFO of that name must not hang the runtime.
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOFOLLOW)
    except OSError as error:
        raise _not_routed(f"no speaker reports to {path} ({error.strerror}); start it") from None
    try:
        if _FLOCK.unpack(fcntl(fd, F_OFD_GETLK, WHOLE_FILE))[0] == F_UNLCK:
            raise _not_routed(f"the speaker that wrote {path} has ended; start it again")
        found = parse(posix.read(fd, MAX_SIZE).decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    except CniError as error:
        if error.code == NOT_AVAILABLE:
            raise
        found = None
    finally:
        posix.close(fd)
    return found if isinstance(found, dict) else {}
