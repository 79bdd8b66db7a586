"""What one call asks for, by the reference plugins and by anypod: addresses, hardware addresses, ranges, CNI_ARGS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_known import REFUSED
from tests.system.compare_rig import DUAL, V4, V6

if TYPE_CHECKING:
    from tests.system.compare_rig import Both, Seen, Side

MAC = "c2:11:22:33:44:55"
OTHER = "c2:aa:bb:cc:dd:ee"
Request = tuple[dict[str, Any], str]


def cni(**asked: object) -> dict[str, Any]:
    """Asked by `args.cni` of the netconf."""
    return {"args": {"cni": asked}}


def runtime(**asked: object) -> dict[str, Any]:
    """Asked as capabilities."""
    return {"runtimeConfig": asked}


def macs(side: Side, keys: dict[str, Any], args: str) -> Seen:
    pod = side.pod()
    result = side.add("c1", pod, side.conf(**keys), args=args)
    link = next(one for one in side.node.ip("link", namespace=pod) if one["ifname"] == "eth0")
    return {"shown": link["address"], "told": result["interfaces"][2]["mac"]}


@pytest.mark.parametrize(
    ("keys", "args", "given"),
    [
        ({}, f"IgnoreUnknown=1;MAC={MAC}", MAC),
        ({}, f"IgnoreUnknown=true;K8S_POD_NAME=a;MAC={MAC.upper()}", MAC),
        (cni(mac=MAC), "", MAC),
        (runtime(mac=MAC), "", MAC),
        (cni(mac=MAC), f"IgnoreUnknown=1;MAC={OTHER}", MAC),
        (cni(mac=OTHER) | runtime(mac=MAC), "", MAC),
        (cni(mac="") | runtime(mac=""), f"IgnoreUnknown=1;MAC={MAC}", MAC),
    ],
    ids=[
        "CNI_ARGS",
        "upper-case",
        "args",
        "runtimeConfig",
        "args-win",
        "runtimeConfig-wins",
        "empty-is-none",
    ],
)
def test_a_hardware_address_that_is_asked_for(
    both: Both, keys: dict[str, Any], args: str, given: str
) -> None:
    def script(side: Side) -> Seen:
        seen = macs(side, keys, args)
        assert set(seen.values()) == {given}, (side.label, seen)
        return seen

    both.agree(script)


@pytest.mark.parametrize("mac", ["xx", "c2:11:22:33:44", "01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_a_hardware_address_that_no_pod_can_have_is_refused(both: Both, mac: str) -> None:
    def script(side: Side) -> Seen:
        pod = side.pod()
        seen = side.refused(side.call("ADD", "c1", pod, side.conf(**runtime(mac=mac))), "")
        return seen | {"pod": sorted(side.node.links(pod)), "held": side.held()}

    both.agree(script, REFUSED)


@pytest.mark.parametrize(
    ("ipam", "keys", "args", "given"),
    [
        (V4, {}, "IgnoreUnknown=1;IP=10.244.1.77", ["10.244.1.77/24"]),
        (V4, {}, "IgnoreUnknown=1;IP=10.244.1.77/24", ["10.244.1.77/24"]),
        (V6, {}, "IgnoreUnknown=1;IP=fd00:1::77", ["fd00:1::77/64"]),
        (DUAL, {}, "IgnoreUnknown=1;IP=10.244.1.77", ["10.244.1.77/24", "fd00:1::2/64"]),
        (V4, cni(ips=["10.244.1.78"]), "", ["10.244.1.78/24"]),
        (DUAL, cni(ips=["fd00:1::78"]), "", ["10.244.1.2/24", "fd00:1::78/64"]),
        (DUAL, cni(ips=["fd00:1::78", "10.244.1.78"]), "", ["10.244.1.78/24", "fd00:1::78/64"]),
        (V4, runtime(ips=["10.244.1.79"]), "", ["10.244.1.79/24"]),
        (V4, runtime(ips=["10.244.1.79/16"]), "", ["10.244.1.79/24"]),
        (DUAL, runtime(ips=["10.244.1.79", "fd00:1::79/64"]), "", ["10.244.1.79/24", "fd00:1::79/64"]),
        (
            DUAL,
            cni(ips=["10.244.1.80"]) | runtime(ips=["fd00:1::80"]),
            "",
            ["10.244.1.80/24", "fd00:1::80/64"],
        ),
        (
            DUAL,
            runtime(ips=["fd00:1::81"]),
            "IgnoreUnknown=1;IP=10.244.1.81",
            ["10.244.1.81/24", "fd00:1::81/64"],
        ),
        (V4, cni(ips=["10.244.1.82"]), "IgnoreUnknown=1;IP=10.244.1.82", ["10.244.1.82/24"]),
    ],
)
def test_addresses_that_are_asked_for(
    both: Both, ipam: dict[str, Any], keys: dict[str, Any], args: str, given: list[str]
) -> None:
    def script(side: Side) -> Seen:
        result = side.add("c1", side.pod(), side.conf(ipam=ipam, **keys), args=args)
        assert [one["address"] for one in result["ips"]] == given, (side.label, result)
        return {"ips": result["ips"], "held": side.held()}

    both.agree(script)


@pytest.mark.parametrize(
    ("keys", "args", "says"),
    [
        ({}, "IgnoreUnknown=1;IP=10.9.1.77", "10.9.1.77"),
        ({}, "IgnoreUnknown=1;IP=10.244.1.1", "10.244.1.1"),
        ({}, "IgnoreUnknown=1;IP=10.244.1.255", "10.244.1.255"),
        ({}, "IgnoreUnknown=1;IP=fd00:1::77", "fd00:1::77"),
        ({}, "IgnoreUnknown=1;IP=10.244.1.777", "10.244.1.777"),
        (cni(ips=["10.244.1.9", "10.244.1.10"]), "", "10.244.1."),
        (runtime(ips=["10.244.1.99", "10.9.1.9"]), "", "10.9.1.9"),
        (runtime(ips=["nonsense"]), "", "nonsense"),
    ],
    ids=[
        "outside",
        "gateway",
        "broadcast",
        "other-family",
        "malformed",
        "leftover",
        "one-outside",
        "nonsense",
    ],
)
def test_addresses_that_cannot_be_given_are_refused_and_nothing_is_kept(
    both: Both, keys: dict[str, Any], args: str, says: str
) -> None:
    def script(side: Side) -> Seen:
        pod = side.pod()
        seen = side.refused(side.call("ADD", "c1", pod, side.conf(**keys), args=args), says)
        return seen | {"interface left in the pod": side.node.links(pod) != {"lo"}, "held": side.held()}

    both.agree(script, REFUSED | {"failed-add"})


def test_two_addresses_asked_of_one_range_set_by_two_ways(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(**cni(ips=["10.244.1.78"]))
        answer = side.call("ADD", "c1", side.pod(), conf, args="IgnoreUnknown=1;IP=10.244.1.77")
        return {"refused": answer.status != 0, "held": side.held()}

    both.agree(script, {"args-before-cni-args"})


def test_an_address_that_is_taken_is_refused(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(**runtime(ips=["10.244.1.9"]))
        side.add("c1", side.pod(), conf)
        seen = side.refused(side.call("ADD", "c2", side.pod(), conf), "10.244.1.9")
        return seen | {"held": side.held()}

    both.agree(script, REFUSED)


def test_an_address_that_was_asked_for_is_not_given_again_in_turn(both: Both) -> None:
    def script(side: Side) -> Seen:
        side.add("c1", side.pod(), side.conf(**runtime(ips=["10.244.1.3"])))
        given = [side.add(f"d{n}", side.pod(), side.conf())["ips"][0]["address"] for n in range(3)]
        return {"asked for and given": "10.244.1.3/24" in given, "distinct": len(set(given))}

    both.agree(script)


@pytest.mark.parametrize(
    "ipam", [V4, {"ranges": [[{"subnet": "fd00:1::/64"}]]}], ids=["other", "other-family"]
)
def test_ranges_of_the_runtime_come_before_those_of_ipam(both: Both, ipam: dict[str, Any]) -> None:
    def script(side: Side) -> Seen:
        asked = runtime(
            ipRanges=[[{"subnet": "10.9.9.0/24", "rangeStart": "10.9.9.40", "gateway": "10.9.9.4"}]]
        )
        result = side.add("c1", side.pod(), side.conf(ipam=ipam, **asked))
        assert result["ips"][0]["address"] == "10.9.9.40/24", (side.label, result)
        return {"ips": result["ips"], "held": side.held()}

    both.agree(script)


def test_ranges_of_the_runtime_are_enough_alone(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam={"type": "host-local"}, **runtime(ipRanges=[[{"subnet": "10.9.9.0/24"}]]))
        return {"ips": side.add("c1", side.pod(), conf)["ips"], "held": side.held()}

    both.agree(script)


@pytest.mark.parametrize("args", ["FOO=bar", "FOO", "IgnoreUnknown=0;FOO=bar"])
def test_cni_args_that_nobody_knows_are_refused(both: Both, args: str) -> None:
    def script(side: Side) -> Seen:
        seen = side.refused(side.call("ADD", "c1", side.pod(), side.conf(), args=args), "args")
        return seen | {"held": side.held()}

    both.agree(script, REFUSED)


@pytest.mark.parametrize("args", [f"MAC={MAC}", "IP=10.244.1.9"])
def test_cni_args_that_one_of_two_plugins_knows(both: Both, args: str) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(), args=args)
        return {"attached with it alone": answer.status == 0}

    both.agree(script, {"args-of-both"})


def test_cni_args_with_a_value_and_no_key(both: Both) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(), args="IgnoreUnknown=1;=x")
        return {"attached": answer.status == 0}

    both.agree(script, {"args-without-key"})
