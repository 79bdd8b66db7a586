"""Why a probe failed, in a few words."""

from __future__ import annotations

import errno
import os
import ssl

# What the pod has no part in: no verdict on it.
LOCAL = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL}
)
# Characters of an error.
LONGEST = 100


class ProbeFailedError(Exception):
    """The endpoint does not serve; the text says how that showed."""


class NoVerdictError(Exception):
    """The node could not ask; the text says what it lacks."""


def shortened(text: str) -> str:
    """What somebody else wrote, as a part of one line, with nothing in it that a terminal would obey."""
    words = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def from_os(error: OSError) -> ProbeFailedError | NoVerdictError:
    """What a system call, or TLS, said."""
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or error.strerror or str(error)).replace("_", " ").lower()
        return ProbeFailedError(f"TLS: {shortened(reason)}")
    text = os.strerror(error.errno) if error.errno else str(error)
    text = text[:1].lower() + text[1:]
    return NoVerdictError(text) if error.errno in LOCAL else ProbeFailedError(text)
