"""A conflist, run as libcni runs it: the plugins in order, each with the result of the one before it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.plugin_node import SECONDS, Answer, Node

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where Debian's containernetworking-plugins puts them.
REFERENCE = Path("/usr/lib/cni")
WITHOUT_CACHED_RESULT = ("0.1.0", "0.2.0", "0.3.0", "0.3.1")

Failures = dict[str, Answer]


@dataclass
class Attachment:
    """What libcni remembers of one attachment: how it was asked for, and the last result."""

    container: str
    pod: str
    ifname: str = "eth0"
    # What the runtime offers; a plugin gets what its `capabilities` name.
    capabilities: dict[str, Any] = field(default_factory=dict)
    args: str = ""
    result: dict[str, Any] | None = None


@dataclass
class Conflist:
    """The list, the node that it runs on, and what stands in CNI_PATH behind our own directory."""

    node: Node
    plugins: list[dict[str, Any]]
    version: str = "1.0.0"
    name: str = "pods"
    directories: Sequence[Path] = (REFERENCE,)

    def try_add(self, one: Attachment) -> Answer:
        """The answer of the first plugin that fails, else of the last one; that result is kept."""
        result = None
        for plugin in self.plugins:
            answer = self.run("ADD", one, plugin, result)
            if answer.status != 0:
                return answer
            result = answer.json
        one.result = result
        return answer

    def add(self, one: Attachment) -> dict[str, Any]:
        """An ADD that must succeed; the last result."""
        answer = self.try_add(one)
        assert answer.status == 0, answer
        return answer.json

    def check(self, one: Attachment) -> Failures:
        """Which plugins fail, each asked with the last result of ADD."""
        answers = {str(plugin["type"]): self.run("CHECK", one, plugin, one.result) for plugin in self.plugins}
        return _failures(answers)

    def delete(self, one: Attachment) -> Failures:
        """Which plugins fail; in reverse order, and before 0.4.0 without a result."""
        previous = None if self.version in WITHOUT_CACHED_RESULT else one.result
        answers = {
            str(plugin["type"]): self.run("DEL", one, plugin, previous) for plugin in reversed(self.plugins)
        }
        return _failures(answers)

    def run(
        self,
        verb: str,
        one: Attachment,
        plugin: dict[str, Any] | None = None,
        previous: dict[str, Any] | None = None,
    ) -> Answer:
        """One plugin of the list, the first by default."""
        conf = self.conf(one, plugin or self.plugins[0])
        conf |= {"prevResult": previous} if previous is not None else {}
        done = subprocess.run(
            ["ip", "netns", "exec", self.node.name, str(self.find(str(conf["type"])))],
            input=json.dumps(conf).encode(),
            env=self.environment(verb, one),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def conf(self, one: Attachment, plugin: dict[str, Any]) -> dict[str, Any]:
        """A plugin's configuration with what the runtime puts in."""
        wanted = [key for key, wanted in plugin.get("capabilities", {}).items() if wanted]
        asked = {key: one.capabilities[key] for key in wanted if key in one.capabilities}
        conf = plugin | {"name": self.name, "cniVersion": self.version}
        if plugin["type"] == "tuning":
            # It keeps there what it changed, in the machine's /run by default.
            conf["dataDir"] = str(self.node.state.parent / "tuning")
        return conf | ({"runtimeConfig": asked} if asked else {})

    def environment(self, verb: str, one: Attachment) -> dict[str, str]:
        path = ":".join(str(directory) for directory in self._path())
        env = self.node.environment(verb, one.container, one.pod, one.ifname)
        return env | {"CNI_PATH": path, "CNI_ARGS": one.args}

    def find(self, kind: str) -> Path:
        return next(found for directory in self._path() if (found := directory / kind).is_file())

    def _path(self) -> list[Path]:
        return [self.node.plugin.parent, *self.directories]


def _failures(answers: dict[str, Answer]) -> Failures:
    return {kind: one for kind, one in answers.items() if (one.status, one.stdout) != (0, "")}
