"""The CNI error object, and the codes that anypod answers with."""

from __future__ import annotations

# Codes of the CNI specification, "Error".
INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_CONFIG = 7
INVALID_NETNS = 8
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
LIMITED_CONNECTIVITY = 51
INTERNAL = 999

# Codes of our own, which the specification leaves to plugins from 100 on.
EXHAUSTED = 100
ALREADY_ATTACHED = 101
ADDRESS_CONFLICT = 102
KERNEL_REFUSED = 103
CHECK_FAILED = 104
HOST_PORT_TAKEN = 105
VIP_REFUSED = 106


class CniError(Exception):
    """Ends the verb; `message` names key, value and fix, `details` what stands behind it."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class Terminated(BaseException):
    """SIGTERM came. No CniError: what lives with a step's failure must not live on with this."""


class DamagedError(CniError):
    """The state file is no longer one; `rebuild` sets it aside and makes another from what the kernel shows."""
