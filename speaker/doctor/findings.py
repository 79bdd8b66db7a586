"""What facts about a node mean: the kernel, its sysctls, speaker and gobgpd. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from speaker.doctor import network, peers, plugin
from speaker.doctor.values import Facts, Finding, Groups, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Of like findings the first are told.
SHOWN = 10


def diagnose(facts: Facts) -> Iterator[Finding]:
    """All findings, good ones too."""
    for about, found in (
        ("kernel", iter((_groups(facts.groups),))),
        ("hashing", _hashing(facts.sysctls)),
        ("forwarding", _forwarding(facts)),
        ("rp-filter", _reverse_path(facts.sysctls)),
        ("network", network.findings(facts)),
        ("speaker", _speaker(facts)),
        ("peer", peers.findings(facts)),
        ("plugin", plugin.findings(facts)),
    ):
        yield from (one if one.about else replace(one, about=about) for one in found)


def _groups(groups: Groups) -> Finding:
    if groups is Groups.RESILIENT:
        return Finding(Level.OK, "the kernel has resilient next-hop groups")
    if groups is Groups.PLAIN:
        return Finding(
            Level.WARNING,
            "the kernel has no resilient next-hop groups: virtual IPs get plain ones, and each change of a VIP's"
            " pods moves established connections between the others",
            "run a kernel from 5.13 on, with CONFIG_IPV6 and nexthop objects",
        )
    if groups is Groups.NONE:
        return Finding(
            Level.ERROR,
            "the kernel has no next-hop objects: virtual IPs can't be routed to pods",
            "run a kernel from 5.13 on",
        )
    return Finding(
        Level.WARNING,
        "next-hop groups could not be tried: that takes a network namespace",
        "run this as root",
    )


def _hashing(sysctls: Mapping[str, str | None]) -> Iterator[Finding]:
    """Policy 1 takes a number that a packet over a veth brings along, and its sender picks another now and then."""
    for version in ("ipv4", "ipv6"):
        policy = sysctls.get(f"{version}/fib_multipath_hash_policy")
        custom = sysctls.get(f"{version}/fib_multipath_hash_fields") is not None
        fix = (
            f"sysctl -w net.{version}.fib_multipath_hash_fields=55 net.{version}.fib_multipath_hash_policy=3"
        )
        if policy == "0":
            what = f"net.{version}: next hops are chosen by addresses alone, all connections of a client go to one pod"
            yield Finding(Level.WARNING, f"{what} (the speaker changes this with the first virtual IP)", fix)
        elif policy == "1" and custom:
            what = f"net.{version}: connections of this node's pods to virtual IPs may break when packets are lost"
            yield Finding(Level.WARNING, f"{what} (fib_multipath_hash_policy is 1)", fix)
        elif policy is not None:
            yield Finding(Level.OK, f"net.{version}: next hops are chosen by more than addresses")


def _forwarding(facts: Facts) -> Iterator[Finding]:
    """Of the families that pods have, or of both where none is known."""
    families = network.families(facts)
    for family, key in ((4, "ipv4/ip_forward"), (6, "ipv6/conf/all/forwarding")):
        if families and family not in families:
            continue
        if facts.sysctls.get(key) == "0":
            yield Finding(
                Level.WARNING,
                f"IPv{family} packets are not forwarded (the plugin changes this with the first pod)",
                f"sysctl -w net.{key.replace('/', '.')}=1",
            )
        elif facts.sysctls.get(key):
            yield Finding(Level.OK, f"IPv{family} packets are forwarded")


def _reverse_path(sysctls: Mapping[str, str | None]) -> Iterator[Finding]:
    """The kernel goes by the stricter of `all` and the interface's own; strict is 1, and 2 is the loose way."""
    every = int(sysctls.get("ipv4/conf/all/rp_filter") or 0)
    strict = [
        key.split("/")[2]
        for key, value in sorted(sysctls.items())
        if key.endswith("/rp_filter") and key.split("/")[2] not in {"all", "default", "lo"}
        if max(every, int(value or 0)) == 1
    ]
    if strict:
        yield Finding(
            Level.WARNING,
            f"strict reverse path filtering on {', '.join(strict[:10])}: answers of pods for a virtual IP are dropped"
            " once the node routes that address elsewhere, as it does when their health check fails",
            "sysctl -w net.ipv4.conf.all.rp_filter=2",
        )
    else:
        yield Finding(Level.OK, "no strict reverse path filtering")


def _speaker(facts: Facts) -> Iterator[Finding]:
    speaker = facts.speaker
    if facts.config:
        yield Finding(
            Level.ERROR,
            f"the speaker's configuration: {facts.config}",
            "anypod speaker check",
            "configuration",
        )
    if isinstance(speaker, str):
        yield Finding(
            Level.ERROR,
            f"the speaker does not answer: {speaker}",
            "systemctl start anypod-speaker; journalctl -u anypod-speaker",
        )
        yield from _gobgpd_alone(facts)
    else:
        yield Finding(Level.OK, "the speaker answers")
        yield from _configuration(speaker)
        yield _gobgpd(speaker.get("gobgpd"), bool(speaker.get("late")))
    if facts.gobgpd_version:
        yield Finding(Level.OK, f"gobgpd is version {facts.gobgpd_version}", about="gobgpd")
    else:
        fix = "apt-get install gobgpd, or put it into PATH"
        yield Finding(Level.WARNING, "no gobgpd is found in PATH", fix, "gobgpd")
    if facts.open_api:
        yield Finding(
            Level.WARNING,
            "something takes connections from everybody on port 50051, as a gobgpd does that was started by itself:"
            " whoever reaches it can announce what he likes",
            "systemctl disable --now gobgpd, or start it with --api-hosts unix:///run/anypod/gobgpd/api.sock",
            "gobgpd",
        )


def _configuration(speaker: Mapping[str, Any]) -> Iterator[Finding]:
    configuration = speaker.get("configuration", {})
    if refused := configuration.get("refused", ""):
        what = f"the changed configuration is refused, the one before stays in force: {refused}"
        yield Finding(Level.ERROR, what, "mend the file; anypod speaker check", "configuration")
    # The restarts that take more come first.
    for restart in sorted(set(configuration.get("waiting", {}).values())):
        keys = ", ".join(key for key, each in configuration["waiting"].items() if each == restart)
        what = f"{keys}: changed in the speaker's configuration, and not in force before a restart"
        yield Finding(Level.WARNING, what, restart, "configuration")
    routes = speaker.get("routes", {})
    for prefix, why in list(routes.get("refusals", {}).items())[:SHOWN]:
        yield Finding(
            Level.ERROR, f"the kernel refuses the route to {prefix}: {why}", "see that reason", "routes"
        )
    for hop, count in list(routes.get("next_hops", {}).items())[:SHOWN]:
        what = f"next hop {hop} can't be reached, {count} prefixes are left without a route"
        yield Finding(Level.WARNING, what, f"ip route get {hop}; anypod routes learned says why", "routes")
    if routes.get("beyond_maximum"):
        what = f"{routes['beyond_maximum']} learned routes are left out by accept.maximum"
        yield Finding(Level.WARNING, what, "raise accept.maximum in speaker.toml, or accept less", "routes")
    yield from _vips(speaker.get("vips", ()))


def _vips(vips: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """Of VIPs that are not announced, the endpoints that are to blame."""
    for one in [vip for vip in vips if vip["state"] != "announced" and "drain" not in vip["reason"]][:SHOWN]:
        sick = [end for end in one["endpoints"] if end["health"] == "down" or end["unreachable"]]
        for end in sick[:SHOWN]:
            why = end["unreachable"] or f"its check {end['check']} fails: {end['error']}"
            fix = "see to the application in that pod" if not end["unreachable"] else "see that reason"
            what = f"virtual IP {one['vip']} is {one['state']}: pod {end['pod']} ({end['address']}): {why}"
            yield Finding(Level.ERROR, what, f"{fix}; anypod explain {one['vip']}", "virtual-ip")
        if not sick:
            what = f"virtual IP {one['vip']} is {one['state']}: {one['reason']}"
            yield Finding(Level.WARNING, what, f"anypod explain {one['vip']}", "virtual-ip")


def _gobgpd(gobgpd: object, late: bool) -> Finding:
    trouble = gobgpd.get("trouble") if isinstance(gobgpd, dict) else "it is not known"
    if not trouble and late:
        what = "gobgpd is asked and does not answer within 2 s: what is told of peers and paths may be old"
        return Finding(
            Level.WARNING,
            what,
            "look again in 15 s; if it stays so, systemctl restart anypod-gobgpd",
            "gobgpd",
        )
    if not trouble:
        return Finding(Level.OK, "gobgpd is as configured", about="gobgpd")
    if isinstance(gobgpd, dict) and not gobgpd.get("connected", True):
        what = f"gobgpd does not answer at {gobgpd.get('api')}: {trouble}"
        return Finding(
            Level.ERROR, what, "systemctl restart anypod-gobgpd; journalctl -u anypod-gobgpd", "gobgpd"
        )
    what = f"gobgpd is not as configured: {trouble}"
    return Finding(Level.ERROR, what, "journalctl -u anypod-gobgpd -u anypod-speaker", "gobgpd")


def _gobgpd_alone(facts: Facts) -> Iterator[Finding]:
    """Asked by ourselves, for the speaker is silent."""
    found = facts.gobgpd
    if found is None:
        return
    if found.trouble:
        what = f"gobgpd does not answer at {found.api}: {found.trouble}"
        yield Finding(
            Level.ERROR, what, "systemctl start anypod-gobgpd; journalctl -u anypod-gobgpd", "gobgpd"
        )
    else:
        what = f"gobgpd answers at {found.api}, by version {found.version} of its API, and keeps what it has"
        yield Finding(Level.OK, what, about="gobgpd")
    if facts.routes_of_ours:
        what = (
            f"{facts.routes_of_ours} routes of the speaker stand in the kernel and nobody keeps them in step"
        )
        yield Finding(Level.WARNING, what, "start the speaker, or remove them: docs/install.md", "leftovers")
