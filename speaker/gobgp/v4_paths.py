"""GoBGP 4's paths to and from our own values. Pure: no connection, no clock."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from protos.gobgp_v4 import attribute_pb2 as attribute
from protos.gobgp_v4 import gobgp_pb2 as api
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

    from speaker.bgp import Address, Attributes, LearnedPath, Prefix

FAMILIES = {
    Family.IPV4: api.Family(afi=api.Family.AFI_IP, safi=api.Family.SAFI_UNICAST),
    Family.IPV6: api.Family(afi=api.Family.AFI_IP6, safi=api.Family.SAFI_UNICAST),
}


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
        pattrs=[
            attribute.Attribute(origin=attribute.OriginAttribute(origin=IGP)),
            attribute.Attribute(next_hop=attribute.NextHopAttribute(next_hop=str(next_hop))),
            *_attributes_to_api(attributes, asn),
        ],
        family=FAMILIES[Family(version)],
        identifier=IDENTIFIER,
    )


def _attributes_to_api(wanted: Attributes, asn: int) -> Iterable[attribute.Attribute]:
    """Only what is said: the daemon adds what a path must have besides."""
    if wanted.communities:
        numbers = attribute.CommunitiesAttribute(communities=sorted(wanted.communities))
        yield attribute.Attribute(communities=numbers)
    if wanted.large_communities:
        large = [
            attribute.LargeCommunity(global_admin=admin, local_data1=one, local_data2=two)
            for admin, one, two in sorted(wanted.large_communities)
        ]
        yield attribute.Attribute(large_communities=attribute.LargeCommunitiesAttribute(communities=large))
    if wanted.local_pref is not None:
        yield attribute.Attribute(local_pref=attribute.LocalPrefAttribute(local_pref=wanted.local_pref))
    if wanted.med is not None:
        yield attribute.Attribute(multi_exit_disc=attribute.MultiExitDiscAttribute(med=wanted.med))
    if wanted.link_bandwidth is not None:
        bandwidth = attribute.LinkBandwidthExtended(asn=two_octets(asn), bandwidth=wanted.link_bandwidth)
        extended = [attribute.ExtendedCommunity(link_bandwidth=bandwidth)]
        yield attribute.Attribute(
            extended_communities=attribute.ExtendedCommunitiesAttribute(communities=extended)
        )


def withdrawal_to_api(prefix: Prefix) -> api.Path:
    """Takes back our path for the prefix: the daemon matches source, prefix and identifier."""
    made = api.Path(
        family=FAMILIES[Family(prefix.version)],
        identifier=IDENTIFIER,
        is_withdraw=True,
    )
    _put_nlri(prefix, made)
    return made


def _put_nlri(prefix: Prefix, into: api.Path) -> None:
    into.nlri.prefix.prefix = str(prefix.network_address)
    into.nlri.prefix.prefix_len = prefix.prefixlen


def destination_from_api(found: api.Destination, asn: int, links: Mapping[str, str]) -> Destination | None:
    """All paths for one prefix, None for a prefix that is none.

    `asn` is the daemon's own; `links` says behind which interface a link-local neighbour is.
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
            way = learned_path(values, hops, peer, links.get(peer, ""), path.source_asn != asn, path.stale)
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
    texts = (f"{path.nlri.prefix.prefix}/{path.nlri.prefix.prefix_len}" for path in paths)
    return [prefix for prefix in map(prefix_of, texts) if prefix is not None]


def paths_of_ours(paths: Iterable[api.Path]) -> tuple[LocalPath, ...]:
    """Those that an event names as the best ones, and that are ours."""
    found: list[LocalPath] = []
    for path in paths:
        if path.identifier == IDENTIFIER and path.neighbor_ip in LOCAL_SOURCES and not path.is_withdraw:
            prefix = prefix_of(f"{path.nlri.prefix.prefix}/{path.nlri.prefix.prefix_len}")
            values, hops = _values(path.pattrs)
            next_hop, _ = next_hop_of(hops, path.neighbor_ip, {})
            if prefix is not None and next_hop is not None:
                found.append(LocalPath(prefix, next_hop, values.carried()))
    return tuple(found)


def ends_of_rib(paths: Iterable[api.Path]) -> bool:
    """Whether an event is an End-of-RIB (RFC 4724, 2): an update that says nothing and takes nothing back."""
    return any(not path.pattrs and not path.is_withdraw for path in paths)


def _values(found: Iterable[attribute.Attribute]) -> tuple[PathValues, tuple[str, ...]]:
    """The attributes of a path, and its next hops."""
    plain: list[bytes] = []
    hops: tuple[str, ...] = ()
    for item in found:
        if item.HasField("mp_reach"):  # has the prefix in it: no two of them are the same
            hops = tuple(item.mp_reach.next_hops)
        else:
            plain.append(item.SerializeToString())
    values = _shared(tuple(plain))
    return values, hops or values.next_hops


# Many prefixes have the same attributes: each set of them is read once.
@lru_cache(maxsize=1 << 12)
def _shared(packed: tuple[bytes, ...]) -> PathValues:
    values = PathValues()
    for one in packed:
        _read(attribute.Attribute.FromString(one), values)
    return values


def _read(item: attribute.Attribute, values: PathValues) -> None:
    match item.WhichOneof("attr"):
        case "next_hop":
            values.next_hops = (item.next_hop.next_hop,)
        case "as_path":
            parts = item.as_path.segments
            values.as_path_length = as_path_length((part.type, len(part.numbers)) for part in parts)
        case "origin":
            values.origin = item.origin.origin
        case "multi_exit_disc":
            values.med = item.multi_exit_disc.med
        case "local_pref":
            values.local_pref = item.local_pref.local_pref
        case "communities":
            values.communities = frozenset(item.communities.communities)
        case "large_communities":
            values.large_communities = frozenset(
                (one.global_admin, one.local_data1, one.local_data2)
                for one in item.large_communities.communities
            )
        case "extended_communities":
            values.link_bandwidth = _bandwidth(item.extended_communities)


def _bandwidth(extended: attribute.ExtendedCommunitiesAttribute) -> float | None:
    """That of the first community that is one; others are nobody's business here."""
    found = (one.link_bandwidth for one in extended.communities if one.HasField("link_bandwidth"))
    return next((one.bandwidth for one in found), None)
