"""Random sequences of verbs, deaths and reboots against a simple model of the allocator.

The state file and the kernel are real, and so is the plugin: a fork of a process with its modules loaded for
most calls (zygote_main.py), the executable where it is killed at some system call. Two networks, twelve
attachments, and no address may be given out that is not next: those never given in order, then the one
that rested longest. A file stands in for the kernel's boot id.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.system import injector
from tests.system.allocator_model import Attachment, NetworkModel
from tests.system.crowd import WORKERS, spread
from tests.system.injector import Step
from tests.system.model_rig import NETWORKS, SUBNETS, Rig, addresses, code, valid
from tests.system.plugin_node import Node
from tests.system.syscalls import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.installed import Installation

pytestmark = [
    pytest.mark.skipif(not injector.SUPPORTED, reason="the injector knows the registers of x86-64"),
    pytest.mark.timeout(600),
]
SECONDS = 500
EXAMPLES = 30
STEPS = 40
PODS = 6
ALL = [(f"c{number}", ifname) for number in range(PODS) for ifname in ("eth0", "eth1")]
attachments = st.sampled_from(ALL)
networks = st.sampled_from(sorted(NETWORKS))
deaths = st.builds(
    lambda name, count: Step(NUMBERS[name], count),
    st.sampled_from(
        ["pwrite64", "fcntl", "sendto", "recvfrom", "openat", "unlink", "setns", "write", "close"]
    ),
    st.integers(1, 24),
)


class Machine(RuleBasedStateMachine):
    rig: Rig
    counts: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.rig.reset()
        self.networks = {name: NetworkModel.of(*subnets) for name, subnets in SUBNETS.items()}
        # Attachments whose ADD or DEL was killed: their links may stand or not, until DEL or GC.
        self.torn: dict[Attachment, str] = {}
        # Attachments whose namespace ended without a DEL.
        self.gone: set[Attachment] = set()

    def network_of(self, one: Attachment) -> str:
        return next((name for name, network in self.networks.items() if one in network.held), "")

    def attached(self) -> set[Attachment]:
        return {one for network in self.networks.values() for one in network.held}

    def release(self, ones: set[Attachment]) -> None:
        for network in self.networks.values():
            network.release(ones)
        self.gone -= ones

    def reclaim(self) -> None:
        """Before an ADD says no, it forgets the attachments of all pods that are gone."""
        self.counts["reclaimed"] += len(self.gone & self.attached())
        self.release(self.gone & self.attached())

    def expect_reclaim(self, network: str) -> bool:
        """An ADD without a free address first takes back what gone pods hold; is one free then?"""
        if self.networks[network].exhausted():
            self.reclaim()
        return not self.networks[network].exhausted()

    @rule(one=attachments, network=networks)
    def add(self, one: Attachment, network: str) -> None:
        if one in self.torn or one in self.gone:
            return  # a runtime deletes first what it doesn't know the end of
        ended = self.rig.call("ADD", one, network)
        if one in self.attached():
            assert code(ended) == 101, ended
            self.reclaim()
        elif self.expect_reclaim(network):
            assert ended.status == 0, ended
            self.networks[network].add(one, addresses(ended))
            assert set(addresses(ended)) <= self.rig.inside(one)
            self.counts["attached"] += 1
        else:
            assert code(ended) == 100, ended
            self.counts["exhausted"] += 1

    @rule(network=networks, ones=st.lists(attachments, min_size=3, unique=True))
    def add_several(self, network: str, ones: list[Attachment]) -> None:
        for one in ones:
            if one not in self.attached():
                self.add(one, network)

    @rule(one=attachments, network=networks)
    def delete(self, one: Attachment, network: str) -> None:
        ended = self.rig.call("DEL", one, self.network_of(one) or network)
        assert (ended.status, ended.stdout) == (0, b""), ended
        self.release({one})
        self.torn.pop(one, None)
        assert one not in self.rig.links()

    @rule(one=attachments)
    def check(self, one: Attachment) -> None:
        network = self.network_of(one)
        if not network or one in self.torn or one in self.gone:
            return
        ended = self.rig.call("CHECK", one, network, prevResult={"cniVersion": "1.1.0", "ips": []})
        assert (ended.status, ended.stdout) == (0, b""), ended

    def stale(self, network: str, kept: set[Attachment]) -> set[Attachment]:
        torn = {one for one, home in self.torn.items() if home == network}
        return (set(self.networks[network].held) - kept) | torn

    @rule(network=networks, kept=st.sets(attachments))
    def collect(self, network: str, kept: set[Attachment]) -> None:
        stale = self.stale(network, kept)
        ended = self.rig.call("GC", ALL[0], network, **valid(set(ALL) - stale))
        assert (ended.status, ended.stdout) == (0, b""), ended
        self.networks[network].release(stale)
        self.gone -= stale
        for one in stale:
            self.torn.pop(one, None)

    @rule(one=attachments, network=networks, step=deaths)
    def killed_add(self, one: Attachment, network: str, step: Step) -> None:
        if one in self.torn or one in self.gone or one in self.attached():
            return
        ended = self.rig.killed(step, "ADD", one, network)
        found = self.rig.state()
        # What was gone may have been taken back before the end.
        self.release({other for other in self.gone & self.attached() if other not in found})
        if not ended.hit and ended.status:
            assert code(ended) == 100, ended
            assert self.networks[network].exhausted()
        elif not ended.hit:
            self.networks[network].add(one, addresses(ended))
        else:
            self.torn[one] = network
            self.counts["torn"] += 1
            if one in found:
                self.networks[network].add(one, found[one][1])

    @rule(one=attachments, step=deaths)
    def killed_delete(self, one: Attachment, step: Step) -> None:
        network = self.network_of(one)
        if not network:
            return
        self.rig.killed(step, "DEL", one, network)
        if one not in self.rig.state():
            self.release({one})
            self.torn[one] = network
            self.counts["torn"] += 1

    @rule(network=networks, kept=st.sets(attachments), step=deaths)
    def killed_collect(self, network: str, kept: set[Attachment], step: Step) -> None:
        stale = self.stale(network, kept)
        self.rig.killed(step, "GC", ALL[0], network, **valid(set(ALL) - stale))
        released = stale - set(self.rig.state())
        self.networks[network].release(released)
        self.gone -= released
        self.torn |= dict.fromkeys(released, network)

    @rule(number=st.integers(0, PODS - 1))
    def vanish(self, number: int) -> None:
        """A pod's namespace ends, with no DEL; its name comes back for another."""
        self.rig.vanish(self.rig.node.pods[number])
        self.gone |= {one for one in self.attached() if one[0] == f"c{number}"}

    @rule(chance=st.integers(0, 4))
    def reboot(self, chance: int) -> None:
        if chance:
            return  # not so often that no range is ever full
        self.rig.reboot()
        self.networks = {name: NetworkModel.of(*subnets) for name, subnets in SUBNETS.items()}
        self.torn.clear()
        self.gone.clear()
        # The file is of the last boot until a call looks at it.
        ended = self.rig.call("DEL", ALL[0], "wide")
        assert ended.status == 0, ended

    @invariant()
    def the_state_is_the_models(self) -> None:
        expected = {
            one: (name, tuple(sorted(ips, key=len)))
            for name, network in self.networks.items()
            for one, ips in network.held.items()
        }
        assert self.rig.state() == expected

    @invariant()
    def no_address_is_held_twice(self) -> None:
        for network in self.networks.values():
            ips = [ip for held in network.held.values() for ip in held]
            assert len(ips) == len(set(ips))

    @invariant()
    def the_links_are_the_models(self) -> None:
        links = self.rig.links() - set(self.torn)
        assert links == self.attached() - set(self.torn) - self.gone


def play(rig: Rig, _: Iterator[None]) -> Counter[str]:
    rig.up()
    counts: Counter[str] = Counter()
    machine = type("Machine", (Machine,), {"rig": rig, "counts": counts})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                # A shrunk example takes minutes to find; the steps of the whole one are shown.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        rig.zygote.close()
    return counts


@pytest.fixture
def rigs(installation: Installation, tmp_path: Path) -> Iterator[list[Rig]]:
    made: list[Rig] = []
    try:
        for number in range(WORKERS):
            home = tmp_path / f"home{number}"
            home.mkdir()
            node = Node(installation.plugin, home / "state")
            made.append(Rig(node, home))
            node.up()
            for _ in range(PODS):
                node.pod()
        yield made
    finally:
        for rig in made:
            rig.node.down()


def test_no_sequence_of_verbs_deaths_and_reboots_breaks_the_allocator(rigs: list[Rig]) -> None:
    counts = sum(spread(play, rigs, [], SECONDS), Counter[str]())
    print(dict(counts))
    assert min(counts[kind] for kind in ("attached", "exhausted", "reclaimed", "torn")) > 0, counts
