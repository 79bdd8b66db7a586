"""What examples/ and README.md show runs as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.anycast_rig import ANNOTATIONS, V4, V6, ips, on_lo
from tests.system.conflist import Attachment, Conflist

if TYPE_CHECKING:
    from lab.installed import Installation
    from tests.system.plugin_node import Node

ROOT = Path(__file__).resolve().parents[2]
CONFLISTS = {path.name: path.read_text() for path in (ROOT / "examples/netconf").glob("*.conflist")}
KUBERNETES = (ROOT / "examples/kubernetes/10-anypod.conflist").read_text()


def shown(language: str) -> str:
    """The one piece of README.md in that language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(text)


ALONE = {name: text for name, text in CONFLISTS.items() if "chained" not in name} | {
    "README.md": shown("json"),
    "kubernetes": KUBERNETES,
}


@pytest.mark.parametrize("text", ALONE.values(), ids=ALONE.keys())
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


@pytest.mark.parametrize("name", ["50-anycast.conflist", "60-anycast-chained.conflist"])
def test_conflist_gives_a_pod_virtual_ips_by_annotation(node: Node, name: str) -> None:
    conflist: dict[str, Any] = json.loads(CONFLISTS[name])
    plugins = conflist["plugins"]
    plugins[-1]["stateDir"] = str(node.state)
    if len(plugins) > 1:
        plugins[0]["ipam"]["dataDir"] = f"{node.state}-data"
    the_list = Conflist(node, plugins, conflist["cniVersion"], conflist["name"])
    annotations = {"anypod.dev/anycast": f"{V4}, {V6}", "anypod.dev/anycast-check": "tcp://:80"}
    one = Attachment("c1", node.pod(), capabilities={ANNOTATIONS: annotations})
    one.args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=dns;K8S_POD_NAME=a"
    result = the_list.add(one)
    # The reference bridge's own IPv6 address takes its time.
    assert all(any(node.pings(one.pod, ip["gateway"]) for _ in range(5)) for ip in result["ips"])
    assert on_lo(node, one.pod) == {f"{V4}/32", f"{V6}/128"}
    assert ips(node) == {"c1": [V4, V6]}
    assert the_list.check(one) == {}
    assert the_list.delete(one) == {}
    assert (ips(node), on_lo(node, one.pod), node.links(one.pod)) == ({}, set(), {"lo"})


@pytest.mark.parametrize("source", ["examples/speaker.toml", "examples/kubernetes/speaker.toml", "README.md"])
def test_speaker_toml_is_valid(installation: Installation, tmp_path: Path, source: str) -> None:
    file = tmp_path / "speaker.toml"
    file.write_text(shown("toml") if source == "README.md" else (ROOT / source).read_text())
    argv = [*installation.anypod, "speaker", "check", "--config", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
