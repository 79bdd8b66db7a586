"""host-local of the reference plugins and anypod's allocator: order, ranges, exhaustion, release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_known import REFUSED
from tests.system.compare_rig import DUAL, V4

if TYPE_CHECKING:
    from tests.system.compare_rig import Both, Seen, Side

OLD: dict[str, Any] = {"subnet": "10.244.1.0/24"}


def given(side: Side, conf: dict[str, Any], steps: str) -> list[str]:
    """Runs `+1 +2 -1`: ADDs and DELs of containers; the addresses that the ADDs got."""
    pods: dict[str, str] = {}
    addresses = []
    for step in steps.split():
        name = f"c{step[1:]}"
        pod = pods.setdefault(name, "") or side.pod()
        pods[name] = pod
        if step[0] == "-":
            side.delete(name, pod, conf)
        else:
            addresses += [one["address"] for one in side.add(name, pod, conf)["ips"]]
    return addresses


@pytest.mark.parametrize(
    "ipam",
    [
        OLD,
        OLD | {"rangeStart": "10.244.1.20", "rangeEnd": "10.244.1.21", "gateway": "10.244.1.5"},
        {"ranges": [[OLD | {"rangeStart": "10.244.1.20", "rangeEnd": "10.244.1.29"}]]},
        {"ranges": [[OLD | {"rangeEnd": "10.244.1.3", "gateway": "10.244.1.2"}]]},
        {"ranges": [[OLD | {"rangeStart": "10.244.1.253", "gateway": "10.244.1.1"}]]},
        {"ranges": [[{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::ffff", "rangeEnd": "fd00:1::1:2"}]]},
        {"ranges": [[{"subnet": "10.244.1.0/29"}, {"subnet": "10.244.2.0/29"}]]},
        DUAL,
        {"ranges": [[OLD], [{"subnet": "10.245.0.0/16"}]]},
        {"subnet": "10.246.0.0/24", "ranges": [[OLD]]},
    ],
    ids="old old-range range gateway-inside last v6 two-ranges dual two-sets old-and-new".split(),
)
def test_addresses_are_given_in_the_same_order(both: Both, ipam: dict[str, Any]) -> None:
    def script(side: Side) -> Seen:
        addresses = given(side, side.conf(ipam=ipam), "+1 +2")
        return {"given": addresses, "held": side.held()}

    both.agree(script)


def test_an_address_that_came_back_rests_while_others_are_free(both: Both) -> None:
    both.agree(lambda side: {"given": given(side, side.conf(), "+1 +2 -1 +3 -3 +4 -2 +5")})


def test_a_range_that_is_exhausted_goes_on_with_what_came_back(both: Both) -> None:
    """.2 to .6, of which all were given once."""

    def script(side: Side) -> Seen:
        conf = side.conf(ipam={"subnet": "10.244.1.0/29"})
        return {"given": given(side, conf, "+1 +2 +3 +4 +5 -3 +6"), "held": side.held()}

    both.agree(script)


def test_of_several_that_came_back_the_longest_rested_is_given(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam={"subnet": "10.244.1.0/29"})
        return {"given": given(side, conf, "+1 +2 +3 +4 +5 -4 -2 +6")[-1]}

    both.agree(script, {"order-of-reuse"})


@pytest.mark.parametrize(
    ("ipam", "steps"),
    [
        ({"subnet": "10.244.1.0/30"}, "+1"),
        (OLD | {"rangeStart": "10.244.1.7", "rangeEnd": "10.244.1.7"}, "+1"),
        ({"ranges": [[{"subnet": "10.244.1.0/30"}, {"subnet": "10.244.2.0/30"}]]}, "+1 +2"),
        ({"ranges": [[{"subnet": "fd00:1::/126"}]]}, "+1 +2"),
    ],
    ids=["slash-30", "one-address", "two-ranges", "v6"],
)
def test_an_exhausted_range_is_refused_with_its_bounds(both: Both, ipam: dict[str, Any], steps: str) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam=ipam)
        addresses = given(side, conf, steps)
        answer = side.call("ADD", "more", side.pod(), conf)
        seen = side.refused(answer, "no IP addresses available in range set: ")
        return seen | {"given": addresses, "held": side.held()}

    both.agree(script, REFUSED)


def test_an_exhausted_second_range_keeps_nothing_of_the_first(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam={"ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/126"}]]})
        given(side, conf, "+1 +2")
        answer = side.call("ADD", "more", side.pod(), conf)
        seen = side.refused(answer, "no IP addresses available in range set: fd00:1::1-fd00:1::3")
        return seen | {"held": side.held()}

    both.agree(script, REFUSED)


def test_a_second_interface_has_an_address_of_its_own_and_goes_alone(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(), side.pod()
        addresses = [side.add("c1", pod, conf, ifname=name)["ips"][0]["address"] for name in ("eth0", "net1")]
        side.delete("c1", pod, conf, ifname="eth0")
        return {"given": addresses, "held": side.held(), "pod": sorted(side.node.links(pod))}

    both.agree(script)


def test_the_same_container_and_interface_twice_is_refused(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf()
        side.add("c1", side.pod(), conf)
        seen = side.refused(side.call("ADD", "c1", side.pod(), conf), "c1")
        return seen | {"held": side.held()}

    both.agree(script, REFUSED)


def test_two_networks_count_their_addresses_apart(both: Both) -> None:
    def script(side: Side) -> Seen:
        one = side.add("c1", side.pod(), side.conf())
        other = side.add("c2", side.pod(), side.conf(name="other", bridge="cni1"))
        return {"given": [one["ips"], other["ips"]]}

    both.agree(script)


def test_del_of_what_was_never_added_is_fine(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf = side.conf(ipam=V4, isGateway=True)
        kept = side.pod()
        side.add("kept", kept, conf)
        before = sorted(side.node.links())
        side.delete("never", side.pod(), conf)
        side.delete("never", "", conf)
        return {"held": side.held(), "same links": sorted(side.node.links()) == before}

    both.agree(script)


def test_del_without_a_namespace_gives_the_address_back(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(), side.pod()
        side.add("c1", pod, conf)
        side.delete("c1", "", conf)
        return {"held": side.held()}

    both.agree(script)


def test_a_folder_for_files_that_is_not_there_yet_is_no_reason_to_complain(both: Both) -> None:
    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf())
        return {"status": answer.status, "stderr": answer.stderr}

    both.agree(script)


def test_an_add_that_fails_behind_the_allocation_gives_the_address_back(both: Both) -> None:
    """The gateway that ipam.routes names can't be reached from the pod."""

    def script(side: Side) -> Seen:
        conf = side.conf(ipam=V4 | {"routes": [{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]})
        seen = side.refused(side.call("ADD", "c1", side.pod(), conf), "route")
        return seen | {"held": side.held()}

    both.agree(script, REFUSED)
