"""GoBGP 4's peers, and its groups of dynamic ones, to and from our own values. Pure: no connection, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.gobgp_v4 import gobgp_pb2 as api
from speaker.bgp import BgpGlobal, DynamicPeers, Family, Peer, PeerStatus, PrefixLimit, SessionOptions
from speaker.gobgp.v4_paths import FAMILIES
from speaker.gobgp.values import address_of, prefix_of, specified

if TYPE_CHECKING:
    from collections.abc import Iterable

BGP_PORT = 179
MAXIMUM_TTL = 255

_FAMILY_OF = {wanted.afi: family for family, wanted in FAMILIES.items()}


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
    """None for a daemon that has not been started. It says 0.0.0.0 and :: where no address was given."""
    if found.asn == 0:
        return None
    listen = tuple(text for text in found.listen_addresses if specified(text))
    return BgpGlobal(found.asn, found.router_id, found.listen_port, listen)


# ---- what a peer and a group have in common


def _fill(message: api.Peer | api.PeerGroup, options: SessionOptions) -> None:
    """Every value is spelled out, none left to the daemon's defaults."""
    message.conf.peer_asn = options.asn
    message.conf.local_asn = options.local_asn
    message.conf.auth_password = options.password
    message.ebgp_multihop.enabled = options.multihop_ttl > 0
    message.ebgp_multihop.multihop_ttl = options.multihop_ttl
    message.ttl_security.enabled = options.ttl_security > 0
    if options.ttl_security:
        message.ttl_security.ttl_min = MAXIMUM_TTL + 1 - options.ttl_security
    message.timers.config.connect_retry = options.connect_retry
    message.timers.config.hold_time = options.hold
    message.timers.config.keepalive_interval = options.keepalive
    message.transport.local_address = str(options.local_address or "")
    message.route_reflector.route_reflector_client = options.reflector_client
    message.route_reflector.route_reflector_cluster_id = options.cluster_id
    message.graceful_restart.enabled = options.restart_time > 0
    message.graceful_restart.restart_time = options.restart_time
    message.graceful_restart.deferral_time = options.restart_time
    limits = {limit.family: limit for limit in options.prefix_limits}
    message.afi_safis.extend(
        _family(family, limits.get(family), options.restart_time > 0) for family in sorted(options.families)
    )


def _family(family: Family, limit: PrefixLimit | None, graceful: bool) -> api.AfiSafi:
    made = api.AfiSafi(config=api.AfiSafiConfig(family=FAMILIES[family], enabled=True))
    made.mp_graceful_restart.config.enabled = graceful
    if limit is not None:
        made.prefix_limits.family.CopyFrom(FAMILIES[family])
        made.prefix_limits.max_prefixes = limit.maximum
        made.prefix_limits.shutdown_threshold_pct = limit.warning_percent
    return made


def _options(found: api.Peer | api.PeerGroup, daemon: BgpGlobal, passive: bool) -> SessionOptions:
    """The daemon's own AS, router id and unspecified addresses stand where nothing was configured."""
    conf, timers, reflector = found.conf, found.timers.config, found.route_reflector
    cluster = str(specified(reflector.route_reflector_cluster_id) or "")
    return SessionOptions(
        asn=conf.peer_asn,
        local_asn=0 if conf.local_asn == daemon.asn else conf.local_asn,
        families=frozenset(family for family, _ in _families(found.afi_safis)),
        password=conf.auth_password,
        local_address=specified(found.transport.local_address),
        passive=passive,
        multihop_ttl=found.ebgp_multihop.multihop_ttl if found.ebgp_multihop.enabled else 0,
        ttl_security=MAXIMUM_TTL + 1 - found.ttl_security.ttl_min if found.ttl_security.enabled else 0,
        connect_retry=timers.connect_retry,
        hold=timers.hold_time,
        keepalive=timers.keepalive_interval,
        restart_time=found.graceful_restart.restart_time if found.graceful_restart.enabled else 0,
        reflector_client=reflector.route_reflector_client,
        cluster_id="" if not reflector.route_reflector_client or cluster == daemon.router_id else cluster,
        prefix_limits=tuple(_limits(found.afi_safis)),
    )


def _families(found: Iterable[api.AfiSafi]) -> Iterable[tuple[Family, api.AfiSafi]]:
    for entry in found:
        told = entry.config.family
        family = _FAMILY_OF.get(told.afi)
        if family is not None and told.safi == api.Family.SAFI_UNICAST:
            yield family, entry


def _limits(found: Iterable[api.AfiSafi]) -> Iterable[PrefixLimit]:
    for family, entry in _families(found):
        limit = entry.prefix_limits
        if limit.max_prefixes:
            yield PrefixLimit(family, limit.max_prefixes, limit.shutdown_threshold_pct)


# ---- peers


def peer_to_api(peer: Peer, restarting: bool, found: str = "") -> api.Peer:
    """The request for AddPeer; `found` is the address of an interface peer."""
    message = api.Peer(conf=api.PeerConf(description=peer.description))
    if peer.interface:
        message.conf.neighbor_interface = peer.interface
        message.state.neighbor_address = found
    else:
        message.conf.neighbor_address = str(peer.address)
    _fill(message, peer.options)
    message.transport.remote_port = peer.port
    message.transport.passive_mode = peer.options.passive
    message.graceful_restart.local_restarting = restarting and peer.options.restart_time > 0
    return message


def status_from_api(found: api.Peer, daemon: BgpGlobal, now: float) -> PeerStatus:
    """What ListPeer tells; `now` in seconds since 1970, for the uptime."""
    conf, state = found.conf, found.state
    where = conf.neighbor_address if address_of(conf.neighbor_address) else state.neighbor_address
    peer = Peer(
        address=None if conf.neighbor_interface else address_of(where),
        options=_options(found, daemon, found.transport.passive_mode),
        interface=conf.neighbor_interface,
        port=found.transport.remote_port or BGP_PORT,
        description=conf.description,
    )
    established = state.session_state == api.PeerState.SESSION_STATE_ESTABLISHED
    since = found.timers.state.uptime.seconds
    families = list(_families(found.afi_safis))
    return PeerStatus(
        peer=peer,
        state=_state(state.session_state),
        group=conf.peer_group,
        address=state.neighbor_address if address_of(state.neighbor_address) else where,
        uptime=max(0.0, now - since) if established and since else 0.0,
        reason=_reason(state),
        received=sum(entry.state.received for _, entry in families),
        accepted=sum(entry.state.accepted for _, entry in families),
        advertised=sum(entry.state.advertised for _, entry in families),
        router_id=str(specified(state.router_id) or ""),
        graceful=established and _is_graceful(found),
        end_of_rib=frozenset(
            family
            for family, entry in families
            if established and entry.mp_graceful_restart.state.end_of_rib_received
        ),
    )


def _is_graceful(found: api.Peer) -> bool:
    told = any(capability.WhichOneof("cap") == "graceful_restart" for capability in found.state.remote_cap)
    return found.graceful_restart.enabled and told


def _state(number: int) -> str:
    """A number that this version does not know must not end the reading of all others."""
    names = api.PeerState.SessionState
    return (
        names.Name(number).removeprefix("SESSION_STATE_").lower() if number in names.values() else "unknown"
    )


def _reason(state: api.PeerState) -> str:
    if state.admin_state == api.PeerState.ADMIN_STATE_PFX_CT:
        return "more prefixes than its prefix limit"
    if state.admin_state == api.PeerState.ADMIN_STATE_DOWN:
        return "shut down in gobgpd"
    names = api.PeerState.DisconnectReason
    if not state.disconnect_reason or state.disconnect_reason not in names.values():
        return state.disconnect_message
    words = names.Name(state.disconnect_reason).removeprefix("DISCONNECT_REASON_").replace("_", " ").lower()
    return f"{words}: {state.disconnect_message}" if state.disconnect_message else words


# ---- groups of dynamic peers


def group_to_api(group: DynamicPeers) -> api.PeerGroup:
    """The request for AddPeerGroup; the prefixes are told one by one after it."""
    conf = api.PeerGroupConf(peer_group_name=group.name, description=group.description)
    message = api.PeerGroup(conf=conf)
    _fill(message, group.options)
    message.transport.passive_mode = True  # nobody knows where to dial
    return message


def group_from_api(
    found: api.PeerGroup, members: Iterable[api.DynamicNeighbor], daemon: BgpGlobal
) -> DynamicPeers:
    """A group with those of the dynamic neighbours that are its daemon."""
    name = found.conf.peer_group_name
    prefixes = {prefix_of(member.prefix) for member in members if member.peer_group == name} - {None}
    return DynamicPeers(
        name=name,
        prefixes=tuple(sorted((prefix for prefix in prefixes if prefix), key=lambda one: (one.version, one))),
        options=_options(found, daemon, passive=False),
        description=found.conf.description,
    )
