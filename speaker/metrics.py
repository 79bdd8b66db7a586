"""Metrics for Prometheus. Every name is here; docs/metrics.md lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from speaker.anycast.judge import Standing
from speaker.peers import name_of
from speaker.status import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from speaker.md5 import Md5Watch
    from speaker.reconcile import Speaker
    from speaker.reload import Reload


class Measures:
    """What is true of the speaker at the moment of a scrape, in the shape that prometheus_client collects."""

    def __init__(self, speaker: Speaker, reload: Reload, md5: Md5Watch) -> None:
        self._speaker = speaker
        self._reload = reload
        self._md5 = md5

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._process()
        yield from self._peers()
        yield from self._routes()
        yield from self._vips()

    def _process(self) -> Iterator[Metric]:
        speaker, reload = self._speaker, self._reload
        yield _gauge("gobgpd_up", "1 while gobgpd answers", speaker.connected)
        yield _gauge("in_step", "1 when the last pass over gobgpd went through", speaker.in_step)
        yield _counter("gobgpd_losses", "How often gobgpd was lost", speaker.losses)
        yield _counter("passes", "Comparisons of what should be with what is", speaker.passes)
        yield _gauge("config_ok", "0 while a changed configuration is refused", not reload.refused)
        yield _gauge("config_loaded_timestamp_seconds", "When the configuration was loaded", reload.loaded_at)

    def _peers(self) -> Iterator[Metric]:
        speaker = self._speaker
        up = _labelled("peer_up", "1 while the session is established")
        uptime = _labelled("peer_uptime_seconds", "Since the session was established")
        flaps = CounterMetricFamily("anypod_peer_flaps", "Sessions that ended", labels=("peer", "asn"))
        received = _labelled("peer_received_prefixes", "Prefixes that the peer told")
        accepted = _labelled("peer_accepted_prefixes", "Prefixes of those that the import policy takes")
        advertised = _labelled("peer_advertised_prefixes", "Prefixes that the peer is told")
        for status in speaker.daemon.peers:
            name = name_of(status)
            labels = (name, str(status.peer.options.asn))
            up.add_metric(labels, status.established)
            uptime.add_metric(labels, status.uptime)
            flaps.add_metric(labels, speaker.daemon.flaps.get(name, 0))
            received.add_metric(labels, status.received)
            accepted.add_metric(labels, status.accepted)
            if status.advertised is not None:
                advertised.add_metric(labels, status.advertised)
        yield from (up, uptime, flaps, received, accepted, advertised)
        yield _gauge("peers_configured", "Peers in the configuration", len(speaker.config.peers))
        yield _gauge("peers_refused", "Peers that gobgpd refuses", len(speaker.daemon.refused))
        yield _gauge("peers_password_differs", "Peers with another TCP MD5 password", len(self._md5.suspects))

    def _routes(self) -> Iterator[Metric]:
        speaker, routes = self._speaker, self._speaker.routes
        table = speaker.daemon.table.values()
        yield _gauge("paths_wanted", "Paths that should be announced", len(speaker.wanted()))
        yield _gauge(
            "paths_announced", "Paths that gobgpd has of ours", sum(bool(entry.ours) for entry in table)
        )
        yield _gauge(
            "prefixes_learned", "Prefixes in gobgpd's table", sum(bool(entry.learned) for entry in table)
        )
        yield _gauge("routes_in_step", "1 when the last pass over the kernel went through", routes.in_step)
        yield _gauge("routes_installed", "Learned routes in the kernel", installed(routes))
        yield _gauge("routes_stale", "Routes kept from before a loss or restart", len(routes.stale.routes))
        yield _gauge("routes_refused", "Routes that the kernel refuses", len(routes.refused))
        yield _gauge(
            "next_hops_unreachable", "Next hops that routes are left without", len(routes.unresolved)
        )
        yield _gauge("routes_beyond_maximum", "Routes left out by accept.maximum", routes.beyond_maximum)

    def _vips(self) -> Iterator[Metric]:
        anycast = self._speaker.anycast
        labels = ("vip", "pool")
        state = _labelled(
            "vip_state", "1 for the state that a virtual IP is in on this node", (*labels, "state")
        )
        endpoints = _labelled("vip_endpoints", "Pods of this node that serve a virtual IP", labels)
        serving = _labelled("vip_endpoints_serving", "Of those, the ones that take new connections", labels)
        for verdict in anycast.verdicts.values():
            of = (str(verdict.vip), verdict.pool.announcement.name if verdict.pool else "")
            for one in Standing:
                state.add_metric((*of, one.value), verdict.standing is one)
            endpoints.add_metric(of, len(verdict.endpoints))
            serving.add_metric(of, len(verdict.serving))
        yield from (state, endpoints, serving)
        yield _gauge("drains", "Drains that stand", len(anycast.drains))
        yield _gauge(
            "endpoints_unreachable",
            "Endpoints that the kernel has no way to",
            len(anycast.refusals.next_hops),
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"anypod_{name}", f"{text}.", value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"anypod_{name}", f"{text}.", value=float(value))


def _labelled(name: str, text: str, labels: tuple[str, ...] = ("peer", "asn")) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"anypod_{name}", f"{text}.", labels=labels)
