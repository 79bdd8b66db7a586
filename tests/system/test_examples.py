"""What examples/ and README.md show runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lab.installed import Installation
    from tests.system.plugin_node import Node

ROOT = Path(__file__).resolve().parents[2]
CONFLISTS = {path.name: path.read_text() for path in (ROOT / "examples/netconf").glob("*.conflist")}


def shown(language: str) -> str:
    """The one piece of README.md in that language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(text)


@pytest.mark.parametrize("text", [*CONFLISTS.values(), shown("json")], ids=[*CONFLISTS.keys(), "README.md"])
def test_conflist_connects_a_pod(node: Node, text: str) -> None:
    conflist: dict[str, Any] = json.loads(text)
    (conf,) = conflist["plugins"]
    conf |= {"cniVersion": conflist["cniVersion"], "name": conflist["name"], "stateDir": str(node.state)}
    pod = node.pod()
    result = node.add("c1", pod, conf)
    ranges = conf["ipam"].get("ranges", [None])
    assert len(result["ips"]) == len(ranges)
    assert all(node.pings(pod, one["gateway"]) for one in result["ips"])
    node.delete("c1", pod, conf)


@pytest.mark.parametrize("source", ["examples/speaker.toml", "README.md"])
def test_speaker_toml_is_valid(installation: Installation, tmp_path: Path, source: str) -> None:
    file = tmp_path / "speaker.toml"
    file.write_text(shown("toml") if source == "README.md" else (ROOT / source).read_text())
    argv = [*installation.anypod, "speaker", "check", "--config", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
