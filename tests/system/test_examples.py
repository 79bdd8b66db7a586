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


FIRST_POD = (ROOT / "docs/first-pod.md").read_text()
FIRST_POD_BLOCKS = [text for _, text in re.findall(r"```(\w*)\n(.*?)```", FIRST_POD, re.DOTALL)]
(FIRST_CONFLIST,) = [text for text in FIRST_POD_BLOCKS if text[0] == "{"]
ALONE = {name: text for name, text in CONFLISTS.items() if "chained" not in name} | {
    "README.md": shown("json"),
    "kubernetes": KUBERNETES,
    "first-pod.md": FIRST_CONFLIST,
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


def test_first_pod_by_hand(node: Node, tmp_path: Path) -> None:
    """The page's own lines, with other places; the service that answers is left out."""
    conflist = json.loads(FIRST_CONFLIST)
    conflist["plugins"][0]["stateDir"] = str(node.state)
    file = tmp_path / "10-anypod.conflist"
    file.write_text(json.dumps(conflist))
    (head, end) = [text for text in FIRST_POD_BLOCKS if "plugin " in text]
    pod = node.pod()
    places = {
        "ip netns add web\n": "",
        "/run/netns/web": f"/run/netns/{pod}",
        "/etc/cni/net.d/10-anypod.conflist": str(file),
        "/opt/cni/bin/anypod": str(node.plugin),
    }
    head = head.partition("ip netns exec")[0]
    for shown, real in places.items():
        assert shown in head
        head = head.replace(shown, real)

    def do(script: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", node.name, "bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    result = json.loads(do(head))
    assert [one["address"] for one in result["ips"]] == ["10.244.1.2/24"]
    assert on_lo(node, pod) == {"198.51.100.10/32"}
    assert node.held()
    do(head.removesuffix("plugin ADD\n") + end.partition("\n")[0])
    assert not node.held()


def test_first_racks_configuration_is_one_that_frr_takes(tmp_path: Path) -> None:
    pieces = [text for text in FIRST_POD_BLOCKS if "router bgp" in text]
    file = tmp_path / "frr.conf"

    def status(text: str) -> int:
        file.write_text(text)
        return subprocess.run(
            ["vtysh", "-C", "-f", file], capture_output=True, timeout=60, check=False
        ).returncode

    assert [status(text) for text in pieces] == [0, 0]
    assert status(pieces[0].replace("ebgp-requires-policy", "ebgp-needs-policy")) != 0


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
