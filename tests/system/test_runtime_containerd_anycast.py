"""Virtual IPs under containerd's CRI service: a pod's annotation, as the kubelet hands it on, and the examples."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cni.healthcheck import load
from cni.network import ip_text
from tests.system.cri_client import CriError
from tests.system.runtime_host import wait

if TYPE_CHECKING:
    from tests.system.containerd_rig import Containerd
    from tests.system.runtime_host import RuntimeHost

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/netconf"
VIP4, VIP6 = "198.51.100.10", "2001:db8:a::10"
# Of a namespace that the first example's pool is for.
OF_DNS = {"name": "web", "uid": "web", "namespace": "dns"}


def anycast(name: str) -> dict[str, Any]:
    """An example of the repository. The reference plugin keeps its list where no result of a runtime is."""
    conflist: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    conflist["plugins"][0]["ipam"]["dataDir"] = "/run/host-local"
    return conflist


def served(host: RuntimeHost) -> list[tuple[Any, ...]]:
    """The virtual IPs of the state file: container, address, the way to it, weight, check and pool."""
    if not (host.node.state / "state.db").exists():
        return []
    with closing(sqlite3.connect(f"file:{host.node.state}/state.db?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT container, ip, via, weight, health, pool FROM vip ORDER BY ip").fetchall()
    return [(container, ip_text(ip), ip_text(via), *rest) for container, ip, via, *rest in rows]


@pytest.mark.parametrize("name", ["50-anycast.conflist", "60-anycast-chained.conflist"])
def test_an_annotation_makes_a_sandbox_an_endpoint(containerd: Containerd, name: str) -> None:
    host = containerd.host
    containerd.configure(anycast(name))
    containerd.start()
    annotations = {
        "anypod.dev/anycast": f"{VIP4}, {VIP6}",
        "anypod.dev/anycast-check": "tcp://:8080 interval=2",
        "anypod.dev/anycast-weight": "7",
    }
    sandbox = containerd.run(annotations=annotations, metadata=OF_DNS)
    containerd.serve(sandbox, 8080)
    four, six = containerd.addresses(sandbox)
    assert [row[:4] for row in served(host)] == [(sandbox, VIP6, six, 7), (sandbox, VIP4, four, 7)]
    assert {str(load(json.loads(row[4]))) for row in served(host)} == {"tcp://:8080"}
    for vip, via in ((VIP4, four), (VIP6, six)):
        host.run("ip", "route", "add", vip, "via", via)
        # The reference bridge's own IPv6 address takes its time.
        wait(f"{vip} answers", partial(host.answers, vip, 8080))
        assert host.ask(vip, 8080) == host.ask(via, 8080)
    plain = containerd.run()
    assert {row[0] for row in served(host)} == {sandbox}
    containerd.remove(sandbox)
    containerd.remove(plain)
    assert (served(host), host.left_over()) == ([], {})


@pytest.mark.parametrize("name", ["50-anycast.conflist", "60-anycast-chained.conflist"])
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("192.0.2.1", "anypod.dev/anycast: 192.0.2.1 is in none of the network's pools: edge"),
        ("198.51.100.10/32", "anypod.dev/anycast: .* is no IP address; write it like"),
        (",".join(["198.51.100.10"] * 10000), "is no string of at most 4096 characters"),
    ],
)
def test_an_annotation_that_is_not_granted_ends_the_sandbox_with_our_words(
    containerd: Containerd, name: str, asked: str, says: str
) -> None:
    host = containerd.host
    containerd.configure(anycast(name))
    containerd.start()
    with pytest.raises(CriError, match=says):
        containerd.run(annotations={"anypod.dev/anycast": asked})
    assert (served(host), host.left_over()) == ([], {})
    assert containerd.sandboxes() == {}


def test_an_annotation_for_another_namespace_s_pool_ends_the_sandbox(containerd: Containerd) -> None:
    """containerd tells the plugin the pod's namespace, which here is `tests`."""
    containerd.configure(anycast("50-anycast.conflist"))
    containerd.start()
    with pytest.raises(
        CriError, match=r"of pool edge, which is for .* dns or team-\*, and this pod is of tests"
    ):
        containerd.run(annotations={"anypod.dev/anycast": VIP4})
    assert containerd.host.left_over() == {}
