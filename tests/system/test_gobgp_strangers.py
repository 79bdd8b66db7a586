"""Peers without an address in the configuration: dynamic ones, and whoever is at the other end of a link."""

from __future__ import annotations

import sys
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from speaker.bgp import DynamicPeers, Family, LocalPath, Peer, Policies, PrefixMatch, Rule, Source
from speaker.gobgp.session import DaemonRefusedError
from tests.system.gobgp_rig import ROOT, run, wait
from tests.system.gobgp_steered import KINDS, OPEN, Neighbour, Steered, options, rack, steered_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.system.gobgp_rig import Member
    from tests.system.peers_routers import Frr

ASN = 65002
OURS = ("10.244.1.0/24", "10.244.2.0/24", "fd24:1::/64")
LOCAL = Rule(accept=True, source=Source.LOCAL)


def known_in(member: Member, interface: str) -> list[IPv6Address]:
    """`known` there."""
    code = (
        "import socket, sys\n"
        "from speaker.gobgp.neighbours import known\n"
        "print(*known(socket.if_nametoindex(sys.argv[1])))\n"
    )
    return [IPv6Address(text) for text in inside(member, code, interface).split()]


def advertise_in(member: Member, interface: str) -> None:
    """`advertise` there."""
    inside(
        member,
        "import sys; from speaker.gobgp.neighbours import advertise; advertise(sys.argv[1])",
        interface,
    )


def exactly(text: str) -> PrefixMatch:
    prefix = ip_network(text)
    return PrefixMatch(prefix, prefix.prefixlen, prefix.prefixlen)


def inside(member: Member, code: str, interface: str) -> str:
    """The output of a piece of Python in a member's namespace."""
    environment = ("env", f"PYTHONPATH={ROOT}")
    return run("ip", "netns", "exec", member.ns, *environment, sys.executable, "-c", code, interface).strip()


def neighbour_in(member: Member, interface: str) -> str:
    """What `neighbour` finds there; its refusal is raised here."""
    code = (
        "import asyncio, sys\n"
        "from speaker.gobgp.neighbours import neighbour\n"
        "from speaker.gobgp.session import DaemonRefusedError\n"
        "try:\n    print(asyncio.run(neighbour(sys.argv[1])))\n"
        "except DaemonRefusedError as error:\n    print('!', error)\n"
    )
    found = inside(member, code, interface)
    if found.startswith("!"):
        raise DaemonRefusedError(found[2:])
    return found


@pytest.fixture(scope="module", params=KINDS)
def steered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steered]:
    with steered_in(tmp_path_factory.mktemp("steered"), request.param) as steered:
        steered.do(
            steered.session.announce(
                [LocalPath(ip_network(text), ip_address("::" if ":" in text else 0)) for text in OURS]
            )
        )
        yield steered


@pytest.fixture(scope="module")
def router(steered: Steered) -> Frr:
    router = rack(steered, ASN)
    router.vtysh(
        "configure terminal", f"router bgp {ASN}", "address-family ipv4 unicast", "network 10.50.0.0/16"
    )
    router.vtysh(
        "configure terminal", f"router bgp {ASN}", "address-family ipv6 unicast", "network fd50::/64"
    )
    return router


# ---- dynamic neighbours


def test_who_comes_from_a_prefix_is_a_peer_until_the_group_goes(steered: Steered, router: Frr) -> None:
    group = DynamicPeers("racks", (ip_network("10.98.0.0/16"),), options(ASN))
    session = steered.session
    only = Rule(
        accept=True, peers=frozenset({"racks"}), prefixes=frozenset({exactly(OURS[0])}), source=Source.LOCAL
    )
    steered.do(session.set_policies(Policies(OPEN.imports, (only,), (("racks", ("10.98.0.0/16",)),))))
    steered.do(session.add_dynamic_peers(group))
    with Neighbour(router, ASN, router.node_v4, 65001):
        wait("it comes", lambda: any(one.established for one in steered.do(session.peers())))
        found = steered.status(router.v4)
        assert (found.group, found.peer.options.asn, found.address) == ("racks", ASN, router.v4)
        wait("what its rule lets through", lambda: router.has(OURS[0]))
        assert not router.has(OURS[1])
        wait("its own", lambda: steered.status(router.v4).accepted >= 1)
        steered.do(session.remove_dynamic_peers(group))
        wait("the session ends", lambda: not router.is_up(router.node_v4))
        assert steered.do(session.peers()) == []
        assert steered.do(session.dynamic_peers()) == []


def test_the_remains_of_a_group_are_removed(steered: Steered) -> None:
    """As an attempt leaves them that is cut off before the first prefix."""
    group = DynamicPeers("half", (ip_network("10.97.0.0/16"),), options(ASN))
    session = steered.session
    steered.do(session.add_dynamic_peers(replace(group, prefixes=(ip_network("192.0.2.0/24"),))))
    with pytest.raises(DaemonRefusedError, match="existing peer-group"):
        steered.do(session.add_dynamic_peers(group))
    (found,) = steered.do(session.dynamic_peers())
    assert found != group
    steered.do(session.remove_dynamic_peers(found))
    assert steered.do(session.dynamic_peers()) == []


# ---- the other end of a link


@pytest.mark.parametrize("groups", ["1 0", "0 2147483647"])
def test_the_neighbour_on_a_link_is_found_by_asking(steered: Steered, router: Frr, groups: str) -> None:
    """Over a raw socket where nobody may have the other kind, and over that one, which needs no capability."""
    run("ip", "netns", "exec", steered.node.ns, "sysctl", "-q", "-w", f"net.ipv4.ping_group_range={groups}")
    for _ in range(2):
        steered.node.ip("-6", "neigh", "flush", "dev", router.link)
        wait("it", lambda: _finds(steered, router.link), 5)
    address, _, zone = neighbour_in(steered.node, router.link).partition("%")
    assert zone == router.link
    assert address in router.ip("-6", "address", "show", "dev", "node", "scope", "link")


def test_a_neighbour_that_is_silent_is_found_while_its_peer_is_down(steered: Steered, router: Frr) -> None:
    wait("both ends' addresses", lambda: _finds(steered, router.link))
    steered.node.ip("-6", "neigh", "flush", "dev", router.link)
    code = (
        "import asyncio, socket, sys\n"
        "from speaker.gobgp.neighbours import Beacon, known\n"
        "async def main():\n"
        "    beacon, index = Beacon(), socket.if_nametoindex(sys.argv[1])\n"
        "    beacon.light({sys.argv[1], 'gone0'})\n"
        "    await asyncio.sleep(1)\n"
        "    print(len(known(index)))\n"
        "    beacon.light(())\n"
        "asyncio.run(main())\n"
    )
    assert inside(steered.node, code, router.link) == "1"


def test_a_link_without_a_neighbour_or_with_two_is_refused_in_words(steered: Steered) -> None:
    with pytest.raises(DaemonRefusedError, match="none0: no interface"):
        neighbour_in(steered.node, "none0")
    node = steered.node
    node.ip("link", "add", "alone", "type", "veth", "peer", "name", "other")
    node.ip("link", "set", "alone", "up")
    node.ip("link", "set", "other", "up")
    try:
        node.ip("link", "set", "other", "address", "02:00:00:00:00:01")
        node.ip("-6", "neigh", "replace", "fe80::1", "lladdr", "02:00:00:00:00:02", "dev", "alone")
        node.ip("-6", "neigh", "replace", "fe80::2", "lladdr", "02:00:00:00:00:03", "dev", "alone")
        with pytest.raises(DaemonRefusedError, match="2 link-local neighbours"):
            neighbour_in(node, "alone")
        node.ip("link", "set", "other", "down")
        node.ip("-6", "neigh", "flush", "dev", "alone")
        with pytest.raises(DaemonRefusedError, match="alone: "):
            neighbour_in(node, "alone")
    finally:
        node.ip("link", "del", "alone")


def test_an_interface_peer(steered: Steered, router: Frr, monkeypatch: pytest.MonkeyPatch) -> None:
    async def there(interface: str) -> str:
        return neighbour_in(steered.node, interface)

    # The test stands outside of the node's namespace.
    monkeypatch.setattr("speaker.gobgp.adapter.neighbour", there)
    monkeypatch.setattr("speaker.gobgp.neighbours.advertise", lambda link: advertise_in(steered.node, link))
    session, link = steered.session, router.link
    denied = Rule(accept=False, peers=frozenset({link}), prefixes=frozenset({exactly(OURS[1])}))
    policies = Policies(OPEN.imports, (denied, LOCAL))
    steered.do(session.set_policies(policies))
    steered.stage.unnumber(router)
    peer = Peer(None, options(ASN, restart_time=30), interface=link)
    router.vtysh(
        *("configure terminal", f"router bgp {ASN}", "neighbor node interface remote-as 65001"),
        *("neighbor node timers connect 1", "address-family ipv6 unicast", "neighbor node activate"),
    )
    wait(
        "the link's own address",
        lambda: "tentative" not in steered.node.ip("-6", "address", "show", "dev", link),
    )
    wait("its neighbour", lambda: _finds(steered, link))
    steered.add(peer)
    steered.wait_up(link)
    found = steered.status(link)
    assert (found.peer.interface, found.peer.address) == (link, None)
    assert replace(found.peer, options=replace(found.peer.options, local_address=None)) == peer
    assert found.address == neighbour_in(steered.node, link)
    for prefix in (OURS[0], OURS[2]):
        wait(prefix, lambda prefix=prefix: router.has(prefix))  # type: ignore[misc]
    assert not router.has(OURS[1])
    _learned_over_the_link(steered, found.address)
    _rules_fit_after_a_change(steered, router, policies)
    _another_neighbour(steered, router, peer, monkeypatch)
    steered.remove(link)
    assert steered.do(session.peers()) == []


def _finds(steered: Steered, link: str) -> bool:
    try:
        neighbour_in(steered.node, link)
    except DaemonRefusedError:
        return False
    return True


def _learned_over_the_link(steered: Steered, address: str) -> None:
    where, _, link = address.partition("%")
    for text in ("10.50.0.0/16", "fd50::/64"):
        prefix = ip_network(text)
        wait(text, lambda prefix=prefix: steered.do(steered.session.table([prefix])))  # type: ignore[misc]
        (entry,) = steered.do(steered.session.table([prefix]))
        assert [(str(path.next_hop), path.interface) for path in entry.learned] == [(where, link)]
    wait("End-of-RIB", lambda: steered.status(link).end_of_rib == set(Family))


def _rules_fit_after_a_change(steered: Steered, router: Frr, before: Policies) -> None:
    """The peer is there before the new sets are."""
    tagged = Rule(
        accept=True,
        peers=frozenset({router.link}),
        source=Source.LOCAL,
        communities=frozenset({65001 << 16 | 7}),
    )
    steered.do(steered.session.set_policies(replace(before, exports=(tagged, LOCAL))))

    def communities() -> list[str]:
        return [path.get("community", {}).get("string", "") for path in router.paths(OURS[0])]

    wait("the community", lambda: communities() == ["65001:7"])


def _is_added(steered: Steered, peer: Peer) -> bool:
    """While the kernel still tries to reach the first one, there are two."""
    try:
        steered.add(peer)
    except DaemonRefusedError:
        return False
    return True


def _another_neighbour(steered: Steered, router: Frr, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router with another address takes the place of the first one."""
    link = router.link
    before = steered.status(link).address
    monkeypatch.setattr("speaker.gobgp.neighbours.known", lambda _: known_in(steered.node, link))
    monkeypatch.setattr("socket.if_nametoindex", lambda _: 1)
    router.ip("address", "add", "fe80::99/64", "dev", "node", "nodad")
    router.ip("address", "del", f"{before.partition('%')[0]}/64", "dev", "node")
    # Else the session lives to its hold time, and the kernel takes half a minute more to give the address up.
    router.vtysh("clear bgp *")
    steered.node.ip("-6", "neigh", "flush", "dev", link)

    def replaced() -> bool:
        return not any(one.peer.interface for one in steered.do(steered.session.peers()))

    wait("it is somebody else", replaced)
    steered.remove(before)
    wait("the daemon takes the other one", lambda: _is_added(steered, peer))
    assert steered.status(link).address == f"fe80::99%{link}"
    steered.wait_up(link)
