"""The daemon, its peers and its peer groups in GoBGP 3's messages. Pure: no connection; the clock is handed in."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, TypedDict

from protos.gobgp_v3 import gobgp_pb2 as api
from speaker.bgp import (
    BgpGlobal,
    DynamicPeers,
    Family,
    Peer,
    PeerStatus,
    PrefixLimit,
    Refusals,
    SessionOptions,
)
from speaker.gobgp.v3_paths import family_from_api, family_to_api
from speaker.gobgp.values import specified

if TYPE_CHECKING:
    from collections.abc import Iterable

GRACEFUL_RESTART = "GracefulRestartCapability"
# Where the daemon would choose the port itself.
BGP_PORT = 179
# RFC 5082: a neighbour that is n hops away is heard with a TTL of 256 - n or more.
_TTL_BASE = 256


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
    """None for a daemon that has not been started. The unspecified addresses stand for all."""
    if found.asn == 0:
        return None
    listen = tuple(text for text in found.listen_addresses if specified(text))
    return BgpGlobal(found.asn, found.router_id, found.listen_port, listen)


# ---- to the daemon: every value is spelled out, none is left to its defaults


class _Common(TypedDict):
    """What Peer and PeerGroup have in common."""

    ebgp_multihop: api.EbgpMultihop
    route_reflector: api.RouteReflector
    timers: api.Timers
    graceful_restart: api.GracefulRestart
    afi_safis: list[api.AfiSafi]
    ttl_security: api.TtlSecurity


def peer_to_api(peer: Peer, restarting: bool, found: str = "") -> api.Peer:
    """The request for AddPeer. `restarting` counts only for a peer with graceful restart.

    `found` is the address of an interface peer: this version looks it up itself, but only after it has missed it.
    """
    options = peer.options
    return api.Peer(
        conf=api.PeerConf(
            neighbor_address=str(peer.address or ""),
            neighbor_interface=peer.interface,
            peer_asn=options.asn,
            local_asn=options.local_asn,
            auth_password=options.password,
            description=peer.description,
        ),
        state=api.PeerState(neighbor_address=found) if found else None,
        transport=api.Transport(
            local_address=str(options.local_address or ""),
            passive_mode=options.passive,
            remote_port=peer.port,
        ),
        **_common(options, restarting),
    )


def group_to_api(group: DynamicPeers) -> api.PeerGroup:
    """The request for AddPeerGroup. Always passive: nobody knows where to dial."""
    options = group.options
    return api.PeerGroup(
        conf=api.PeerGroupConf(
            peer_group_name=group.name,
            peer_asn=options.asn,
            local_asn=options.local_asn,
            auth_password=options.password,
            description=group.description,
        ),
        transport=api.Transport(local_address=str(options.local_address or ""), passive_mode=True),
        **_common(options, restarting=False),
    )


def _common(options: SessionOptions, restarting: bool) -> _Common:
    graceful = options.restart_time > 0
    hops = options.ttl_security
    return _Common(
        ebgp_multihop=api.EbgpMultihop(enabled=options.multihop_ttl > 0, multihop_ttl=options.multihop_ttl),
        route_reflector=api.RouteReflector(
            route_reflector_client=options.reflector_client, route_reflector_cluster_id=options.cluster_id
        ),
        timers=api.Timers(
            config=api.TimersConfig(
                connect_retry=options.connect_retry,
                hold_time=options.hold,
                keepalive_interval=options.keepalive,
            )
        ),
        # While a restarted daemon waits for its peers' End-of-RIB it tells them nothing: no longer than they wait.
        graceful_restart=api.GracefulRestart(
            enabled=graceful,
            restart_time=options.restart_time,
            deferral_time=options.restart_time,
            local_restarting=graceful and restarting,
        ),
        afi_safis=[_afi_to_api(options, family) for family in sorted(options.families)],
        ttl_security=api.TtlSecurity(enabled=hops > 0, ttl_min=_TTL_BASE - hops if hops else 0),
    )


def _afi_to_api(options: SessionOptions, family: Family) -> api.AfiSafi:
    return api.AfiSafi(
        config=api.AfiSafiConfig(family=family_to_api(family), enabled=True),
        mp_graceful_restart=api.MpGracefulRestart(
            config=api.MpGracefulRestartConfig(enabled=options.restart_time > 0)
        ),
        prefix_limits=next(
            (
                api.PrefixLimit(
                    family=family_to_api(family),
                    max_prefixes=limit.maximum,
                    shutdown_threshold_pct=limit.warning_percent,
                )
                for limit in options.prefix_limits
                if limit.family == family
            ),
            None,
        ),
    )


# ---- from the daemon


def peer_from_api(found: api.Peer, daemon: BgpGlobal, now: float) -> PeerStatus:
    """What ListPeer tells; `now` in seconds since the epoch. The local address is the session's where none was set."""
    conf, state = found.conf, found.state
    established = state.session_state == api.PeerState.ESTABLISHED
    since = found.timers.state.uptime.seconds
    peer = Peer(
        address=None
        if conf.neighbor_interface
        else ip_address(state.neighbor_address or conf.neighbor_address),
        options=_options(found, conf, daemon, found.transport.passive_mode),
        interface=conf.neighbor_interface,
        port=found.transport.remote_port or BGP_PORT,
        description=conf.description,
    )
    graceful = found.graceful_restart.enabled and any(
        cap.type_url.endswith(f".{GRACEFUL_RESTART}") for cap in state.remote_cap
    )
    counts = [entry.state for entry in found.afi_safis]
    # Counted with End-of-RIB, and for a peer that is down as well.
    told = sum(entry.advertised for entry in counts) - (len(counts) if graceful else 0)
    return PeerStatus(
        peer=peer,
        state=api.PeerState.SessionState.Name(state.session_state).lower(),
        group=conf.peer_group,
        address=state.neighbor_address or conf.neighbor_address,
        uptime=max(0.0, now - since) if established and since else 0.0,
        reason="more prefixes than its prefix limit" if state.admin_state == api.PeerState.PFX_CT else "",
        received=sum(entry.received for entry in counts),
        accepted=sum(entry.accepted for entry in counts),
        advertised=max(0, told) if established else 0,
        router_id=state.router_id if established else "",
        graceful=graceful,
        end_of_rib=_families(
            entry for entry in found.afi_safis if entry.mp_graceful_restart.state.end_of_rib_received
        ),
        refusals=Refusals(
            by_peer=min(state.messages.sent.open, state.messages.received.notification),
            by_daemon=min(state.messages.received.open, state.messages.sent.notification),
        ),
    )


def group_from_api(found: api.PeerGroup, prefixes: Iterable[str], daemon: BgpGlobal) -> DynamicPeers:
    """What ListPeerGroup tells, with the prefixes of ListDynamicNeighbor in order."""
    networks = [ip_network(prefix) for prefix in prefixes]
    return DynamicPeers(
        name=found.conf.peer_group_name,
        prefixes=tuple(
            sorted(networks, key=lambda net: (net.version, int(net.network_address), net.prefixlen))
        ),
        options=_options(found, found.conf, daemon, passive=False),
        description=found.conf.description,
    )


def _options(
    found: api.Peer | api.PeerGroup, conf: api.PeerConf | api.PeerGroupConf, daemon: BgpGlobal, passive: bool
) -> SessionOptions:
    """As they were given: what the daemon fills in itself is left out again."""
    timers = found.timers.config
    graceful, reflector = found.graceful_restart, found.route_reflector
    cluster = reflector.route_reflector_cluster_id
    return SessionOptions(
        asn=conf.peer_asn,
        local_asn=conf.local_asn if conf.local_asn != daemon.asn else 0,
        families=_families(found.afi_safis),
        password=conf.auth_password,
        local_address=specified(found.transport.local_address),
        passive=passive,
        multihop_ttl=found.ebgp_multihop.multihop_ttl if found.ebgp_multihop.enabled else 0,
        ttl_security=_TTL_BASE - found.ttl_security.ttl_min if found.ttl_security.enabled else 0,
        connect_retry=timers.connect_retry,
        hold=timers.hold_time,
        keepalive=timers.keepalive_interval,
        restart_time=graceful.restart_time if graceful.enabled else 0,
        reflector_client=reflector.route_reflector_client,
        cluster_id=cluster if cluster != daemon.router_id else "",
        prefix_limits=tuple(_limits(found.afi_safis)),
    )


def _families(entries: Iterable[api.AfiSafi]) -> frozenset[Family]:
    found = {family_from_api(entry.config.family) for entry in entries}
    return frozenset(family for family in found if family is not None)


def _limits(entries: Iterable[api.AfiSafi]) -> Iterable[PrefixLimit]:
    for entry in sorted(entries, key=lambda entry: entry.config.family.afi):
        limit, family = entry.prefix_limits, family_from_api(entry.config.family)
        if limit.max_prefixes and family is not None:
            yield PrefixLimit(family, limit.max_prefixes, limit.shutdown_threshold_pct)
