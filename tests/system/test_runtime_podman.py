"""The plugin under Podman 4 with its CNI back-end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.outside import NODE, PEER, Outside
from tests.system.podman_rig import Podman

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.pod_image import PodImage
    from tests.system.runtime_host import RuntimeHost

CAPABILITIES = {"portMappings": True, "ips": True, "mac": True, "aliases": True}


def network(name: str, number: int, **keys: object) -> dict[str, Any]:
    """A conflist whose bridge and subnets no other number has."""
    ranges = [[{"subnet": f"10.88.{number}.0/24"}], [{"subnet": f"fd88:{number}::/64"}]]
    plugin = {
        "type": "anypod",
        "bridge": f"cni{number}",
        "isDefaultGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
    }
    plugin |= {"ipam": {"ranges": ranges}, "capabilities": CAPABILITIES, **keys}
    return {"cniVersion": "1.0.0", "name": name, "plugins": [plugin]}


@pytest.fixture
def podman(runtime_host: RuntimeHost, tmp_path: Path, pod_image: PodImage) -> Podman:
    """Podman with one network of ours, which is its default."""
    made = Podman(runtime_host, tmp_path, pod_image, "pods")
    if not made.podman("--version").startswith("podman version 4."):
        pytest.skip("from version 5 on Podman has no CNI back-end")
    made.configure(network("pods", 1))
    made.import_image()
    return made


def test_containers_reach_each_other_and_the_host(podman: Podman, tmp_path: Path) -> None:
    one = podman.run("one")["pods"]
    two = podman.run("two")["pods"]
    assert (one["IPAddress"], one["GlobalIPv6Address"]) == ("10.88.1.2", "fd88:1::2")
    assert podman.ask("one", two["IPAddress"], 8080) == one["IPAddress"]
    assert podman.ask("two", one["GlobalIPv6Address"], 8080, "udp") == two["GlobalIPv6Address"]
    podman.host.start(tmp_path / "server.log", podman.host.program, "serve", "9090")
    assert podman.ask("one", "10.88.1.1", 9090) == one["IPAddress"]
    assert podman.host.ask("10.88.1.2", 8080) == "10.88.1.1"
    podman.remove("one", "two")
    assert podman.host.left_over() == {}


def test_a_restarted_container_is_attached_anew(podman: Podman) -> None:
    podman.run("one")
    podman.podman("restart", "--time", "0", "one")
    address = podman.networks_of("one")["pods"]["IPAddress"]
    assert podman.host.ask(address, 8080) == "10.88.1.1"
    podman.remove("one")
    assert podman.host.left_over() == {}


def test_a_container_in_two_networks_leaves_one_and_keeps_the_other(podman: Podman) -> None:
    podman.configure(network("more", 2, isDefaultGateway=False, isGateway=True))
    found = podman.run("one", "--network", "pods", "--network", "more")
    assert {name: one["IPAddress"] for name, one in found.items()} == {
        "pods": "10.88.1.2",
        "more": "10.88.2.2",
    }
    podman.podman("network", "disconnect", "more", "one")
    assert set(podman.networks_of("one")) == {"pods"}
    assert list(podman.host.node.held().values()) == [("10.88.1.2/24", "fd88:1::2/64")]
    assert podman.host.ask("10.88.1.2", 8080) == "10.88.1.1"
    podman.podman("network", "connect", "more", "one")
    assert podman.host.ask("10.88.2.3", 8080) == "10.88.2.1"
    podman.remove("one")
    assert podman.host.left_over() == {}


def test_a_container_gets_the_addresses_that_it_asks_for(podman: Podman) -> None:
    wish = ["--ip", "10.88.1.77", "--mac-address", "02:00:00:00:00:4d"]
    one = podman.run("one", *wish)["pods"]
    assert (one["IPAddress"], one["MacAddress"]) == ("10.88.1.77", "02:00:00:00:00:4d")
    with pytest.raises(AssertionError, match=r"10\.88\.1\.77"):
        podman.run("two", "--ip", "10.88.1.77")
    podman.remove("one", "two")
    three = podman.run("three", "--ip", "10.88.1.78", "--ip6", "fd88:1::78")["pods"]
    assert (three["IPAddress"], three["GlobalIPv6Address"]) == ("10.88.1.78", "fd88:1::78")
    podman.remove("three")
    assert podman.host.left_over() == {}


def test_a_published_port_leads_to_the_container_until_it_is_removed(podman: Podman) -> None:
    host = podman.host
    outside = Outside(host.node)
    podman.run("one", "-p", "8081:8080", "-p", "127.0.0.1:5353:8080/udp")
    podman.run("two")
    assert host.ask_from(outside.name, NODE["v4"], 8081) == PEER["v4"]
    assert host.ask_from(outside.name, NODE["v6"], 8081) == PEER["v6"]
    assert host.ask("127.0.0.1", 8081)
    assert host.ask("127.0.0.1", 5353, "udp")
    # A neighbour and the container itself: with the node as source, or the answer would not come back this way.
    assert podman.ask("two", NODE["v4"], 8081) == "10.88.1.1"
    assert podman.ask("one", NODE["v4"], 8081) == "10.88.1.1"
    podman.remove("one", "two")
    assert not host.answers("127.0.0.1", 8081)
    assert podman.host.left_over() == {}


def test_a_network_that_podman_made_works_with_only_its_type_changed(podman: Podman) -> None:
    podman.podman("network", "create", "--subnet", "10.90.0.0/24", "--ipv6", "--subnet", "fd90::/64", "made")
    made = json.loads((podman.networks / "made.conflist").read_text())
    assert [one["type"] for one in made["plugins"]] == ["bridge", "portmap", "firewall", "tuning"]
    made["plugins"][0]["type"] = "anypod"
    podman.configure(made)
    one = podman.run("one", "--network", "made", "-p", "8081:8080")["made"]
    assert (one["IPAddress"], one["GlobalIPv6Address"]) == ("10.90.0.2", "fd90::2")
    assert podman.host.ask("10.90.0.1", 8081) == "10.90.0.1"
    podman.remove("one")
    assert podman.host.left_over() == {}


def test_containers_that_were_lost_with_their_namespaces_start_again_and_others_take_their_place(
    podman: Podman,
) -> None:
    """No DEL was called for them: what they hold is taken back when it is asked for again."""
    host = podman.host
    podman.run("started", "-p", "8081:8080")
    podman.run("replaced", "-p", "8082:8080", "--ip", "10.88.1.77")
    podman.lose_pods()
    podman.podman("start", "started")
    assert host.ask(podman.networks_of("started")["pods"]["IPAddress"], 8080) == "10.88.1.1"
    assert host.ask("127.0.0.1", 8081)
    podman.remove("replaced")
    podman.run("new", "-p", "8082:8080", "--ip", "10.88.1.77")
    assert host.ask("127.0.0.1", 8082)
    assert len(host.node.held()) == 2
    podman.remove("started", "new")
    # libcni's own memory of the one that was never deleted.
    assert host.left_over().keys() == {"results"}
