"""VLANs on a kernel whose bridges have none: it is said, and nothing is left. Where they have them: tests/vm."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.plugin_node import Node


def has_vlan_filtering() -> bool:
    """Whether bridges of this kernel keep VLANs apart (CONFIG_BRIDGE_VLAN_FILTERING)."""
    argv = ["unshare", "-n", "ip", "link", "add", "br0", "type", "bridge", "vlan_filtering", "1"]
    return subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode == 0


CAN = has_vlan_filtering()
no_filtering = pytest.mark.skipif(CAN, reason="this kernel's bridges have VLAN filtering")
KEYS: list[tuple[str, Any, str]] = [
    ("vlan", 100, "vlan: 100"),
    ("vlanTrunk", [{"minID": 5, "maxID": 7}], "vlanTrunk: [5, 6, 7]"),
]


def wire(node: Node, **keys: object) -> dict[str, Any]:
    """A netconf without addresses."""
    return node.conf(isDefaultGateway=False, ipam={}) | keys


@no_filtering
@pytest.mark.parametrize(("key", "value", "shown"), KEYS)
@pytest.mark.parametrize("ipam", [{}, {"subnet": "10.244.1.0/24"}])
def test_a_kernel_without_vlans_is_said_to_be_one(
    node: Node, key: str, value: object, shown: str, ipam: object
) -> None:
    answer = node.verb("ADD", "c1", node.pod(), node.conf(ipam=ipam) | {key: value})
    assert (answer.status, answer.json["code"]) == (1, 103)
    assert shown in answer.json["msg"]
    assert "no VLAN filtering" in answer.json["msg"]
    # The bridge was made for this network alone.
    assert (node.links(), node.held()) == ({"lo"}, {})


@no_filtering
def test_a_bridge_that_stands_already_stays_where_the_kernel_has_no_vlans(node: Node) -> None:
    node.add("c1", node.pod())
    before = node.traces()
    answer = node.verb("ADD", "c2", node.pod(), node.conf(name="other", vlan=100))
    assert answer.json["code"] == 103
    after = node.traces()
    assert (after["links"], after["held"]) == (before["links"], before["held"])
