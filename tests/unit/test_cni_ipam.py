"""The allocator against a book kept in memory, and against a simple model of what it promises."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.errors import INVALID_CONFIG, CniError
from cni.ipam import REST, choose, requested
from cni.network import Range, to_bytes


class Memory:
    """The state file's answers, from dictionaries."""

    def __init__(self) -> None:
        self.cursors: dict[str, bytes] = {}
        self.holders: dict[bytes, str] = {}
        self.released: dict[bytes, str] = {}
        self.since: dict[bytes, int] = {}
        self.now = 1

    def cursor(self, pool: str) -> bytes | None:
        return self.cursors.get(pool)

    def move_cursor(self, pool: str, to: bytes) -> None:
        self.cursors[pool] = to

    def passes(self, pool: str, ip: bytes) -> bool:
        return ip in self.holders or self.released.get(ip) == pool

    def longest_released(self, pool: str, but: bytes, before: int) -> bytes | None:
        waiting = (ip for ip, owner in self.released.items() if owner == pool and ip != but)
        return next((ip for ip in waiting if self.since[ip] < before), None)

    def any_released(self, first: bytes, last: bytes, but: bytes) -> bytes | None:
        return next((ip for ip in self.released if first <= ip <= last and ip != but), None)

    def take(self, *ranges: Range) -> str:
        found = choose(self, ranges, self.now)
        assert found is not None
        one, ip = found
        assert ip not in self.holders
        self.released.pop(ip, None)
        self.holders[ip] = one.pool
        return str(ip_address(ip))

    def give_back(self, text: str) -> None:
        ip = ip_address(text).packed
        self.released[ip] = self.holders.pop(ip)
        self.since[ip] = self.now
        self.now += 1


def subnet(text: str, first: int = 1, last: int | None = None, gateway: int = 1) -> Range:
    net = ip_network(text)
    start = int(net.network_address)
    end = net.num_addresses - 2 if last is None else last
    return Range(net.version, start, net.prefixlen, start + first, start + end, start + gateway)


def test_addresses_come_in_order_and_the_gateway_is_left_out() -> None:
    book = Memory()
    assert [book.take(subnet("10.1.0.0/29")) for _ in range(5)] == [f"10.1.0.{n}" for n in range(2, 7)]


def test_a_gateway_in_the_middle_is_left_out() -> None:
    book = Memory()
    assert [book.take(subnet("10.1.0.0/29", gateway=3)) for _ in range(3)] == [
        "10.1.0.1",
        "10.1.0.2",
        "10.1.0.4",
    ]


def test_an_exhausted_range_has_no_address() -> None:
    book = Memory()
    one = subnet("10.1.0.0/29")
    for _ in range(5):
        book.take(one)
    assert choose(book, [one], book.now) is None


def test_an_address_that_is_asked_for_comes_from_the_range_that_has_it() -> None:
    ranges = [subnet("10.1.0.0/29"), subnet("10.2.0.0/29")]
    wanted = [ip_address(text).packed for text in ("fd00::5", "10.3.0.2", "10.2.0.4")]
    assert requested(ranges, wanted) == (ranges[1], wanted[2])
    assert requested(ranges, wanted[:2]) is None
    with pytest.raises(CniError, match=r"requested ip 10\.1\.0\.1 is subnet's gateway") as caught:
        requested(ranges, [b"\x0a\1\0\1"])
    assert caught.value.code == INVALID_CONFIG


def test_a_released_address_rests_while_others_were_never_given() -> None:
    book = Memory()
    one = subnet("10.1.0.0/29")
    book.give_back(book.take(one))
    assert book.take(one) == "10.1.0.3"


def test_the_longest_released_comes_back_first() -> None:
    book = Memory()
    one = subnet("10.1.0.0/29")
    held = [book.take(one) for _ in range(5)]
    for text in (held[3], held[0], held[4]):
        book.give_back(text)
    assert [book.take(one) for _ in range(3)] == [held[3], held[0], held[4]]


def test_the_second_range_of_a_set_serves_when_the_first_is_exhausted() -> None:
    book = Memory()
    ranges = (subnet("10.1.0.0/30"), subnet("10.2.0.0/30"))
    assert [book.take(*ranges) for _ in range(2)] == ["10.1.0.2", "10.2.0.2"]


def test_a_widened_range_keeps_what_is_held_and_finds_what_the_old_one_released() -> None:
    book = Memory()
    narrow, wide = subnet("10.1.0.0/28", last=4), subnet("10.1.0.0/28")
    held = [book.take(narrow) for _ in range(3)]
    book.give_back(held[1])
    taken = [book.take(wide) for _ in range(11)]
    assert held[1] in taken
    assert not set(taken) & {held[0], held[2]}


def test_what_an_old_range_releases_late_is_found_before_exhaustion_is_told() -> None:
    book = Memory()
    narrow, wide = subnet("10.1.0.0/29", last=4), subnet("10.1.0.0/29")
    held = [book.take(narrow) for _ in range(3)]
    for _ in range(2):
        book.take(wide)
    book.give_back(held[0])
    assert book.take(wide) == held[0]


def test_an_ipv6_subnet_of_any_size_costs_one_step() -> None:
    book = Memory()
    assert [book.take(subnet("fd00::/64", last=(1 << 64) - 1)) for _ in range(2)] == ["fd00::2", "fd00::3"]


def test_a_gateway_that_pods_had_before_is_not_given_out_and_hides_no_other() -> None:
    book = Memory()
    before, after = subnet("10.1.0.0/29"), subnet("10.1.0.0/29", gateway=3)
    held = [book.take(before) for _ in range(5)]
    for text in held[1:4]:
        book.give_back(text)
    assert [book.take(after) for _ in range(2)] == held[2:4]


def test_in_a_range_too_large_to_be_used_up_an_hour_of_rest_is_enough() -> None:
    book = Memory()
    large = subnet("fd00::/64", last=(1 << 64) - 1)
    book.give_back(book.take(large))
    assert book.take(large) == "fd00::3"
    book.now += REST
    assert book.take(large) == "fd00::2"


@given(st.lists(st.integers(0, 20), max_size=120))
def test_no_address_is_given_twice_and_none_comes_back_before_longer_released_ones(moves: list[int]) -> None:
    """Even numbers take an address, odd ones give back the n-th held; compared with a queue."""
    book = Memory()
    one = subnet("10.1.0.0/28")
    queue = [f"10.1.0.{n}" for n in range(2, 15)]
    held: list[str] = []
    for move in moves:
        if move % 2 and held:
            text = held.pop(move % len(held))
            book.give_back(text)
            queue.append(text)
        elif not move % 2 and queue:
            taken = book.take(one)
            assert taken == queue.pop(0)
            held.append(taken)
    assert {str(ip_address(ip)) for ip in book.holders} == set(held)


def test_packed_addresses_keep_their_order() -> None:
    assert to_bytes(1, 4) < to_bytes(255, 4) < to_bytes(256, 4)
