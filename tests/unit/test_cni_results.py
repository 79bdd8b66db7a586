"""Results in the shape of each version, and earlier plugins' results read from any of them."""

from __future__ import annotations

from typing import Any

import pytest

from cni.errors import DECODING_FAILURE, CniError
from cni.network import PodAddress, PodRoute
from cni.results import Interface, Result, parse_previous, parse_result
from cni.spec import SUPPORTED

FD = b"\xfd" + bytes(14)


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_result_has_the_shape_of_its_version(version: str) -> None:
    addresses = [
        PodAddress(b"\x0a\1\0\5", 24, b"\x0a\1\0\1"),
        PodAddress(b"\xfd" + bytes(14) + b"\5", 64, b"\xfd" + bytes(15)),
    ]
    routes = [PodRoute(bytes(4), 0, None), PodRoute(bytes(16), 0, b"\xfd" + bytes(15))]
    interfaces = [Interface("cni0", b"\2" * 6), Interface("eth0", b"\4" * 6, "/run/netns/x")]
    shown = Result(interfaces, [(one, 1) for one in addresses], routes).json(version)
    assert shown["cniVersion"] == version
    if version in ("0.1.0", "0.2.0"):
        assert shown["ip4"] == {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]}
        assert shown["ip6"] == {
            "ip": "fd00::5/64",
            "gateway": "fd00::",
            "routes": [{"dst": "::/0", "gw": "fd00::"}],
        }
        assert "interfaces" not in shown
    else:
        expected: dict[str, object] = {"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 1}
        if version in ("0.3.0", "0.3.1", "0.4.0"):
            expected["version"] = "4"
        assert isinstance(shown["ips"], list)
        assert shown["ips"][0] == expected
        assert shown["interfaces"] == [
            {"name": "cni0", "mac": "02:02:02:02:02:02"},
            {"name": "eth0", "mac": "04:04:04:04:04:04", "sandbox": "/run/netns/x"},
        ]
        assert shown["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::"}]


def example() -> Result:
    interfaces = [Interface("cni0", b"\2" * 6, "", 1500), Interface("eth0", b"\4" * 6, "/run/netns/x", 1500)]
    ips = [(PodAddress(b"\x0a\1\0\5", 24, b"\x0a\1\0\1"), 1), (PodAddress(FD + b"\5", 64, b""), 1)]
    routes = [PodRoute(bytes(4), 0, b"\x0a\1\0\1", 1400, 1360, 50, 100, 0)]
    return Result(interfaces, ips, routes, {"nameservers": ["10.1.0.1"]})


@pytest.mark.parametrize("version", SUPPORTED)
def test_only_version_1_1_tells_mtu_and_the_details_of_routes(version: str) -> None:
    shown: Any = example().json(version)
    route = shown["ip4"]["routes"][0] if "ip4" in shown else shown["routes"][0]
    details = {"mtu": 1400, "advmss": 1360, "priority": 50, "table": 100, "scope": 0}
    assert route == {"dst": "0.0.0.0/0", "gw": "10.1.0.1"} | (details if version == "1.1.0" else {})
    for one in shown.get("interfaces", ()):
        assert ("mtu" in one) == (version == "1.1.0")


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_result_of_any_version_is_read_back(version: str) -> None:
    shown = example().json(version)
    again = parse_previous({"prevResult": shown}, version)
    assert again is not None
    assert again.json(version) == shown


def test_the_version_of_the_configuration_counts_where_a_result_says_none() -> None:
    shown = {"ip4": {"ip": "10.1.0.5/24"}}
    found = parse_result(shown, "0.2.0", "prevResult")
    assert [(one.text(), index) for one, index in found.ips] == [("10.1.0.5/24", -1)]


def test_what_an_earlier_plugin_made_comes_first_and_keeps_its_details() -> None:
    earlier = parse_result(
        {
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "net0", "mac": "02:00:00:00:00:01", "sandbox": "/s", "pciID": "0000:00:1f.6"}
            ],
            "ips": [{"address": "192.0.2.5/24", "interface": 0}, {"address": "192.0.2.6/24"}],
            "dns": {"search": ["a"]},
        },
        "1.1.0",
        "prevResult",
    )
    both: Any = (
        Result([Interface("eth0", b"\4" * 6, "/s")], [(PodAddress(b"\x0a\1\0\5", 24, b""), 0)])
        .behind(earlier)
        .json("1.1.0")
    )
    assert [one["name"] for one in both["interfaces"]] == ["net0", "eth0"]
    assert both["interfaces"][0]["pciID"] == "0000:00:1f.6"
    assert [one.get("interface") for one in both["ips"]] == [0, None, 1]
    assert both["dns"] == {"search": ["a"]}


@pytest.mark.parametrize(
    "wrong",
    [
        "text",
        [],
        7,
        {"cniVersion": "9.9.9"},
        {"interfaces": 7},
        {"interfaces": [{"mac": "02:00:00:00:00:01"}]},
        {"interfaces": [{"name": 7}]},
        {"interfaces": [{"name": "a", "mtu": "1500"}]},
        {"ips": [{"address": "10.1.0.5"}]},
        {"ips": [{"address": "10.1.0.5/33"}]},
        {"ips": [{"address": 7}]},
        {"ips": [{"address": "10.1.0.5/24", "gateway": "fd00::1"}]},
        {"ips": [{"address": "10.1.0.5/24", "interface": 4}]},
        {"ips": [{"address": "10.1.0.5/24", "interface": True}]},
        {"routes": [{"dst": "x"}]},
        {"routes": [{"gw": "10.1.0.1"}]},
        {"routes": [{"dst": "0.0.0.0/0", "mtu": -1}]},
        {"routes": "0.0.0.0/0"},
        {"dns": ["10.1.0.1"]},
    ],
)
def test_a_wrong_previous_result_is_code_6(wrong: Any) -> None:
    with pytest.raises(CniError, match="prevResult is no CNI result") as caught:
        parse_previous({"prevResult": wrong}, "1.0.0")
    assert caught.value.code == DECODING_FAILURE
