"""Who is at the other end of a link, and telling that end who is at ours.

gobgpd takes an interface peer's address from the kernel's neighbour table at the moment when the peer is added, and
from nowhere else; an echo makes the kernel learn. Routers take it from Router Advertisements, which gobgpd does not
send.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from cni import link
from cni.netlink import NLM_F_DUMP, NetlinkSocket, attribute, attributes, message
from cni.rtnl import NLM_F_REQUEST
from speaker.gobgp.session import DaemonRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speaker.bgp import PeerStatus

RTM_GETNEIGH = 30
NDA_DST = 1
NDA_IFINDEX = 8
NUD_FAILED = 0x20
_NDMSG = struct.Struct("=BxxxiHBB")
_INDEX = struct.Struct("=I")

ALL_NODES = "ff02::1"
# ICMPv6 type 128 with an identifier and a number; the kernel fills in the checksum.
ECHO_REQUEST = bytes((128, 0, 0, 0, 0x61, 0x70, 0, 1))
ECHO_REPLY = b"\x81"
# RFC 4861, 4.2 and 6.1.2: type 134, all else unspecified; routers drop what has travelled.
ADVERTISEMENT = bytes((134, *[0] * 15))
HOP_LIMIT = 255
# Seconds between two attempts on links whose peer is not there.
EVERY = 2.0
# Judgements of a path for a peer, some 10 microseconds each, that one look at the peers may cost the daemon.
WALKED = 20_000
# Neighbours on a link that are worth counting: it should have one.
MANY = 8
# Seconds. On a link an answer takes milliseconds.
WAIT = 0.3


async def neighbour(interface: str) -> str:
    """The address of the only neighbour on a link, as gobgpd will find it: "fe80::1%eth0".

    DaemonRefusedError: there is none, or more than one.
    """
    try:
        index = socket.if_nametoindex(interface)
        found = known(index)
        if not found:
            await _meet(index)
            found = known(index)
    except OSError as error:
        reason = error.strerror or error
        raise DaemonRefusedError(
            f"{interface}: {reason}; it needs a link that is up, with an IPv6 address"
        ) from None
    if not found:
        raise DaemonRefusedError(
            f"{interface}: no neighbour answers an echo to {ALL_NODES}; is the other end up, with IPv6 on it?"
        )
    if len(found) > 1:
        raise DaemonRefusedError(
            f"{interface}: {len(found)} link-local neighbours ({', '.join(map(str, found))}); an interface peer needs"
            " a link with one, on others name the peer's address"
        )
    return f"{found[0]}%{interface}"


def known(index: int) -> list[IPv6Address]:
    """Link-local neighbours of a link that the kernel knows and has not found to be gone, but for the node itself."""
    netlink = NetlinkSocket()
    try:
        request = [_NDMSG.pack(socket.AF_INET6, 0, 0, 0, 0), attribute(NDA_IFINDEX, _INDEX.pack(index))]
        neighbours = [
            payload for _, payload in netlink.dump(message(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, request))
        ]
        own = {link.Address(payload).ip for _, payload in netlink.dump(link.address_dump(index))}
    finally:
        netlink.close()
    found: set[IPv6Address] = set()
    for payload in neighbours:
        _, where, state, _, _ = _NDMSG.unpack_from(payload)
        address = attributes(payload, _NDMSG.size).get(NDA_DST, b"")
        if where == index and not state & NUD_FAILED and len(address) == 16 and address not in own:
            found.add(IPv6Address(address))
    return sorted(address for address in found if address.is_link_local)


def as_found(status: PeerStatus) -> PeerStatus:
    """The same, but an interface peer that is down and no longer on its link is a peer at that address.

    The daemon goes on dialling where it found it; as another peer than the wanted one it is replaced.
    """
    where, _, interface = status.address.partition("%")
    if not status.peer.interface or status.established:
        return status
    try:
        there = known(socket.if_nametoindex(interface))
    except OSError:
        return status
    if not there or IPv6Address(where) in there:
        return status
    return replace(status, peer=replace(status.peer, address=ip_address(status.address), interface=""))


def links_of(found: Iterable[PeerStatus]) -> dict[str, str]:
    """Interfaces by the link-local neighbours on them, with and without their router id; one that is up counts."""
    links: dict[str, str] = {}
    for status in sorted(found, key=lambda status: status.established):
        address, _, interface = status.address.partition("%")
        if interface:
            links |= {address: interface, f"{address} {status.router_id}": interface}
    return links


async def _meet(index: int) -> None:
    """Asks all nodes on the link for an echo, and each that answers once more: whom the kernel talks to, it knows."""
    loop = asyncio.get_running_loop()
    asked: set[str] = set()
    with _probe() as probe, suppress(TimeoutError):
        probe.setblocking(False)
        probe.sendto(ECHO_REQUEST, (ALL_NODES, 0, 0, index))
        async with asyncio.timeout(WAIT):
            while len(asked) < MANY:
                await asyncio.sleep(0)
                answer, source = await loop.sock_recvfrom(probe, 64)
                if answer[:1] == ECHO_REPLY and source[3] == index and source[0] not in asked:
                    asked.add(source[0])
                    probe.sendto(ECHO_REQUEST, source)


def _probe() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
    except PermissionError:  # net.ipv4.ping_group_range leaves our group out; then it takes CAP_NET_RAW
        return socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)


def advertise(interface: str) -> None:
    """Tells all nodes on the link of our address there, as a router that is nobody's default: lifetime 0.

    FRR and its kin take connections on an unnumbered link from nobody else. Without CAP_NET_RAW it is left out, and
    a link that is gone or down is nobody to tell.
    """
    with suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
        index = socket.if_nametoindex(interface)
        router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        router.setblocking(False)
        router.sendto(ADVERTISEMENT, (ALL_NODES, 0, 0, index))


class Beacon:
    """On links whose peer is not there: tells of us and asks who is there, every few seconds until it is."""

    def __init__(self) -> None:
        self._interfaces: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def light(self, interfaces: Iterable[str]) -> None:
        """On these links from now on; on none it ends."""
        self._interfaces = frozenset(interfaces) - {""}
        if self._interfaces and self._task is None:
            self._task = asyncio.create_task(self._run())
        elif self._task is not None and not self._interfaces:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            for interface in sorted(self._interfaces):
                advertise(interface)
                with suppress(OSError):  # the link is gone, down, or has no address yet
                    await _meet(socket.if_nametoindex(interface))
            await asyncio.sleep(EVERY)


def told(found: list[PeerStatus], counted: bool) -> tuple[list[PeerStatus], bool]:
    """Without the numbers of what peers are told, where the daemon was not asked; and whether to ask next time.

    It judges its whole table anew for each peer: 2 seconds for 1,000 peers that told a path each. Those that have told
    nothing yet are taken for peers that will tell one. Pure.
    """
    paths = max(len(found), sum(status.accepted for status in found))
    affordable = len(found) * paths <= WALKED
    return found if counted else [replace(status, advertised=None) for status in found], affordable
