"""What is taken means what the reference plugins mean; what is wrong is refused by key, value and fix."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from cni.jsonio import dump, parse
from cni.netconf import SAME, compile_network
from cni.network import BUILT_IN, NO_IPAM, Network, PodAddress, ip_text, load
from cni.schema import validator
from tests.unit.netconf_rig import GOOD, changed, layer2


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
        (layer2(mtu=60), "mtu: 60 is below 68"),
        (changed("mtu", 1.5), "mtu: 1.5 must be of type integer"),
        (changed("ipam", "host-local"), "ipam: .* must be of type object"),
        (changed("ipam.type", 7), "ipam.type: 7 must be of type string"),
        (changed("ipam.type", "anypod"), 'ipam.type: "anypod" is no plugin that gives addresses'),
        (changed("ipam.type", "none"), 'ipam.type: "none" is no plugin .*leave ipam out'),
        (changed("ipam.resolvConf", 1), "ipam.resolvConf: 1 must be of type string"),
        (changed("stateDir", "state"), "stateDir: .*pattern"),
        (
            changed("hairpinMode", True) | {"promiscMode": True},
            "hairpinMode: true and promiscMode: true exclude each other",
        ),
        (changed("disableContainerInterface", True), "disableContainerInterface: true.* or ipam"),
        (
            changed("disableContainerInterface", True) | {"ipam": {"type": "static"}},
            "disableContainerInterface: true.* or ipam",
        ),
        (changed("ipMasq", True) | {"ipMasqBackend": "ebpf"}, 'ipMasqBackend: "ebpf" is no backend'),
    ],
)
def test_a_wrong_configuration_is_refused_by_key_value_and_fix(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(CniError, match=message) as caught:
        compile_network(conf, "1.0.0")
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ([{"dst": "0.0.0.0/0", "gw": "fd00::1"}], r"routes\[0\]\.gw: .*another family"),
        ([{"gw": "10.1.0.1"}], r"ipam\.routes\[0\]\.dst: is missing"),
        ([{"dst": "10.2.0.1/16"}], r"routes\[0\]\.dst: .* has host bits set"),
        ([{"dst": "0.0.0.0/0"}, {"dst": "::/0", "mtu": -1}], r"routes\[1\]\.mtu: -1 .*minimum 0"),
        ([{"dst": "0.0.0.0/0", "advmss": "1400"}], r'advmss: "1400" must be of type integer'),
        ([{"dst": "0.0.0.0/0", "table": 1 << 32}], r"table: 4294967296 .*maximum"),
        ([{"dst": "0.0.0.0/0", "scope": 256}], r"scope: 256 .*maximum 255"),
    ],
)
def test_a_wrong_route_is_refused_by_key_value_and_fix(routes: list[object], message: str) -> None:
    with pytest.raises(CniError, match=message) as caught:
        compile_network(changed("ipam.routes", routes), "1.1.0")
    assert caught.value.code == INVALID_CONFIG


def test_masquerade_by_iptables_is_refused_and_not_dropped() -> None:
    conf = changed("ipMasq", True) | {"ipMasqBackend": "iptables"}
    with pytest.raises(CniError, match=r'ipMasqBackend: "iptables" is not served.*"nftables"') as caught:
        compile_network(conf, "1.0.0")
    assert caught.value.code == UNSUPPORTED_FIELD
    # Where nothing is masqueraded, how says nothing.
    assert not compile_network(conf | {"ipMasq": False}, "1.0.0").masquerade


@pytest.mark.parametrize("backend", ["", "nftables"])
def test_masquerade_by_nftables_is_served(backend: str) -> None:
    assert compile_network(changed("ipMasq", True) | {"ipMasqBackend": backend}, "1.0.0").masquerade


@pytest.mark.parametrize(("key", "field"), [(key, field) for key, field in SAME.items() if key != "bridge"])
def test_a_switch_is_off_or_on_as_the_netconf_says(key: str, field: str) -> None:
    without = getattr(compile_network(layer2(), "1.0.0"), field)
    assert without == (key == "preserveDefaultVlan")
    for value in (False, True):
        assert getattr(compile_network(layer2(**{key: value}), "1.0.0"), field) is value


def test_unknown_keys_are_others_business() -> None:
    conf = changed("x-team", {"a": 1}) | {"capabilities": {"portMappings": True}, "args": {"cni": {}}}
    conf["ipam"] |= {"x-note": [None], "dataDir": "/var/lib/cni/other"}
    assert compile_network(conf, "1.0.0").compiled() == compile_network(GOOD, "1.0.0").compiled()


@pytest.mark.parametrize(
    "path", ["ipam.routes", "dns", "mtu", "bridge", "vlan", "vlanTrunk", "ipMasqBackend"]
)
def test_null_is_the_same_as_no_key(path: str) -> None:
    conf = changed(path, None)
    assert compile_network(conf, "1.0.0").compiled() == compile_network(GOOD, "1.0.0").compiled()


def test_the_case_of_a_keys_letters_says_nothing_as_in_go() -> None:
    conf = changed("isgateway", True) | {
        "HairPinMode": True,
        "IPAM": {"Ranges": [[{"SubNet": "10.9.0.0/24"}]]},
    }
    del conf["isGateway"], conf["ipam"]
    network = compile_network(conf, "1.0.0")
    assert (network.is_gateway, network.hairpin) == (True, True)
    assert network.ranges()[0].subnet_text() == "10.9.0.0/24"
    assert compile_network(conf | {"hairpinMode": False}, "1.0.0").hairpin is False
    with pytest.raises(CniError, match="isGateway: 1 must be of type boolean"):
        compile_network(conf | {"isgateway": 1}, "1.0.0")


def test_an_mtu_that_json_writes_as_a_fraction_is_a_number_of_bytes() -> None:
    assert repr(compile_network(changed("mtu", 1500.0), "1.0.0").mtu) == "1500"


@pytest.mark.parametrize("ipam", [None, {}, {"type": ""}])
def test_without_ipam_a_pod_has_layer_2_alone(ipam: object) -> None:
    network = compile_network(changed("ipam", ipam) | {"ipMasq": True, "isDefaultGateway": True}, "1.0.0")
    assert (network.ipam, network.ranges(), network.routes, network.masquerade) == (NO_IPAM, [], (), False)
    assert network.routes_with([]) == []


def test_an_ipam_plugins_keys_are_its_own_business() -> None:
    ipam = {
        "type": "static",
        "ranges": "mine",
        "routes": [{"dst": 7}],
        "addresses": [{"address": "10.9.0.5/24"}],
    }
    network = compile_network(changed("ipam", ipam) | {"ipMasq": True}, "1.0.0")
    assert (network.ipam, network.ranges(), network.routes, network.masquerade) == ("static", [], (), True)


def test_host_local_is_the_built_in_allocator() -> None:
    named = compile_network(changed("ipam.type", "host-local"), "1.0.0")
    assert named.ipam == BUILT_IN
    assert named.compiled() == compile_network(GOOD, "1.0.0").compiled()


def shown(network: Network, addresses: list[PodAddress]) -> list[tuple[str, int, str | None]]:
    routes = network.routes_with(addresses)
    return [
        (ip_text(one.dst), one.prefixlen, ip_text(one.gateway) if one.gateway else None) for one in routes
    ]


def test_is_default_gateway_adds_the_default_routes_that_ipam_does_not_have() -> None:
    conf = changed("isDefaultGateway", True)
    conf["ipam"]["routes"] = [{"dst": "0.0.0.0/0", "gw": "10.1.0.7"}, {"dst": "10.96.0.0/12"}]
    network = compile_network(conf, "1.0.0")
    v4, v6 = bytes([10, 1, 0, 1]), b"\xfd" + bytes(14) + b"\1"
    addresses = [PodAddress(bytes([10, 1, 0, 2]), 24, v4), PodAddress(b"\xfd" + bytes(14) + b"\2", 64, v6)]
    assert shown(network, addresses) == [
        ("0.0.0.0", 0, "10.1.0.7"),
        ("10.96.0.0", 12, None),
        ("::", 0, "fd00::1"),
    ]
    assert network.is_gateway
    assert shown(compile_network(GOOD, "1.0.0"), addresses) == []


def test_routes_of_ipam_carry_what_version_1_1_0_added() -> None:
    full = {
        "dst": "10.96.0.0/12",
        "gw": "10.1.0.9",
        "mtu": 1400,
        "advmss": 1360,
        "priority": 50,
        "table": 1000,
    }
    network = compile_network(changed("ipam.routes", [full | {"scope": 0}, {"dst": "::/0"}]), "1.1.0")
    first, second = network.routes
    assert (first.mtu, first.advmss, first.priority, first.table, first.scope) == (1400, 1360, 50, 1000, 0)
    assert (second.mtu, second.advmss, second.priority, second.table, second.scope) == (0, 0, 0, 0, -1)
    assert [one.compiled() for one in load(network.compiled()).routes] == [
        one.compiled() for one in network.routes
    ]


def test_a_route_of_a_family_that_no_range_has_is_taken_as_it_is() -> None:
    conf = changed("ipam", {"subnet": "10.1.0.0/24", "routes": [{"dst": "::/0"}]})
    assert [ip_text(one.dst) for one in compile_network(conf, "1.0.0").routes] == ["::"]


@pytest.mark.parametrize(
    ("dns", "told", "path"),
    [
        (None, {}, "/etc/resolv.conf"),
        ({"domain": "", "x": 1}, {}, "/etc/resolv.conf"),
        ({"nameservers": []}, {}, ""),
        ({"search": ["a.example"], "x": 1}, {"search": ["a.example"]}, ""),
        ({"domain": "example"}, {"domain": "example"}, ""),
    ],
)
def test_the_netconfs_own_dns_goes_before_the_file_that_ipam_names(
    dns: object, told: dict[str, object], path: str
) -> None:
    network = compile_network(changed("ipam.resolvConf", "/etc/resolv.conf") | {"dns": dns}, "1.0.0")
    assert (network.dns, network.resolv_conf) == (told, path)


def test_a_compiled_network_is_read_back_as_it_was() -> None:
    conf = changed("isDefaultGateway", True) | {"vlan": 7, "vlanTrunk": [{"id": 9}], "enabledad": True}
    conf["dns"] = {"nameservers": ["10.96.0.10"]}
    compiled = compile_network(conf, "1.0.0").compiled()
    assert load(parse(dump(compiled))).compiled() == compiled


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(validator().schema)
