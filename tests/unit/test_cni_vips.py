"""What a pod asks of anycast, by its runtime or by its annotations, none of them trusted."""

from __future__ import annotations

from typing import Any

import pytest

from cni.errors import INVALID_CONFIG, CniError
from cni.healthcheck import load
from cni.jsonio import parse
from cni.network import packed
from cni.request import ANNOTATIONS, Request, parse_request
from cni.spec import Call

VIP = "anypod.dev/anycast"


def ask(runtime: object = None, **annotations: object) -> Request:
    """`check` and `weight` stand for the annotations of those names, `vips` for the one of the addresses."""
    names = {"vips": VIP, "check": f"{VIP}-check", "weight": f"{VIP}-weight"}
    conf: dict[str, object] = {
        "runtimeConfig": {
            "anycast": runtime,
            ANNOTATIONS: {names[key]: value for key, value in annotations.items()},
        }
    }
    return parse_request(Call("ADD", "c1", "/run/netns/x", "eth0"), conf)


def test_who_asks_nothing_gets_nothing() -> None:
    for request in (ask(), ask({}), ask(vips="", check="", weight=""), ask({"vips": [], "check": None})):
        assert (request.vips, request.check, request.weight) == ([], "", 0)


def test_an_annotation_lists_addresses_of_both_families() -> None:
    request = ask(vips=" 198.51.100.10, 2001:db8::10 ,198.51.100.10,2001:DB8:0::10", weight="100")
    assert request.vips == [packed("198.51.100.10"), packed("2001:db8::10")]
    assert (request.vips_key, request.weight) == (VIP, 100)
    # As with every annotation of ours, the state file keeps it.
    assert VIP in request.annotations


def test_the_check_is_kept_compiled() -> None:
    check = load(parse(ask(check="http://:8080/healthz interval=2").check))
    assert (str(check), check.interval) == ("http://:8080/healthz", 2.0)


def test_the_runtime_goes_before_an_annotation_key_by_key() -> None:
    runtime = {"vips": ["198.51.100.1"], "weight": 3.0}
    request = ask(runtime, vips="198.51.100.2", check="tcp://:53", weight="7")
    assert (request.vips, request.weight) == ([packed("198.51.100.1")], 3)
    assert request.vips_key == "runtimeConfig.anycast.vips"
    assert load(parse(request.check)).port == 53
    assert ask({"check": "tcp://:1"}, check="tcp://:2").check == ask(check="tcp://:1").check


@pytest.mark.parametrize(
    ("runtime", "annotations", "message"),
    [
        (
            None,
            {"vips": "198.51.100.10/32"},
            "anypod.dev/anycast: '198.51.100.10/32' is no IP address; write",
        ),
        (None, {"vips": "198.51.100.10,"}, "anypod.dev/anycast: '' is no IP address"),
        (None, {"vips": "198.51.100.10 198.51.100.11"}, "is no IP address; .* with commas"),
        (None, {"vips": "198.51.100.010"}, "is no IP address"),
        (None, {"vips": "fe80::1%eth0"}, "is no IP address"),
        (None, {"vips": "\0"}, "is no IP address"),
        (None, {"vips": "\ud800"}, "is no IP address"),
        (None, {"vips": ["198.51.100.10"]}, "is no string of at most 4096 characters"),
        (None, {"vips": ",".join(["198.51.100.10"] * 10000)}, "is no string of at most 4096 characters"),
        (None, {"vips": ",".join(f"198.51.100.{n}" for n in range(65))}, "has 65 addresses; a pod .* 64"),
        (
            {"vips": [f"198.51.100.{n}" for n in range(65)]},
            {},
            "runtimeConfig.anycast.vips: has 65 addresses",
        ),
        ({"vips": ["198.51.100.10"] * 10000}, {}, "runtimeConfig.anycast.vips: has 10000 entries"),
        ({"vips": "198.51.100.10"}, {}, "runtimeConfig.anycast.vips: '198.51.100.10' is no list"),
        ({"vips": [7]}, {}, "runtimeConfig.anycast.vips: 7 is no string"),
        (["198.51.100.10"], {}, "runtimeConfig.anycast: .* is no JSON object"),
        (
            None,
            {"check": "exec:/bin/true"},
            "anycast-check: 'exec:/bin/true' is a command, which only the netconf",
        ),
        (
            {"check": "exec:/bin/true"},
            {},
            "runtimeConfig.anycast.check: .* is a command, which only the netconf",
        ),
        ({"check": 7}, {}, "runtimeConfig.anycast.check: 7 is no health check"),
        (None, {"check": "tcp://10.0.0.1:53"}, "anycast-check: .* is a URL whose host is not left out"),
        (None, {"weight": "0"}, "anypod.dev/anycast-weight: 0 is no whole number from 1 to 100"),
        (None, {"weight": "101"}, "anypod.dev/anycast-weight: 101 is no whole number from 1 to 100"),
        (None, {"weight": "1.5"}, "anypod.dev/anycast-weight: '1.5' is no whole number"),
        (None, {"weight": "-1"}, "anypod.dev/anycast-weight: '-1' is no whole number"),
        ({"weight": True}, {}, "runtimeConfig.anycast.weight: True is no whole number"),
    ],
)
def test_what_is_malformed_is_refused_by_key_value_and_fix(
    runtime: object, annotations: dict[str, Any], message: str
) -> None:
    with pytest.raises(CniError, match=message) as caught:
        ask(runtime, **annotations)
    assert caught.value.code == INVALID_CONFIG
    assert len(caught.value.message) < 400
