"""What tests of leaks share: GC with a list, the state file under the test's own hand, links as ADD leaves them."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from cni.attach import host_ifname, ifb_ifname, owner_alias
from tests.system.conformance_rig import ask, wait_until
from tests.system.plugin_node import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.plugin_node import Answer, Node

KEY = "cni.dev/valid-attachments"
OLD_KEY = "cni.dev/attachments"
NEWEST = {"cniVersion": "1.1.0"}
MAPPED = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
LIMITED = {
    "bandwidth": {"ingressRate": 10**6, "ingressBurst": 10**6, "egressRate": 10**6, "egressBurst": 10**6}
}
# What gives an attachment something of everything.
WHOLE: dict[str, Any] = {"macspoofchk": True, "runtimeConfig": MAPPED | LIMITED}


def conf(node: Node, **keys: object) -> dict[str, Any]:
    """The usual netconf in the version that has GC and STATUS."""
    return node.conf(**(NEWEST | keys))


def listed(*containers: str) -> list[dict[str, str]]:
    """These containers' eth0 as valid attachments."""
    return [{"containerID": container, "ifname": "eth0"} for container in containers]


def gc(
    node: Node, *valid: str, keys: dict[str, Any] | None = None, variables: dict[str, str] | None = None
) -> Answer:
    """GC with the eth0 of these containers as the valid attachments."""
    document = conf(node, **(keys or {})) | {KEY: listed(*valid), OLD_KEY: listed(*valid)}
    return ask(node, "GC", document, **(variables or {}))


@contextlib.contextmanager
def state(node: Node) -> Iterator[sqlite3.Connection]:
    """The state file, in a transaction."""
    db = sqlite3.connect(node.state / "state.db", isolation_level=None, timeout=20)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()


def rows(node: Node, query: str) -> list[tuple[Any, ...]]:
    """What the state file answers."""
    db = sqlite3.connect(f"file:{node.state / 'state.db'}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def forget(node: Node, container: str) -> None:
    """Takes the record away and leaves what was made, as no verb does."""
    with state(node) as db:
        for table in ("attachment", "address", "element"):
            db.execute(f"DELETE FROM {table} WHERE container = ?", (container,))  # noqa: S608


def age(node: Node, container: str, seconds: int) -> None:
    """Makes an attachment that much older than it is."""
    with state(node) as db:
        db.execute(
            "UPDATE attachment SET created = max(1, created - ?) WHERE container = ?",
            (seconds * 10**9, container),
        )


def port(container: str, ifname: str = "eth0") -> str:
    """The name of the node's end."""
    return host_ifname(container, ifname)


def make_port(node: Node, container: str, network: str = "", bridge: str = "cni0") -> str:
    """A veth pair with the name of an attachment's, an alias if a network is given, and no record."""
    name = port(container)
    node.execute(node.name, "ip", "link", "add", name, "type", "veth", "peer", "name", f"p{name[4:]}")
    if bridge:
        node.execute(node.name, "ip", "link", "set", name, "master", bridge)
    if network:
        node.execute(node.name, "ip", "link", "set", name, "alias", owner_alias(network, container, "eth0"))
    return name


def make_limits(node: Node, container: str, network: str = "") -> str:
    """The device of an attachment's limits, by itself."""
    name = ifb_ifname(container, "eth0")
    node.execute(node.name, "ip", "link", "add", name, "type", "ifb")
    if network:
        node.execute(node.name, "ip", "link", "set", name, "alias", owner_alias(network, container, "eth0"))
    return name


def remove_pod(node: Node, pod: str, container: str) -> None:
    """The pod's namespace goes, and nobody says DEL; the kernel has taken the links away behind this."""
    run("ip", "netns", "del", pod)
    wait_until(lambda: port(container) not in node.links(), f"the link of {container} stays")


def names(directory: Path) -> set[str]:
    """The files of a directory."""
    return {path.name for path in directory.iterdir()}
