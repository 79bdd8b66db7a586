"""`ipam.resolvConf`: the name servers of a file like /etc/resolv.conf, for the result of an ADD."""

from __future__ import annotations

import posix

from cni.errors import IO_FAILURE, CniError

MAX_BYTES = 1 << 16


def read(path: str) -> dict[str, object]:
    """The file's content as the `dns` of a result, read as host-local reads it. CniError 5 where it can't be."""
    try:
        # O_NONBLOCK: a path that leads to a FIFO must not hang the runtime.
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
        try:
            data = posix.read(fd, MAX_BYTES)
        finally:
            posix.close(fd)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CniError(
            IO_FAILURE, f"ipam.resolvConf: {path[:200]!r} can't be read: {reason}; correct the path"
        ) from None
    return parse(data.decode("utf-8", "replace"))


def parse(text: str) -> dict[str, object]:
    """The last `domain`, and all `nameserver`, `search` and `options` in order. Pure."""
    lists: dict[str, list[str]] = {"nameservers": [], "search": [], "options": []}
    found: dict[str, object] = {}
    for line in text.split("\n"):
        key, *values = line.split() or [""]
        if not values or key[0] in "#;":
            continue
        if key == "domain":
            found["domain"] = values[0]
        elif key == "nameserver":
            lists["nameservers"].append(values[0])
        elif key in ("search", "options"):
            lists[key] += values
    return found | {key: values for key, values in lists.items() if values}
