"""Configurations that are refused say key, value and fix; those that are taken mean what host-local means."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from cni.jsonio import dump, parse
from cni.netconf import _validator, compile_network
from cni.network import Network, ip_text, load
from cni.unserved import refuse_unserved_call

GOOD: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "type": "anypod",
    "isGateway": True,
    "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]},
}


def changed(path: str, value: object) -> dict[str, Any]:
    conf = deepcopy(GOOD)
    place: Any = conf
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    for part in parents:
        place = place[part]
    place[last] = value
    return conf


def one_range(**keys: object) -> dict[str, Any]:
    return changed("ipam.ranges", [[{"subnet": "10.1.0.0/24"} | keys]])


def texts(network: Network) -> list[list[str]]:
    return [[str(one) for one in ranges] for ranges in network.range_sets]


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (changed("bridge", ""), r'bridge: "" does not keep the rule minLength 1'),
        (changed("bridge", "a-name-of-16-char"), "bridge: .*maxLength 15"),
        (changed("bridge", "a/b"), "bridge: .*pattern"),
        (changed("bridge", "br%d"), "bridge: .*pattern"),
        (changed("bridge", "cni0\n"), "bridge: .*pattern"),
        (changed("bridge", "all"), "bridge: .*not"),
        (changed("isGateway", "yes"), 'isGateway: "yes" must be of type boolean'),
        (changed("mtu", -1), "mtu: -1 does not keep the rule minimum 0"),
        (changed("mtu", 900), "mtu: 900 is below 1280"),
        (changed("mtu", 1.5), "mtu: 1.5 must be of type integer"),
        (changed("ipam", {}), "ipam.ranges: no range to allocate from"),
        (changed("ipam", "host-local"), "ipam: .* must be of type object"),
        (changed("ipam.ranges", [[{}]]), r"ipam\.ranges\[0\]\[0\]\.subnet: is missing; set it"),
        (changed("ipam.ranges", [[]]), r"ipam\.ranges\[0\]: \[\] does not keep the rule minItems 1"),
        (one_range(subnet="10.1.0.0"), r"ranges\[0\]\[0\]\.subnet: .* without its prefix length"),
        (one_range(subnet="10.1.0.0/33"), "subnet: .* is no subnet"),
        (one_range(subnet="10.1.0.5/24"), "has host bits set.*length 24 the network address is 10.1.0.0"),
        (one_range(subnet="10.1.0.0/255.255.255.0"), "without its prefix length"),
        (one_range(subnet="0.0.0.0/0"), "no subnet that pods can have"),
        (one_range(subnet="224.0.1.0/24"), "no subnet that pods can have"),
        (one_range(subnet="fe80::/64"), "no subnet that pods can have"),
        (one_range(gateway="10.1.0.255"), "network or broadcast address"),
        (
            changed(
                "ipam.ranges",
                [
                    [
                        {"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.9"},
                        {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20", "gateway": "10.1.0.19"},
                    ]
                ],
            ),
            r"ranges\[0\]\[1\]\.gateway: 10.1.0.19 is another gateway",
        ),
        (one_range(subnet="10.1.0.0/31"), "too small to allocate from"),
        (one_range(subnet="fd00::/127"), "too small to allocate from"),
        (one_range(rangeStart="10.2.0.5"), "rangeStart: .*not in network 10.1.0.0/24"),
        (one_range(rangeEnd="10.1.1.5"), "rangeEnd: .*not in network 10.1.0.0/24"),
        (one_range(rangeEnd="10.1.0.255"), "network or broadcast address"),
        (one_range(rangeStart="10.1.0.9", rangeEnd="10.1.0.8"), "rangeStart: .*behind rangeEnd 10.1.0.8"),
        (one_range(rangeStart="fd00::1"), "of another family than subnet"),
        (one_range(rangeStart="here"), "is no IP address"),
        (one_range(gateway="10.9.0.1"), "gateway: .*outside 10.1.0.0/24"),
        (one_range(gateway="fe80::1%eth0"), "an address with a zone"),
        (one_range(rangeStart="10.1.0.1", rangeEnd="10.1.0.1"), "the gateway and all of the range"),
        (
            changed("ipam.ranges", [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]),
            r"ipam\.ranges\[0\]: IPv4 and IPv6 in one set",
        ),
        (
            changed("ipam.ranges", [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]),
            r"ranges\[0\]\[0\] .* overlaps ipam\.ranges\[1\]\[0\]",
        ),
        (changed("ipam", {"rangeStart": "10.1.0.5"}), "ipam.rangeStart: .*without ipam.subnet"),
        (
            changed("ipam.routes", [{"dst": "0.0.0.0/0", "gw": "fd00::1"}]),
            r"routes\[0\]\.gw: .*another family",
        ),
        (changed("ipam.routes", [{"gw": "10.1.0.1"}]), r"ipam\.routes\[0\]\.dst: is missing"),
        (changed("stateDir", "state"), "stateDir: .*pattern"),
    ],
)
def test_a_wrong_configuration_is_refused_by_key_value_and_fix(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(CniError, match=message) as caught:
        compile_network(conf, "1.0.0")
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("vlan", 100),
        ("promiscMode", True),
        ("macspoofchk", True),
        ("forceAddress", True),
        ("ipMasqBackend", "iptables"),
        ("preserveDefaultVlan", False),
        ("portIsolation", True),
        ("ipam.type", "dhcp"),
        ("ipam.resolvConf", "/etc/resolv.conf"),
        ("ipam.routes", [{"dst": "0.0.0.0/0", "mtu": 1400}]),
    ],
)
def test_what_is_not_served_is_refused_and_not_dropped(path: str, value: object) -> None:
    with pytest.raises(CniError, match=path.rpartition(".")[2]) as caught:
        compile_network(changed(path, value), "1.0.0")
    assert caught.value.code == UNSUPPORTED_FIELD


@pytest.mark.parametrize(
    ("path", "value"), [("vlan", 0), ("promiscMode", False), ("ipMasqBackend", "nftables")]
)
def test_a_reference_key_that_asks_for_nothing_is_taken(path: str, value: object) -> None:
    assert compile_network(changed(path, value), "1.0.0").name == "pods"


def test_unknown_keys_are_others_business() -> None:
    assert compile_network(changed("x-team", {"a": 1}), "1.0.0").bridge == "cni0"


@pytest.mark.parametrize(
    "extra",
    [
        {"prevResult": {"ips": []}},
        {"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80}]}},
        {"runtimeConfig": {"ips": ["10.1.0.9"]}},
        {"args": {"cni": {"mac": "02:00:00:00:00:01"}}},
    ],
)
def test_a_call_that_asks_for_more_than_is_served_is_refused(extra: dict[str, object]) -> None:
    with pytest.raises(CniError) as caught:
        refuse_unserved_call(GOOD | extra, {})
    assert caught.value.code == UNSUPPORTED_FIELD


def test_an_address_asked_for_by_argument_is_refused() -> None:
    with pytest.raises(CniError, match="CNI_ARGS IP") as caught:
        refuse_unserved_call(GOOD, {"IgnoreUnknown": "1", "IP": "10.1.0.9"})
    assert caught.value.code == UNSUPPORTED_FIELD


def test_annotations_of_a_pod_are_no_reason_to_refuse() -> None:
    refuse_unserved_call(GOOD | {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": "b"}}}, {})


def test_defaults_are_those_of_host_local() -> None:
    network = compile_network(GOOD, "1.0.0")
    assert texts(network) == [["10.1.0.1-10.1.0.254"], ["fd00::1-fd00::ffff:ffff:ffff:ffff"]]
    assert [
        ip_text(one.gateway.to_bytes(4 if one.family == 4 else 16, "big")) for one in network.ranges()
    ] == [
        "10.1.0.1",
        "fd00::1",
    ]
    assert (network.bridge, network.mtu, network.routes) == ("cni0", 0, [])


def test_the_old_form_is_a_first_set_of_one_range() -> None:
    ipam = {"subnet": "10.9.0.0/24", "rangeStart": "10.9.0.10", "ranges": [[{"subnet": "fd00::/64"}]]}
    assert texts(compile_network(changed("ipam", ipam), "1.0.0")) == [
        ["10.9.0.10-10.9.0.254"],
        ["fd00::1-fd00::ffff:ffff:ffff:ffff"],
    ]


def test_is_default_gateway_adds_the_default_routes_that_ipam_does_not_have() -> None:
    conf = changed("isDefaultGateway", True)
    conf["ipam"]["routes"] = [{"dst": "0.0.0.0/0", "gw": "10.1.0.7"}, {"dst": "10.96.0.0/12"}]
    network = compile_network(conf, "1.0.0")
    gateways = [bytes([10, 1, 0, 1]), b"\xfd" + bytes(14) + b"\1"]
    routes = network.routes_with(gateways)
    shown = [(ip_text(one.dst), one.prefixlen, one.gateway and ip_text(one.gateway)) for one in routes]
    assert shown == [("0.0.0.0", 0, "10.1.0.7"), ("10.96.0.0", 12, None), ("::", 0, "fd00::1")]
    assert network.is_gateway
    assert len(compile_network(GOOD, "1.0.0").routes_with(gateways)) == 0


@pytest.mark.parametrize("path", ["ipam.routes", "dns", "mtu", "bridge"])
def test_null_is_the_same_as_no_key(path: str) -> None:
    assert (
        compile_network(changed(path, None), "1.0.0").compiled() == compile_network(GOOD, "1.0.0").compiled()
    )


def test_an_mtu_that_json_writes_as_a_fraction_is_a_number_of_bytes() -> None:
    assert repr(compile_network(changed("mtu", 1500.0), "1.0.0").mtu) == "1500"


def test_old_versions_know_one_address_of_a_family() -> None:
    conf = changed("ipam.ranges", [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]])
    assert compile_network(conf, "0.3.0").name == "pods"
    with pytest.raises(CniError, match="knows one address of a family"):
        compile_network(conf, "0.2.0")


def test_a_compiled_network_is_read_back_as_it_was() -> None:
    conf = changed("isDefaultGateway", True)
    conf["dns"] = {"nameservers": ["10.96.0.10"]}
    compiled = compile_network(conf, "1.0.0").compiled()
    assert load(parse(dump(compiled))).compiled() == compiled


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(_validator().schema)
