"""Paths in GoBGP 3's messages, to and from our own values. Pure: no connection, no clock."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any as Packed

from protos.gobgp_v3 import attribute_pb2 as attribute
from protos.gobgp_v3 import gobgp_pb2 as api
from speaker.bgp import Destination, Family, LocalPath
from speaker.gobgp.values import (
    AS_TRANS,
    IDENTIFIER,
    IGP,
    LOCAL_SOURCES,
    PathValues,
    as_path_length,
    learned_path,
    next_hop_of,
    prefix_of,
    two_octets,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

    from speaker.bgp import Address, Attributes, LearnedPath, Prefix

_TYPE = "type.googleapis.com/apipb."
_MP_REACH = f"{_TYPE}MpReachNLRIAttribute"
_PREFIX = f"{_TYPE}IPAddressPrefix"

_FAMILIES = {
    Family.IPV4: api.Family(afi=api.Family.AFI_IP, safi=api.Family.SAFI_UNICAST),
    Family.IPV6: api.Family(afi=api.Family.AFI_IP6, safi=api.Family.SAFI_UNICAST),
}


def family_to_api(family: Family) -> api.Family:
    """AFI and SAFI of IPv4 or IPv6 unicast."""
    return _FAMILIES[family]


def family_from_api(found: api.Family) -> Family | None:
    """None for a family that is not ours."""
    return next((family for family, wanted in _FAMILIES.items() if wanted == found), None)


def _packed(message: Message) -> Packed:
    packed = Packed()
    packed.Pack(message)
    return packed


def path_to_api(path: LocalPath, asn: int = AS_TRANS) -> api.Path:
    """A path to add, of this AS. GoBGP takes NEXT_HOP for IPv6 too and makes MP_REACH_NLRI of it."""
    made = api.Path()
    made.CopyFrom(_but_prefix(path.next_hop, path.attributes, asn, path.prefix.version))
    _put_nlri(path.prefix, made)
    return made


# Thousands of virtual IPs are announced with the same attributes.
@lru_cache(maxsize=1 << 10)
def _but_prefix(next_hop: Address, attributes: Attributes, asn: int, version: int) -> api.Path:
    return api.Path(
        pattrs=[_packed(message) for message in _path_attributes(next_hop, attributes, asn)],
        family=family_to_api(Family(version)),
        identifier=IDENTIFIER,
    )


def _path_attributes(next_hop: Address, carried: Attributes, asn: int) -> Iterable[Message]:
    yield attribute.OriginAttribute(origin=IGP)
    yield attribute.NextHopAttribute(next_hop=str(next_hop))
    if carried.med is not None:
        yield attribute.MultiExitDiscAttribute(med=carried.med)
    if carried.local_pref is not None:
        yield attribute.LocalPrefAttribute(local_pref=carried.local_pref)
    if carried.communities:
        yield attribute.CommunitiesAttribute(communities=sorted(carried.communities))
    if carried.large_communities:
        yield attribute.LargeCommunitiesAttribute(
            communities=[
                attribute.LargeCommunity(global_admin=admin, local_data1=first, local_data2=second)
                for admin, first, second in sorted(carried.large_communities)
            ]
        )
    if carried.link_bandwidth is not None:
        bandwidth = attribute.LinkBandwidthExtended(asn=two_octets(asn), bandwidth=carried.link_bandwidth)
        yield attribute.ExtendedCommunitiesAttribute(communities=[_packed(bandwidth)])


def withdrawal_to_api(prefix: Prefix) -> api.Path:
    """Takes back our path for the prefix: the daemon matches source, prefix and identifier."""
    made = api.Path(
        family=family_to_api(Family(prefix.version)),
        identifier=IDENTIFIER,
        is_withdraw=True,
    )
    _put_nlri(prefix, made)
    return made


def _put_nlri(prefix: Prefix, into: api.Path) -> None:
    made = attribute.IPAddressPrefix(prefix=str(prefix.network_address), prefix_len=prefix.prefixlen)
    into.nlri.type_url = _PREFIX
    into.nlri.value = made.SerializeToString()


def destination_from_api(found: api.Destination, asn: int, links: Mapping[str, str]) -> Destination | None:
    """All paths for one prefix, None for a prefix that is none.

    `asn` is the daemon's own; `links` are interfaces by the link-local neighbours on them, and by neighbour and
    router id ("fe80::1 10.0.0.2"): several links may have a neighbour of the same address.
    """
    prefix = prefix_of(found.prefix)
    if prefix is None:
        return None
    ours: LocalPath | None = None
    foreign = False
    learned: list[LearnedPath] = []
    for path in found.paths:
        values, hops = _values(path.pattrs)
        peer = path.neighbor_ip
        if peer not in LOCAL_SOURCES:
            link = links and (links.get(f"{peer} {path.source_id}") or links.get(peer))
            way = learned_path(values, hops, peer, link or "", path.source_asn != asn, path.stale)
            if way is not None:
                learned.append(way)
            continue
        next_hop, _ = next_hop_of(hops, peer, {})
        if path.identifier == IDENTIFIER and next_hop is not None:
            ours = LocalPath(prefix, next_hop, values.carried())
        else:
            foreign = True
    return Destination(prefix, ours, foreign, tuple(learned))


def prefixes_of_paths(paths: Iterable[api.Path]) -> list[Prefix]:
    """The prefixes that an event names."""
    found: list[Prefix] = []
    for path in paths:
        nlri = path.nlri
        if nlri.type_url == _PREFIX and (prefix := _prefix_of_nlri(nlri.value)) is not None:
            found.append(prefix)
    return found


@lru_cache(maxsize=1 << 12)  # the same path is told several times in a row, if at all
def _prefix_of_nlri(packed: bytes) -> Prefix | None:
    nlri = attribute.IPAddressPrefix.FromString(packed)
    return prefix_of(f"{nlri.prefix}/{nlri.prefix_len}")


def paths_of_ours(paths: Iterable[api.Path]) -> tuple[LocalPath, ...]:
    """Those that an event names as the best ones, and that are ours."""
    found: list[LocalPath] = []
    for path in paths:
        mine = path.identifier == IDENTIFIER and path.neighbor_ip in LOCAL_SOURCES and not path.is_withdraw
        if mine and path.nlri.type_url == _PREFIX:
            prefix = _prefix_of_nlri(path.nlri.value)
            values, hops = _values(path.pattrs)
            next_hop, _ = next_hop_of(hops, path.neighbor_ip, {})
            if prefix is not None and next_hop is not None:
                found.append(LocalPath(prefix, next_hop, values.carried()))
    return tuple(found)


def _values(packed: Iterable[Packed]) -> tuple[PathValues, tuple[str, ...]]:
    """The attributes of a path, and its next hops."""
    plain: list[tuple[str, bytes]] = []
    hops: tuple[str, ...] = ()
    for item in packed:
        name, value = item.type_url, item.value
        if name == _MP_REACH:  # has the prefix in it: no two of them are the same
            hops = tuple(attribute.MpReachNLRIAttribute.FromString(value).next_hops)
        else:
            plain.append((name, value))
    values = _shared(tuple(plain))
    return values, hops or values.next_hops


# Many prefixes have the same attributes: each set of them is read once.
@lru_cache(maxsize=1 << 12)
def _shared(packed: tuple[tuple[str, bytes], ...]) -> PathValues:
    values = PathValues()
    for name, value in packed:
        _read(name.removeprefix(_TYPE), value, values)
    return values


def _read(name: str, value: bytes, values: PathValues) -> None:
    match name:
        case "NextHopAttribute":
            values.next_hops = (attribute.NextHopAttribute.FromString(value).next_hop,)
        case "AsPathAttribute":
            parts = attribute.AsPathAttribute.FromString(value).segments
            values.as_path_length = as_path_length((part.type, len(part.numbers)) for part in parts)
        case "OriginAttribute":
            values.origin = attribute.OriginAttribute.FromString(value).origin
        case "MultiExitDiscAttribute":
            values.med = attribute.MultiExitDiscAttribute.FromString(value).med
        case "LocalPrefAttribute":
            values.local_pref = attribute.LocalPrefAttribute.FromString(value).local_pref
        case "CommunitiesAttribute":
            values.communities = frozenset(attribute.CommunitiesAttribute.FromString(value).communities)
        case "LargeCommunitiesAttribute":
            values.large_communities = frozenset(
                (one.global_admin, one.local_data1, one.local_data2)
                for one in attribute.LargeCommunitiesAttribute.FromString(value).communities
            )
        case "ExtendedCommunitiesAttribute":
            values.link_bandwidth = _bandwidth(attribute.ExtendedCommunitiesAttribute.FromString(value))


def _bandwidth(extended: attribute.ExtendedCommunitiesAttribute) -> float | None:
    """That of the first community that is one; others are nobody's business here."""
    found = attribute.LinkBandwidthExtended()
    return next((found.bandwidth for one in extended.communities if one.Unpack(found)), None)
