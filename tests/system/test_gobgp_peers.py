"""Every option of a peer reaches a real gobgpd, comes back from it, and does at the other end what it says."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import DynamicPeers, Family, Peer, PrefixLimit
from tests.system.gobgp_steered import BOTH, KINDS, Steered, options, steered_in

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=KINDS)
def steered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    with steered_in(tmp_path_factory.mktemp("steered"), request.param) as steered:
        yield steered


V4, V6 = frozenset({Family.IPV4}), frozenset({Family.IPV6})
FAR = ip_address("192.0.2.1")
KEPT = {
    "plain": Peer(FAR, options(65002)),
    "port": Peer(FAR, options(65002), port=1179),
    "description": Peer(FAR, options(65002), description="the rack"),
    "iBGP": Peer(FAR, options(65001)),
    "32 bit AS": Peer(FAR, options(4200000000)),
    "local AS": Peer(FAR, options(65002, local_asn=64999)),
    "IPv4 only": Peer(FAR, options(65002, families=V4)),
    "IPv6 only": Peer(ip_address("2001:db8::1"), options(65002, families=V6)),
    "password": Peer(FAR, options(65002, password="s3cret")),  # noqa: S106
    "local address": Peer(FAR, options(65002, local_address=ip_address("192.0.2.7"))),
    "passive": Peer(FAR, options(65002, passive=True)),
    "multihop": Peer(FAR, options(65002, multihop_ttl=3)),
    "TTL security": Peer(FAR, options(65002, ttl_security=1)),
    "TTL security over hops": Peer(FAR, options(65002, ttl_security=255)),
    "timers": Peer(FAR, options(65002, connect_retry=77, hold=180, keepalive=50)),
    "graceful restart": Peer(FAR, options(65002, restart_time=120)),
    "reflector client": Peer(FAR, options(65001, reflector_client=True)),
    "cluster id": Peer(FAR, options(65001, reflector_client=True, cluster_id="10.0.0.99")),
    "prefix limits": Peer(
        FAR, options(65002, prefix_limits=(PrefixLimit(Family.IPV4, 10), PrefixLimit(Family.IPV6, 20, 90)))
    ),
    "one prefix limit": Peer(FAR, options(65002, prefix_limits=(PrefixLimit(Family.IPV6, 20, 90),))),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_peer_comes_back_as_it_went(steered: Steered, name: str) -> None:
    peer = KEPT[name]
    steered.add(peer)
    try:
        (found,) = steered.do(steered.session.peers())
        assert found.peer == peer
        assert found.peer.description == peer.description
        assert (found.group, found.address, found.established) == ("", str(peer.address), False)
    finally:
        steered.remove(peer.key)
    assert steered.do(steered.session.peers()) == []


def test_a_group_comes_back_as_it_went(steered: Steered) -> None:
    group = DynamicPeers(
        "pods",
        (ip_network("10.9.0.0/16"), ip_network("2001:db8::/48")),
        options(65001, families=BOTH, restart_time=60, reflector_client=True, cluster_id="10.0.0.99"),
        description="hosts that speak BGP",
    )
    session = steered.session
    for _ in range(2):
        steered.do(session.add_dynamic_peers(group))
        (found,) = steered.do(session.dynamic_peers())
        assert (found, found.description) == (group, group.description)
        steered.do(session.remove_dynamic_peers(group))
        assert steered.do(session.dynamic_peers()) == []
    steered.do(session.remove_dynamic_peers(group))
