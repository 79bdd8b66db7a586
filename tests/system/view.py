"""What stands in a node and its pods, looked at without starting a program: for tests of thousands of cases."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from typing import TYPE_CHECKING

from cni import refusals
from cni.link import Address, Link, address_dump, link_dump
from cni.netlink import NetlinkSocket, attributes, message
from cni.netns import enter
from cni.network import ip_text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node

_NETFILTER = 12
_GET_GENERATION = 10 << 8 | 16
_GENERATION = 1
_RUNNING = ("-wal", "-shm", "-journal")
_SET = re.compile(r"^\t(?:set|map) (?P<name>\S+) \{(?P<body>.*?)^\t\}", re.DOTALL | re.MULTILINE)
_OF_THE_NODE = ("masquerade4", "masquerade6", "bridges", "hairpins")
_HELD = {
    "attachment": "SELECT network, container, ifname, host_ifname FROM attachment",
    "address": "SELECT network, hex(ip), container, ifname FROM address WHERE container IS NOT NULL",
    "element": "SELECT set_name, hex(key), container, ifname FROM element",
    "vip": "SELECT hex(ip), container, ifname FROM vip",
}
Shown = dict[str, list[str]]


def enter_namespace(name: str) -> None:
    """Moves this process into a named network namespace."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(fd)
    finally:
        os.close(fd)


class View:
    """Sockets in the namespaces of a node and of its pods. Leaves the process in the node's."""

    def __init__(self, node: Node) -> None:
        self.pods = tuple(node.pods)
        self._state = node.state
        self._sockets: dict[str, NetlinkSocket] = {}
        for namespace in (*node.pods, node.name):
            enter_namespace(namespace)
            self._sockets[namespace] = NetlinkSocket(timeout=30)
        self._netfilter = NetlinkSocket(protocol=_NETFILTER, timeout=30)
        self._rules: tuple[bytes, str] = (b"", "")

    def close(self) -> None:
        for one in (*self._sockets.values(), self._netfilter):
            one.close()

    def links(self, namespace: str) -> list[Link]:
        return [Link(payload) for _, payload in self._sockets[namespace].dump(link_dump())]

    def request(self, namespace: str, message: bytes) -> None:
        """Has the kernel do something in a namespace."""
        self._sockets[namespace].request([message])

    def _shown(self, namespace: str) -> list[str]:
        """Links with their addresses but for link-local ones, which come and go with the carrier."""
        found = self._addresses(namespace)
        return sorted(
            f"{link.name} {link.kind} {link.mtu} {link.alias} {' '.join(sorted(found.get(link.index, ())))}"
            for link in self.links(namespace)
        )

    def _addresses(self, namespace: str) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for _, payload in self._sockets[namespace].dump(address_dump()):
            one = Address(payload)
            if one.ip[:2] != b"\xfe\x80":
                found.setdefault(one.index, []).append(f"{ip_text(one.ip)}/{one.prefixlen}")
        return found

    def addresses(self, namespace: str, name: str) -> list[str]:
        """The addresses of one link, but for link-local ones."""
        found = self._addresses(namespace)
        return [
            text
            for link in self.links(namespace)
            if link.name == name
            for text in sorted(found.get(link.index, ()))
        ]

    def rules(self) -> str:
        """The nftables of the node; read anew when the kernel's generation of them is another one."""
        body = self._netfilter.get(message(_GET_GENERATION, 1, (bytes(4),)))[1]
        generation = attributes(body, 4)[_GENERATION]
        if generation != self._rules[0]:
            argv = ["nft", "list", "ruleset"]
            text = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
            self._rules = (generation, text)
        return self._rules[1]

    def elements(self) -> list[str]:
        """What our sets and maps hold of attachments, and not of the node."""
        return [
            f"{one['name']} {' '.join(one['body'].partition('elements')[2].split())}"
            for one in _SET.finditer(self.rules())
            if one["name"] not in _OF_THE_NODE and "elements" in one["body"]
        ]

    def snapshot(self) -> Shown:
        """All that an attachment could leave behind, in comparable form."""
        found = {namespace: self._shown(namespace) for namespace in self._sockets}
        found["nftables"] = self.rules().splitlines()
        found["state"] = held(self._state)
        found["files"] = sorted(files(self._state))
        return found


def files(state: Path) -> set[str]:
    """The names in the state directory but for what SQLite makes while it runs, and for the word of refused ADDs."""
    try:
        found = {entry.name for entry in os.scandir(state) if not entry.name.endswith(_RUNNING)}
        return found - {refusals.FILE}
    except FileNotFoundError:
        return set()


def held(state: Path) -> list[str]:
    """What the state file says to be held, by whom: `address pods 0AF40102 container ifname` and the like."""
    path = state / "state.db"
    if not path.exists():
        return []
    db = sqlite3.connect(path, timeout=30)
    try:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return sorted(
            " ".join((table, *map(str, row)))
            for table, query in _HELD.items()
            if table in tables
            for row in db.execute(query).fetchall()
        )
    finally:
        db.close()


def difference(before: Shown, after: Shown) -> str:
    """What was there only before (-) and only after (+); empty where nothing differs."""
    lines = []
    for place in sorted(before.keys() | after.keys()):
        old, new = before.get(place, []), after.get(place, [])
        lines += [f"{place}: - {one}" for one in old if one not in new]
        lines += [f"{place}: + {one}" for one in new if one not in old]
        if not lines and sorted(old) != sorted(new):
            lines.append(f"{place}: {old} became {new}")
    return "\n".join(lines)
