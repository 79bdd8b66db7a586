"""Messages for many routes are those for each; prefixes made fast are the usual ones."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni import rtnl
from speaker.desired import KernelRoute, NextHop
from speaker.kernel.bulk import Messages
from speaker.kernel.fibcodec import hops_to_kernel, to_kernel
from speaker.prefixes import hashed_address, host, parsed
from speaker.settings import Kernel

NAMES = {"e0": 7}
PREFIXES = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.2.0.0/16",
    "10.3.4.5/32",
    "::/0",
    "fd00::/64",
    "fd01::/64",
]
HOPS = [(), ("10.0.0.1",), ("10.0.0.1", "10.0.0.2"), ("fe80::1%e0",)]
BUILDERS = [rtnl.route_add, rtnl.route_replace, rtnl.route_delete]


def route(prefix: str, hops: tuple[str, ...]) -> KernelRoute:
    parts = (hop.partition("%") for hop in hops)
    return KernelRoute(
        ip_network(prefix), 1190, frozenset(NextHop(ip_address(one), link) for one, _, link in parts)
    )


@given(
    st.lists(st.tuples(st.sampled_from(PREFIXES), st.sampled_from(HOPS))),
    st.sampled_from(BUILDERS),
    st.sampled_from([254, 100_000]),
)
def test_each_message_is_the_one_for_its_route(
    wanted: list[tuple[str, tuple[str, ...]]], build: object, table: int
) -> None:
    assert callable(build)
    kernel = Kernel(table=table)
    routes = [route(*one) for one in wanted]
    for one, message in zip(routes, Messages(kernel, NAMES.__getitem__).encode(build, routes), strict=True):
        assert message == build(to_kernel(one, hops_to_kernel(one.next_hops, NAMES.__getitem__), kernel))


@given(st.ip_addresses(), st.integers(0, 32))
def test_a_prefix_is_the_usual_one(address: object, length: int) -> None:
    net = ip_network(f"{address}/{length}", strict=False)
    found = parsed(str(net))
    assert found == net
    assert hash(found) == hash(net)
    assert str(found) == str(net)
    assert {net: 1}[found] == 1


@given(st.ip_addresses())
def test_an_address_is_the_usual_one(address: IPv4Address | IPv6Address) -> None:
    found = hashed_address(str(address))
    assert found == address
    assert (hash(found), str(found), found.packed) == (hash(address), str(address), address.packed)
    assert host(found) == ip_network(address)
    assert hash(host(found)) == hash(ip_network(address))


@pytest.mark.parametrize(
    "text", ["", "<nil>", "10.0.0", "10.0.0.256", "fd00::1%eth0", "fd00:::1", "10.0.0.1/32"]
)
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        hashed_address(text)


@pytest.mark.parametrize("text", ["10.0.0.0/255.0.0.0", "10.0.0.0", "10.0.0.0/08"])
def test_another_way_to_write_it_is_the_same(text: str) -> None:
    found = parsed(text)
    assert found == ip_network(text)
    assert str(found) == str(ip_network(text))


@pytest.mark.parametrize(
    "text", ["", "<nil>/24", "10.0.0.1/24", "10.0.0.0/33", "10.0.0/8", "x", "10.0.0.0/-1", "fd00::1/64"]
)
def test_what_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(text)
