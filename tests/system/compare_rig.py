"""The reference plugins and ours, side by side: the same netconf, a node each, and what the kernel shows then."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - a dataclass reads its annotations
from typing import TYPE_CHECKING, Any

from tests.system import compare_look
from tests.system.compare_known import KNOWN
from tests.system.plugin_node import Answer, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Where Debian's containernetworking-plugins puts them.
REFERENCE = "/usr/lib/cni"
V4: dict[str, Any] = {"ranges": [[{"subnet": "10.244.1.0/24"}]]}
V6: dict[str, Any] = {"ranges": [[{"subnet": "fd00:1::/64"}]]}
DUAL: dict[str, Any] = {"ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]}
FAMILIES = {"v4": V4, "v6": V6, "dual": DUAL}
# What Debian's reference plugins know; 1.1.0 is newer than they are.
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")

Seen = dict[str, object]


@dataclass
class Side:
    """One node with one of the two plugins."""

    node: Node
    reference: bool
    folder: Path
    hosts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plugin: Path, folder: Path) -> Side:
        """A node of its own for one of the plugins."""
        return cls(Node(plugin, folder / "state"), plugin.name == "bridge", folder)

    def up(self) -> None:
        self.node.up()
        compare_look.prepare(self.node, self.node.name)

    def down(self) -> None:
        self.node.down()

    def conf(self, *, ipam: dict[str, Any] | None = None, **keys: object) -> dict[str, Any]:
        """One netconf for both, "type" apart: each leaves the key for the other's files alone."""
        inner = V4 if ipam is None else ipam
        return {
            "cniVersion": "1.0.0",
            "name": "pods",
            "type": "bridge" if self.reference else "anypod",
            "bridge": "cni0",
            "stateDir": str(self.folder / "state"),
            "ipam": inner and {"type": "host-local", "dataDir": str(self.folder / "networks")} | inner,
        } | keys

    def pod(self) -> str:
        name = self.node.pod()
        compare_look.prepare(self.node, name)
        return name

    def call(
        self, verb: str, container: str, pod: str, conf: dict[str, Any], ifname: str = "eth0", args: str = ""
    ) -> Answer:
        env = self.node.environment(verb, container, pod, ifname) | {"CNI_PATH": REFERENCE}
        return self.node.call(env | ({"CNI_ARGS": args} if args else {}), json.dumps(conf).encode())

    def add(
        self, container: str, pod: str, conf: dict[str, Any], ifname: str = "eth0", args: str = ""
    ) -> dict[str, Any]:
        """An ADD that must succeed; its result, and the node's end of the pair is known from then on."""
        before = self.node.links()
        answer = self.call("ADD", container, pod, conf, ifname, args)
        assert answer.status == 0, (self.label, answer)
        for name in self.node.links() - before - {str(conf["bridge"])}:
            self.hosts[name] = f"{container}/{ifname}"
        return answer.json

    def delete(self, container: str, pod: str, conf: dict[str, Any], ifname: str = "eth0") -> None:
        answer = self.call("DEL", container, pod, conf, ifname)
        assert (answer.status, answer.stdout) == (0, ""), (self.label, answer)

    def refused(self, answer: Answer, says: str) -> Seen:
        """A refusal as it is compared: the words that both have in common, and the code."""
        assert answer.status != 0, (self.label, answer)
        shown = answer.json
        assert says.lower() in f"{shown['msg']} {shown.get('details', '')}".lower(), (self.label, shown)
        return {"error.code": shown["code"], "error.cniVersion": shown.get("cniVersion", "")}

    def result(self, result: dict[str, Any], pods: dict[str, str]) -> Seen:
        """A result with what differs from run to run replaced by what it stands for."""
        return compare_look.result(self.node, result, pods, self.hosts)

    def look(self, pods: dict[str, str] | None = None) -> Seen:
        """What the kernel shows on the node and in these pods (label to namespace)."""
        return compare_look.kernel(self.node, pods or {}, self.hosts)

    def held(self) -> list[str]:
        """Addresses that are taken in the network `pods`, as each plugin's own files say."""
        if not self.reference:
            return sorted(one.partition("/")[0] for held in self.node.held().values() for one in held)
        folder = self.folder / "networks" / "pods"
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(name for name in names if name[0].isdigit() or ":" in name)

    @property
    def label(self) -> str:
        return "reference" if self.reference else "anypod"


@dataclass
class Both:
    """The two sides of a comparison."""

    reference: Side
    ours: Side

    def agree(self, script: Callable[[Side], Seen], differ: Iterable[str] = ()) -> None:
        """Runs `script` on each side: what it saw is the same, but for the known differences that `differ` names.

        Each of those must be seen: a difference that is gone has to leave table and page.
        """
        seen, ours = (compare_look.flat(script(side)) for side in (self.reference, self.ours))
        names = set(differ)
        found: set[str] = set()
        unknown = []
        for key in sorted(seen.keys() | ours.keys()):
            one, other = seen.get(key, "(absent)"), ours.get(key, "(absent)")
            if one == other:
                continue
            name = next((n for n in sorted(names) if KNOWN[n].covers(key, one, other)), None)
            if name is None:
                unknown.append(f"{key}: reference {one!r}, anypod {other!r}")
            else:
                found.add(name)
        assert not unknown, "unknown differences:\n" + "\n".join(unknown)
        assert found == names, f"known differences that are gone: {sorted(names - found)}"
