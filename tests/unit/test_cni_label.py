"""What the alias of a pod's link keeps of its virtual IPs, and what it does with words that nobody of ours wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.allocation import Vip
from cni.healthcheck import parse_check
from cni.jsonio import dump
from cni.label import MAX_BYTES, label, read

OWNER = f"anypod pods {'c' * 64}/eth0"
CHECK = dump(parse_check("http://:8080/healthz interval=2").compiled())


def vip(ip: str, via: str, number: int, weight: int = 1, check: str = CHECK, pool: str = "edge") -> Vip:
    return Vip(ip, via, number, weight, check, pool)


def fields(vips: list[Vip]) -> list[tuple[object, ...]]:
    return sorted((one.ip, one.via, one.nexthop, one.weight, one.health, one.pool) for one in vips)


def behind(text: str) -> str:
    assert text.startswith(f"{OWNER} ")
    return text.removeprefix(f"{OWNER} ")


@pytest.mark.parametrize(
    "vips",
    [
        [vip("198.51.100.10", "10.1.0.5", 0x60000001)],
        [vip("198.51.100.10", "10.1.0.5", 0x60000001, 7), vip("2001:db8::10", "fd00::5", 0x60000002, 7)],
        [
            vip("198.51.100.10", "fd00::5", 0x60000001, check=""),
            vip("2001:db8::1", "fd00::5", 0x60000001, check=""),
        ],
        [vip("198.51.100.10", "10.1.0.5", 9), vip("203.0.113.1", "10.1.0.5", 9, pool="open")],
    ],
)
def test_what_is_written_is_read(vips: list[Vip]) -> None:
    text = label(OWNER, vips)
    assert len(text) <= MAX_BYTES
    assert fields(read(behind(text))) == fields(vips)


def test_too_many_for_the_alias_are_left_out_whole() -> None:
    vips = [vip(f"198.51.100.{number}", "10.1.0.5", 9) for number in range(1, 30)]
    assert label(OWNER, vips) == OWNER
    assert len(label(OWNER, vips[:4])) <= MAX_BYTES


def test_one_of_each_family_with_a_check_fits_behind_a_container_id_of_a_runtime() -> None:
    vips = [
        vip("198.51.100.110", "10.244.111.254", 0x6FFFFFFF, 100),
        vip("2001:db8:a::110", "fd00:244:111::254", 0x6FFFFFFE, 100),
    ]
    assert label(OWNER, vips) != OWNER


@given(st.text(max_size=200))
def test_other_words_are_no_virtual_ips(text: str) -> None:
    assert read(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '[0,null,{"10.1.0.5":9},{"a":["198.51.100.1"]}]',
        '["1",null,{"10.1.0.5":9},{"a":["198.51.100.1"]}]',
        '[1,["icmp"],{"10.1.0.5":9},{"a":["198.51.100.1"]}]',
        '[1,null,{"10.1.0.5":"x"},{"a":["198.51.100.1"]}]',
        '[1,null,{"10.1.0.5":9},{"a":["2001:db8::1"]}]',
        '[1,null,{"10.1.0":9},{"a":["198.51.100.1"]}]',
        '[1,null,{"10.1.0.5":9},{"a":["198.51.100"]}]',
        '[1,null,{"10.1.0.5":9},["198.51.100.1"]]',
        '[1,null,{"10.1.0.5":9},{"a":["198.51.100.1"]}',
    ],
)
def test_a_label_that_does_not_fit_together_is_none(text: str) -> None:
    assert read(text) == []
