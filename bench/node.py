"""A node for a benchmark: a network namespace that this process goes into, and namespaces of pods."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cni.netns import SELF, enter, open_netns
from lab import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

# The kernel takes namespaces down after `ip netns delete` came back. What is measured next must not pay for it.
SETTLE_SECONDS = 1.0


@dataclass
class Node:
    """The name that its namespaces begin with, a directory for its state, and the namespaces of pods made so far."""

    name: str
    directory: Path
    _pods: list[str] = field(default_factory=list)

    def pods(self, count: int) -> list[str]:
        """So many namespaces that no pod was in yet."""
        made = [f"{self.name}-{len(self._pods) + number}" for number in range(count)]
        for pod in made:
            self._pods.append(pod)
            netns.add(pod)
        return made

    def remove_pods(self) -> None:
        """Removes them, and waits until the kernel has."""
        for pod in self._pods:
            netns.delete(pod)
        self._pods.clear()
        time.sleep(SETTLE_SECONDS)


@contextlib.contextmanager
def node(topic: str) -> Iterator[Node]:
    """This process is inside of the node until the end, and with it what it starts: a call costs no entering."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # what was made is removed also then
    name = f"anypod-bench-{topic}{os.getpid()}"
    with tempfile.TemporaryDirectory(dir="/run", prefix=f"{name}-") as directory:
        here = os.open(SELF, os.O_RDONLY | os.O_CLOEXEC)
        made = Node(name, Path(directory))
        try:
            netns.add(name)
            _go(f"/run/netns/{name}")
            yield made
        finally:
            enter(here)
            os.close(here)
            made.remove_pods()
            netns.delete(name)


def _go(path: str) -> None:
    fd = open_netns(path)
    enter(fd)
    os.close(fd)
