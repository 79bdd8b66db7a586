"""GoBGP 3's messages to and from our own values. Pure: no connection, no clock."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, ip_address, ip_network
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any as Packed

from protos.gobgp_v3 import attribute_pb2 as attribute
from protos.gobgp_v3 import gobgp_pb2 as api
from speaker.gobgp.session import (
    Address,
    BgpGlobal,
    Destination,
    Family,
    LearnedPath,
    LocalPath,
    Peer,
    PeerStatus,
    Prefix,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

# RFC 7911 path identifier of every path that the speaker adds. Other programs that add
# local paths to the same daemon use 0, or numbers of their own: theirs are never touched.
IDENTIFIER = 0x616E7970
LOCAL_SOURCE = "<nil>"
DEFAULT_LOCAL_PREF = 100
_TYPE = "type.googleapis.com/apipb."
_IGP = 0

_FAMILIES = {
    Family.IPV4: api.Family(afi=api.Family.AFI_IP, safi=api.Family.SAFI_UNICAST),
    Family.IPV6: api.Family(afi=api.Family.AFI_IP6, safi=api.Family.SAFI_UNICAST),
}


def family_to_api(family: Family) -> api.Family:
    """AFI and SAFI of IPv4 or IPv6 unicast."""
    return _FAMILIES[family]


def _packed(message: Message) -> Packed:
    packed = Packed()
    packed.Pack(message)
    return packed


# ---- the daemon and its peers


def global_to_api(wanted: BgpGlobal) -> api.Global:
    """Multipath is always on: without it the daemon says nothing about changes among equal paths."""
    return api.Global(
        asn=wanted.asn,
        router_id=wanted.router_id,
        listen_port=wanted.listen_port,
        listen_addresses=wanted.listen_addresses,
        use_multiple_paths=True,
    )


def global_from_api(found: api.Global) -> BgpGlobal | None:
    """None for a daemon that has not been started."""
    if found.asn == 0:
        return None
    return BgpGlobal(found.asn, found.router_id, found.listen_port, tuple(found.listen_addresses))


def peer_to_api(peer: Peer) -> api.Peer:
    """The request for AddPeer; every value is spelled out, none left to the daemon's defaults."""
    return api.Peer(
        conf=api.PeerConf(
            neighbor_address=str(peer.address), peer_asn=peer.asn, description=peer.description
        ),
        ebgp_multihop=api.EbgpMultihop(enabled=peer.multihop_ttl > 0, multihop_ttl=peer.multihop_ttl),
        timers=api.Timers(
            config=api.TimersConfig(
                connect_retry=peer.connect_retry,
                hold_time=peer.hold,
                keepalive_interval=peer.keepalive,
            )
        ),
        transport=api.Transport(local_address=str(peer.local_address or ""), passive_mode=peer.passive),
        afi_safis=[
            api.AfiSafi(config=api.AfiSafiConfig(family=family_to_api(family), enabled=True))
            for family in sorted(peer.families)
        ],
    )


def peer_from_api(found: api.Peer) -> PeerStatus:
    """What ListPeer tells. The local address is the session's own one where none was configured."""
    config = found.timers.config
    local = found.transport.local_address
    afis = {entry.config.family.afi for entry in found.afi_safis}
    peer = Peer(
        address=ip_address(found.conf.neighbor_address or found.state.neighbor_address),
        asn=found.conf.peer_asn,
        description=found.conf.description,
        families=frozenset(family for family, wanted in _FAMILIES.items() if wanted.afi in afis),
        local_address=ip_address(local) if local else None,
        passive=found.transport.passive_mode,
        multihop_ttl=found.ebgp_multihop.multihop_ttl if found.ebgp_multihop.enabled else 0,
        connect_retry=config.connect_retry,
        hold=config.hold_time,
        keepalive=config.keepalive_interval,
    )
    state = api.PeerState.SessionState.Name(found.state.session_state).lower()
    return PeerStatus(peer, state, managed=not found.conf.peer_group)


# ---- paths


def path_to_api(path: LocalPath) -> api.Path:
    """A path to add. GoBGP takes NEXT_HOP for IPv6 too and makes MP_REACH_NLRI of it."""
    return api.Path(
        nlri=_nlri(path.prefix),
        pattrs=[
            _packed(attribute.OriginAttribute(origin=_IGP)),
            _packed(attribute.NextHopAttribute(next_hop=str(path.next_hop))),
        ],
        family=family_to_api(Family(path.prefix.version)),
        identifier=IDENTIFIER,
    )


def withdrawal_to_api(prefix: Prefix) -> api.Path:
    """Takes back our path for the prefix: the daemon matches source, prefix and identifier."""
    return api.Path(
        nlri=_nlri(prefix),
        family=family_to_api(Family(prefix.version)),
        identifier=IDENTIFIER,
        is_withdraw=True,
    )


def _nlri(prefix: Prefix) -> Packed:
    return _packed(attribute.IPAddressPrefix(prefix=str(prefix.network_address), prefix_len=prefix.prefixlen))


@lru_cache(maxsize=1 << 16)
def _prefix(text: str) -> Prefix | None:
    try:
        return ip_network(text)
    except ValueError:
        return None  # other programs can add "<nil>/24": the daemon does not check


def destination_from_api(found: api.Destination, asn: int) -> Destination | None:
    """All paths for one prefix; `asn` is the daemon's own. None for a prefix that is none."""
    prefix = _prefix(found.prefix)
    if prefix is None:
        return None
    ours: LocalPath | None = None
    foreign = False
    learned: list[LearnedPath] = []
    for path in found.paths:
        values = _attributes(path.pattrs)
        if path.neighbor_ip != LOCAL_SOURCE:
            if values.next_hop is not None:
                learned.append(values.learned(path, asn))
        elif path.identifier == IDENTIFIER and values.next_hop is not None:
            ours = LocalPath(prefix, values.next_hop)
        else:
            foreign = True
    return Destination(prefix, ours, foreign, tuple(learned))


def prefixes_of_paths(paths: Iterable[api.Path]) -> frozenset[Prefix]:
    """The prefixes that an event names."""
    found: set[Prefix] = set()
    nlri = attribute.IPAddressPrefix()
    for path in paths:
        if path.nlri.Unpack(nlri):
            prefix = _prefix(f"{nlri.prefix}/{nlri.prefix_len}")
            if prefix is not None:
                found.add(prefix)
    return frozenset(found)


class _Attributes:
    """The path attributes that decide; absent ones have the values of RFC 4271."""

    __slots__ = ("as_path_length", "local_pref", "med", "next_hop", "origin")

    def __init__(self) -> None:
        self.next_hop: Address | None = None
        self.local_pref = DEFAULT_LOCAL_PREF
        self.as_path_length = 0
        self.origin = _IGP
        self.med = 0

    def read(self, packed: Packed) -> None:
        name = packed.type_url.removeprefix(_TYPE)
        if name == "NextHopAttribute":
            self.next_hop = _address(attribute.NextHopAttribute.FromString(packed.value).next_hop)
        elif name == "MpReachNLRIAttribute":
            hops = attribute.MpReachNLRIAttribute.FromString(packed.value).next_hops
            self.next_hop = _address(hops[0]) if hops else None
        elif name == "AsPathAttribute":
            self.as_path_length = _length(attribute.AsPathAttribute.FromString(packed.value))
        elif name == "OriginAttribute":
            self.origin = attribute.OriginAttribute.FromString(packed.value).origin
        elif name == "MultiExitDiscAttribute":
            self.med = attribute.MultiExitDiscAttribute.FromString(packed.value).med
        elif name == "LocalPrefAttribute":
            self.local_pref = attribute.LocalPrefAttribute.FromString(packed.value).local_pref

    def learned(self, path: api.Path, asn: int) -> LearnedPath:
        return LearnedPath(
            next_hop=self.next_hop or IPv4Address(0),
            peer=path.neighbor_ip,
            local_pref=self.local_pref,
            as_path_length=self.as_path_length,
            origin=self.origin,
            med=self.med,
            external=path.source_asn != asn,
        )


def _attributes(packed: Iterable[Packed]) -> _Attributes:
    values = _Attributes()
    for item in packed:
        values.read(item)
    return values


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address


def _length(as_path: attribute.AsPathAttribute) -> int:
    """RFC 4271, 9.1.2.2 and RFC 5065, 5.3: a set counts as one, confederation segments do not count."""
    total = 0
    for segment in as_path.segments:
        if segment.type == attribute.AsSegment.AS_SEQUENCE:
            total += len(segment.numbers)
        elif segment.type == attribute.AsSegment.AS_SET:
            total += 1
    return total
