"""What is made of an IPAM plugin's answer: any version's shape is read, a wrong one is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni.delegate import Delegated, read_answer
from cni.errors import CniError
from cni.network import ip_text

# The same address and routes in the shape of each version.
ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "10.8.0.0/16", "gw": "10.9.0.254"}]
DNS = {"nameservers": ["10.9.0.53"], "domain": "a.example", "search": ["b.example"], "options": ["ndots:2"]}
LEGACY = {
    "ip4": {"ip": "10.9.0.5/24", "gateway": "10.9.0.1", "routes": ROUTES},
    "ip6": {"ip": "fd09::5/64", "gateway": "fd09::1", "routes": [{"dst": "::/0", "gw": "fd09::1"}]},
    "dns": DNS,
}
CURRENT: dict[str, Any] = {
    "ips": [
        {"address": "10.9.0.5/24", "gateway": "10.9.0.1"},
        {"address": "fd09::5/64", "gateway": "fd09::1"},
    ],
    "routes": [*ROUTES, {"dst": "::/0", "gw": "fd09::1"}],
    "dns": DNS,
}
WITH_IP_VERSION = CURRENT | {
    "ips": [{"version": "4", **CURRENT["ips"][0]}, {"version": "6", **CURRENT["ips"][1]}]
}
ONE = {"ips": [{"address": "10.9.0.5/24"}]}


def read(answer: object, version: str = "1.0.0") -> Delegated:
    return read_answer("fake", answer if isinstance(answer, str) else json.dumps(answer), version)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    ("version", "answer"),
    [
        ("0.1.0", LEGACY),
        ("0.2.0", LEGACY),
        ("0.3.0", WITH_IP_VERSION),
        ("0.3.1", WITH_IP_VERSION),
        ("0.4.0", WITH_IP_VERSION),
        ("1.0.0", CURRENT),
        ("1.1.0", CURRENT),
    ],
)
def test_a_result_of_each_version_is_read(version: str, answer: dict[str, object], own: bool) -> None:
    """Without a version of its own, a result has that of the configuration."""
    found = read(answer | ({"cniVersion": version} if own else {}), "1.0.0" if own else version)
    assert [(one.text(), ip_text(one.gateway)) for one in found.addresses] == [
        ("10.9.0.5/24", "10.9.0.1"),
        ("fd09::5/64", "fd09::1"),
    ]
    assert [(ip_text(one.dst), one.prefixlen, one.gateway) for one in found.routes] == [
        ("0.0.0.0", 0, None),
        ("10.8.0.0", 16, b"\x0a\x09\x00\xfe"),
        ("::", 0, b"\xfd\x09" + bytes(13) + b"\x01"),
    ]
    assert found.dns == DNS


def test_a_routes_details_are_kept() -> None:
    route = {"dst": "10.7.1.9/16", "mtu": 1400, "advmss": 1360, "priority": 50, "table": 100, "scope": 253}
    routes = read(ONE | {"routes": [route | {"gw": "0.0.0.0"}, {"dst": "10.6.0.0/16"}]}).routes
    first, second = routes
    assert ip_text(first.dst) == "10.7.0.0"
    assert (first.mtu, first.advmss, first.priority, first.table, first.scope) == (1400, 1360, 50, 100, 253)
    # Zeros say that there is none; not to give one leaves it to the address' gateway.
    assert (first.gateway, second.gateway) == (bytes(4), None)
    assert (second.mtu, second.table, second.scope) == (0, 0, -1)


def test_little_is_enough() -> None:
    found = read(ONE | {"routes": None, "dns": {"nameservers": [], "domain": ""}, "interfaces": None})
    assert [(one.text(), one.gateway) for one in found.addresses] == [("10.9.0.5/24", b"")]
    assert (found.routes, found.dns) == ([], {})


def test_two_addresses_of_one_family_are_two() -> None:
    found = read({"ips": [{"address": "10.9.0.5/24"}, {"address": "10.9.0.6/24"}]})
    assert [one.text() for one in found.addresses] == ["10.9.0.5/24", "10.9.0.6/24"]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[]",
        '"10.9.0.5"',
        "{",
        "{} {}",
        "garbage \x1b[0m",
        '{"ips": [NaN]}',
        "[" * 100_000,
        {},
        {"ips": []},
        {"ips": {}},
        {"ips": "10.9.0.5/24"},
        {"ips": [None]},
        {"ips": ["10.9.0.5/24"]},
        {"ips": [{}]},
        {"ips": [{"address": 5}]},
        {"ips": [{"address": "10.9.0.5"}]},
        {"ips": [{"address": "10.9.0.5/33"}]},
        {"ips": [{"address": "10.9.0.5/-1"}]},
        {"ips": [{"address": "10.9.0.5/0"}]},
        {"ips": [{"address": "10.9.0.300/24"}]},
        {"ips": [{"address": "10.9.0.5/\u0662\u0664"}]},
        {"ips": [{"address": "0.0.0.0/24"}]},
        {"ips": [{"address": "127.0.0.5/8"}]},
        {"ips": [{"address": "224.0.0.5/24"}]},
        {"ips": [{"address": "255.255.255.255/24"}]},
        {"ips": [{"address": "::/64"}]},
        {"ips": [{"address": "::1/64"}]},
        {"ips": [{"address": "ff02::5/64"}]},
        {"ips": [{"address": "10.9.0.5/24"}, {"address": "10.9.0.5/16"}]},
        {"ips": [{"address": "10.9.0.5/24", "gateway": "fd09::1"}]},
        {"ips": [{"address": "10.9.0.5/24", "gateway": 1}]},
        {"ips": [{"address": "10.9.0.5/24", "interface": 0}]},
        ONE | {"routes": {"dst": "10.0.0.0/8"}},
        ONE | {"routes": [{}]},
        ONE | {"routes": [{"dst": "10.0.0.0"}]},
        ONE | {"routes": [{"dst": "10.0.0.0/8", "gw": "fd09::1"}]},
        ONE | {"routes": [{"dst": "10.0.0.0/8", "mtu": -1}]},
        ONE | {"routes": [{"dst": "10.0.0.0/8", "table": "main"}]},
        ONE | {"routes": [{"dst": "10.0.0.0/8", "priority": 1 << 32}]},
        ONE | {"routes": [{"dst": "10.0.0.0/8", "scope": True}]},
        ONE | {"dns": [DNS]},
        ONE | {"dns": "10.9.0.53"},
        ONE | {"dns": {"nameservers": "10.9.0.53"}},
        ONE | {"dns": {"nameservers": [1]}},
        ONE | {"dns": {"domain": ["a"]}},
        ONE | {"cniVersion": "9.9.9"},
        ONE | {"cniVersion": 1},
        LEGACY | {"cniVersion": "1.0.0"},
        CURRENT | {"cniVersion": "0.2.0"},
    ],
    ids=lambda answer: ascii(answer)[:60],
)
def test_an_answer_of_a_wrong_shape_is_code_6_and_names_the_plugin(answer: object) -> None:
    with pytest.raises(CniError) as caught:
        read(answer)
    error = caught.value
    assert error.code == 6, error.message
    assert "ipam.type 'fake'" in error.message
    assert len(error.message) < 1000
    assert "stdin" not in error.message
