"""What a container runtime does with a CNI plugin: environment, netconf on stdin, results kept."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab import netns
from lab.commands import attempt
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

IFNAME = "eth0"
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Attachment:
    """A pod's interface as the plugin reported it; addresses are written "10.0.0.5/24"."""

    pod: str
    node: str
    network: str
    namespace: str
    addresses: tuple[str, ...]

    def address(self, version: int) -> str:
        """The bare address of that IP version."""
        for address in self.addresses:
            if (":" in address) == (version == 6):
                return address.partition("/")[0]
        raise LabError(f"pod {self.pod} was given no IPv{version} address; it has {self.addresses}")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The runtime of one node."""

    plugin: Path
    namespace: str  # the node's
    configs: Path  # where its conflists are
    results: Path  # where it keeps results

    def attach(
        self, container: str, pod_namespace: str, network: str, runtime_config: Mapping[str, object]
    ) -> dict[str, Any]:
        """ADD; returns the plugin's result and keeps it with what it was asked for."""
        asked = {"runtimeConfig": dict(runtime_config)} if runtime_config else {}
        result = self._call("ADD", container, pod_namespace, self._config(network) | asked)
        kept = self._kept(container, network)
        kept.touch(0o600)
        kept.write_text(json.dumps(asked | {"prevResult": result}))
        return result

    def check(self, container: str, pod_namespace: str, network: str) -> None:
        """CHECK, with the result of the ADD."""
        self._call("CHECK", container, pod_namespace, self._with_result(container, network))

    def detach(self, container: str, pod_namespace: str, network: str) -> None:
        """DEL, with the result of the ADD; it may be repeated."""
        self._call("DEL", container, pod_namespace, self._with_result(container, network))
        self._kept(container, network).unlink(missing_ok=True)

    def _kept(self, container: str, network: str) -> Path:
        return self.results / f"{container}-{network}.json"

    def _config(self, network: str) -> dict[str, Any]:
        """The netconf of the first plugin in the list, with the list's name and version put in."""
        document = json.loads((self.configs / f"10-{network}.conflist").read_text())
        return {**document["plugins"][0], "name": document["name"], "cniVersion": document["cniVersion"]}

    def _with_result(self, container: str, network: str) -> dict[str, Any]:
        config = self._config(network)
        try:
            config.update(json.loads(self._kept(container, network).read_text()))
        except FileNotFoundError:
            return config
        return config

    def _call(self, verb: str, container: str, pod_namespace: str, config: dict[str, Any]) -> dict[str, Any]:
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(netns.DIRECTORY / pod_namespace),
            "CNI_IFNAME": IFNAME,
            "CNI_PATH": str(self.plugin.parent),
        }
        argv = netns.inside(self.namespace, [str(self.plugin)])
        done = attempt(argv, stdin=json.dumps(config), env=env, seconds=SECONDS)
        try:
            answer = json.loads(done.stdout or "{}")
        except ValueError:
            raise LabError(f"plugin {verb} of {container} wrote no JSON: {done.stdout[:200]!r}") from None
        if done.status != 0 or not isinstance(answer, dict):
            text = (
                f"{answer.get('msg', '')} {answer.get('details', '')}".strip()
                if isinstance(answer, dict)
                else ""
            )
            raise LabError(f"plugin {verb} of {container} in {self.namespace}: {text or done.reason}")
        return answer
