"""The files from which a container runtime takes its networks, in the order in which it looks at them."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from cni.errors import CniError
from cni.spec import config_version
from speaker.doctor.values import Conflist

if TYPE_CHECKING:
    from cni.network import Network

# What libcni takes (ConfFiles of libcni/conf.go), and the bytes of a file that are read.
SUFFIXES = (".conf", ".conflist", ".json")
MAX_SIZE = 1 << 20


def conflists(directory: str) -> list[Conflist] | str:
    """All of a directory, by name; in words why it can't be looked at."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIXES))
    except OSError as error:
        return f"{directory}: {error.strerror}"
    return [_read(os.path.join(directory, name), name) for name in names]


def _read(path: str, name: str) -> Conflist:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return Conflist(name, trouble="it is no regular file")
            document = json.loads(os.read(fd, MAX_SIZE))
        finally:
            os.close(fd)
    except OSError as error:
        return Conflist(name, trouble=f"it can't be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        return Conflist(name, trouble=f"it is no JSON: {error}")
    return parsed(name, document)


def parsed(name: str, document: Any) -> Conflist:
    """A conflist, or a single netconf as older files have it; anypod's own part is checked as ADD would. Pure."""
    if not isinstance(document, dict):
        return Conflist(name, trouble="it is no JSON object")
    plugins = document.get("plugins", [document])
    if not isinstance(plugins, list) or not all(isinstance(one, dict) for one in plugins):
        return Conflist(name, trouble="plugins is no list of objects")
    network = str(document.get("name", ""))
    try:
        compiled = [
            _compiled(one, network, str(document.get("cniVersion", ""))) for one in plugins if _is_ours(one)
        ]
    except CniError as error:
        return Conflist(name, plugins, network, error.message)
    return Conflist(name, plugins, network, compiled=compiled[0] if compiled else None)


def _is_ours(plugin: dict[str, Any]) -> bool:
    return plugin.get("type") == "anypod"


def _compiled(plugin: dict[str, Any], network: str, version: str) -> Network:
    """The network as ADD would have it; what is wrong with it ends in CniError."""
    from cni.netconf import compile_network

    conf = {**plugin, "name": network, "cniVersion": version}
    return compile_network(conf, config_version(conf))
