"""Two FRR racks beside a gobgpd that the adapter alone steers: what policies are tried on."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from speaker.bgp import LocalPath, Peer, Policies, PrefixMatch, Rule, Source
from tests.system.gobgp_rig import wait
from tests.system.gobgp_steered import OPEN, Neighbour, Steered, options, rack

OURS = ("10.244.1.0/24", "10.244.2.0/24", "fd24:1::/64")
THEIRS = ("10.50.0.0/16", "10.50.1.0/24", "10.51.0.0/16", "fd50::/48", "fd50:0:0:1::/64")
LOCAL = Rule(accept=True, source=Source.LOCAL)
ANY = Rule(accept=True)


def within(text: str, low: int = 0, high: int = 0) -> PrefixMatch:
    prefix = ip_network(text)
    return PrefixMatch(prefix, low or prefix.prefixlen, high or prefix.max_prefixlen)


def exactly(text: str) -> PrefixMatch:
    return within(text, high=ip_network(text).prefixlen)


class Racks:
    """Two racks with a session for each family; the first one announces THEIRS, the node OURS."""

    def __init__(self, steered: Steered) -> None:
        self.steered = steered
        self.one, self.two = rack(steered, 65002), rack(steered, 65003)
        self.put(OPEN)
        steered.do(
            steered.session.announce(
                [LocalPath(ip_network(text), ip_address("::" if ":" in text else 0)) for text in OURS]
            )
        )
        for asn, router in ((65002, self.one), (65003, self.two)):
            for here, there in ((router.node_v4, router.v4), (router.node_v6, router.v6)):
                Neighbour(router, asn, here, 65001).__enter__()
                steered.add(Peer(ip_address(there), options(asn)))
        for family in ("ipv4", "ipv6"):
            networks = [f"network {net}" for net in THEIRS if (":" in net) == (family == "ipv6")]
            self.one.vtysh(
                "configure terminal", "router bgp 65002", f"address-family {family} unicast", *networks
            )
        steered.wait_up(self.one.v4, self.one.v6, self.two.v4, self.two.v6)
        wait("all of the first rack's", lambda: self.learned() == set(THEIRS))

    def put(self, policies: Policies) -> None:
        members = tuple(
            (name, (router.v4, router.v6)) for name, router in (("one", self.one), ("two", self.two))
        )
        self.policies = replace(policies, members=members)
        self.steered.do(self.steered.session.set_policies(self.policies))
        assert self.steered.do(self.steered.session.holds_policies(self.policies))

    def exports(self, *rules: Rule) -> None:
        self.put(Policies(OPEN.imports, rules))

    def imports(self, *rules: Rule) -> None:
        self.put(Policies(rules, OPEN.exports))

    def learned(self) -> set[str]:
        """Prefixes that peers' paths are in the table for."""
        table = self.steered.do(self.steered.session.table())
        return {str(entry.prefix) for entry in table if entry.learned}

    def preferences(self, prefix: str) -> set[int]:
        (entry,) = self.steered.do(self.steered.session.table([ip_network(prefix)]))
        return {path.local_pref for path in entry.learned}

    def renew(self) -> None:
        """New sessions: only they take back what may no longer be told."""
        for router in (self.one, self.two):
            for address in (router.v4, router.v6):
                status = self.steered.status(address)
                peer = replace(status.peer, options=replace(status.peer.options, local_address=None))
                self.steered.remove(address)
                self.steered.add(peer)
        self.steered.wait_up(self.one.v4, self.one.v6, self.two.v4, self.two.v6)
