"""VLAN ids are taken and refused as the reference plugin takes and refuses them."""

from __future__ import annotations

from typing import Any

import pytest

from cni import port
from cni.errors import INVALID_CONFIG, CniError
from cni.link import Link
from cni.netconf import compile_network
from cni.netlink import attribute
from cni.network import Network
from cni.vlan import join, wanted
from tests.unit.netconf_rig import changed, layer2


@pytest.mark.parametrize("vlan", [0, 1, 100, 4094, 100.0])
def test_a_vlan_that_is_one_is_taken(vlan: float) -> None:
    assert repr(compile_network(changed("vlan", vlan), "1.0.0").vlan) == str(int(vlan))


@pytest.mark.parametrize(("vlan", "shown"), [(-100, "-100"), (4095, "4095"), (5000, "5000"), (1e30, "1")])
def test_a_vlan_that_is_none_is_refused(vlan: float, shown: str) -> None:
    with pytest.raises(CniError, match=f"vlan: {shown}.*must be between 0 and 4094") as caught:
        compile_network(changed("vlan", vlan), "1.0.0")
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    ("trunk", "vlans"),
    [
        ([], []),
        ([{}], []),
        ([{"id": 10}], [10]),
        ([{"minID": 100, "maxID": 105}], [100, 101, 102, 103, 104, 105]),
        ([{"id": 10}, {"minID": 100, "maxID": 102}], [10, 100, 101, 102]),
        ([{"id": 101, "minID": 100, "maxID": 102}, {"id": 10}], [10, 100, 101, 102]),
        ([{"minID": 7, "maxID": 7}], [7]),
        ([{"minID": 1, "maxID": 4094}], list(range(1, 4095))),
    ],
)
def test_a_trunk_is_the_vlans_of_all_its_entries(trunk: list[object], vlans: list[int]) -> None:
    assert list(compile_network(changed("vlanTrunk", trunk), "1.0.0").vlan_trunk) == vlans


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"minID": 100}, "minID and maxID should be configured simultaneously, maxID is missing"),
        ({"maxID": 100}, "minID and maxID should be configured simultaneously, minID is missing"),
        ({"minID": -1, "maxID": 105}, r"vlanTrunk\[1\]\.minID: -1 .*incorrect trunk minID parameter"),
        ({"minID": 0, "maxID": 105}, "minID: 0 .*incorrect trunk minID parameter"),
        ({"minID": 5000, "maxID": 105}, "minID: 5000 .*incorrect trunk minID parameter"),
        ({"minID": 100, "maxID": 5000}, "maxID: 5000 .*incorrect trunk maxID parameter"),
        ({"minID": 100, "maxID": -1}, "maxID: -1 .*incorrect trunk maxID parameter"),
        ({"minID": 1000, "maxID": 100}, "minID: 1000 is greater than maxID 100"),
        ({"id": 5000}, "id: 5000 .*incorrect trunk id parameter"),
        ({"id": -1}, "id: -1 .*incorrect trunk id parameter"),
        ({"id": 0}, "id: 0 .*incorrect trunk id parameter"),
        ({"id": "10"}, r'vlanTrunk\[1\]\.id: "10" must be of type integer'),
        (10, r"vlanTrunk\[1\]: 10 must be of type object"),
        (None, r"vlanTrunk\[1\]: null must be of type object"),
    ],
)
def test_a_wrong_entry_of_a_trunk_is_refused(item: object, message: str) -> None:
    with pytest.raises(CniError, match=message) as caught:
        compile_network(changed("vlanTrunk", [{"id": 10}, item]), "1.0.0")
    assert caught.value.code == INVALID_CONFIG


def test_the_gateways_interface_has_to_have_a_name() -> None:
    conf: dict[str, Any] = {"bridge": "a-long-bridge", "vlan": 100}
    with pytest.raises(CniError, match=r'bridge: "a-long-bridge" is too long: .*a-long-bridge\.100'):
        compile_network(changed("isGateway", True) | conf, "1.0.0")
    assert compile_network(layer2(isGateway=True) | conf, "1.0.0").vlan == 100
    assert compile_network(changed("isGateway", False) | conf, "1.0.0").vlan == 100


def bridge(default: int) -> Link:
    """A bridge whose ports are in VLAN `default` from the start, as the kernel would tell it."""
    found = Link(bytes(16))
    found.data = attribute(port.IFLA_BR_VLAN_DEFAULT_PVID, default.to_bytes(2, "little"))
    return found


@pytest.mark.parametrize(
    ("fields", "vlans"),
    [
        ({"vlan": 100}, {1: False, 100: True}),
        ({"vlan": 100, "preserve_default_vlan": False}, {100: True}),
        ({"vlan": 1, "preserve_default_vlan": False}, {1: True}),
        ({"vlan_trunk": [101, 200, 201]}, {1: True, 101: False, 200: False, 201: False}),
        ({"vlan": 100, "vlan_trunk": [100, 101]}, {1: False, 100: True, 101: False}),
        ({"vlan": 100, "vlan_trunk": [101], "preserve_default_vlan": False}, {100: True, 101: False}),
    ],
)
def test_a_port_is_in_its_vlan_and_those_of_its_trunk(fields: dict[str, Any], vlans: dict[int, bool]) -> None:
    assert wanted(Network("pods", **fields), bridge(1)) == vlans


def test_a_port_leaves_the_default_vlan_before_it_joins_its_own() -> None:
    network = Network("pods", vlan=100, preserve_default_vlan=False)
    assert join(network, bridge(1), 7) == [port.port_vlan_delete(7, 1), port.port_vlans_add(7, 100, ())]
    assert join(network, bridge(0), 7) == [port.port_vlans_add(7, 100, ())]
    kept = Network("pods", vlan=100, vlan_trunk=[5, 6])
    assert join(kept, bridge(1), 7) == [port.port_vlans_add(7, 100, [5, 6])]
    assert join(kept, bridge(1), 7, trunk=False) == [port.port_vlans_add(7, 100, ())]
