"""What a bridge's address, masquerading, spoof checks and CHECK do, by the reference plugins and by anypod."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.compare_known import REFUSED
from tests.system.compare_rig import DUAL, V4, V6
from tests.system.outside import Outside

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.compare_rig import Both, Seen, Side


def global_addresses(side: Side, link: str) -> list[str]:
    shown = next(one for one in side.node.ip("addr") if one["ifname"] == link)
    return sorted(
        f"{one['local']}/{one['prefixlen']}" for one in shown["addr_info"] if one["scope"] == "global"
    )


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize(
    ("ipam", "before"),
    [
        (V4, ["10.244.1.77/24"]),
        (V4, ["10.244.1.1/16"]),
        (V6, ["fd00:1::77/64"]),
        (V6, ["fd00:9::1/64"]),
        (V6, ["fd00:1::77/48"]),
        (DUAL, ["192.0.2.1/24", "fd00:1::77/64"]),
        (DUAL, ["10.244.1.1/24", "fd00:1::1/64"]),
    ],
    ids="v4-same-subnet v4-prefix v6-same-subnet v6-other v6-wider dual-other dual-same".split(),
)
def test_a_bridge_that_has_another_address(
    both: Both, ipam: dict[str, Any], before: list[str], force: bool
) -> None:
    def script(side: Side) -> Seen:
        side.node.execute(side.node.name, *"ip link add cni0 type bridge".split())
        for address in before:
            side.node.execute(side.node.name, "ip", "addr", "add", address, "dev", "cni0")
        conf = side.conf(ipam=ipam, isGateway=True, forceAddress=force)
        answer = side.call("ADD", "c1", side.pod(), conf)
        if answer.status:
            side.refused(answer, "already has an IP address different from")
        return {"attached": answer.status == 0, "bridge": global_addresses(side, "cni0"), "held": side.held()}

    both.agree(script)


def test_a_bridge_that_has_an_ipv4_address_of_another_subnet(both: Both) -> None:
    def script(side: Side) -> Seen:
        side.node.execute(side.node.name, *"ip link add cni0 type bridge".split())
        side.node.execute(side.node.name, *"ip addr add 192.0.2.1/24 dev cni0".split())
        answer = side.call("ADD", "c1", side.pod(), side.conf(isGateway=True))
        return {"attached": answer.status == 0, "kept": "192.0.2.1/24" in global_addresses(side, "cni0")}

    both.agree(script, {"several-ipv4-subnets"})


def test_a_network_that_changes_its_subnet_needs_force_address(both: Both) -> None:
    def script(side: Side) -> Seen:
        side.add("c1", side.pod(), side.conf(isGateway=True))
        changed = side.conf(ipam={"subnet": "10.244.1.0/24", "gateway": "10.244.1.254"}, isGateway=True)
        refused = side.call("ADD", "c2", side.pod(), changed).status != 0
        forced = side.call("ADD", "c3", side.pod(), changed | {"forceAddress": True}).status == 0
        return {"refused": refused, "forced": forced, "bridge": global_addresses(side, "cni0")}

    both.agree(script)


@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("masquerade", [True, False])
def test_what_the_outside_sees_of_a_pod(both: Both, family: str, masquerade: bool) -> None:
    def script(side: Side) -> Seen:
        outside = Outside(side.node)
        pod = side.pod()
        conf = side.conf(ipam=DUAL, isDefaultGateway=True, ipMasq=masquerade)
        side.add("c1", pod, conf)
        return {"source": outside.source_seen(pod, family), "answers come": outside.answers(pod, family)}

    both.agree(script)


def test_masquerading_leaves_pods_of_one_subnet_among_themselves_and_multicast_alone(both: Both) -> None:
    def script(side: Side) -> Seen:
        outside = Outside(side.node)
        conf = side.conf(ipam=DUAL, isDefaultGateway=True, ipMasq=True)
        first, second = side.pod(), side.pod()
        side.add("c1", first, conf)
        side.add("c2", second, conf)
        return {
            "to a neighbour": outside.source_at(second, first, "10.244.1.3"),
            "to a neighbour, v6": outside.source_at(second, first, "fd00:1::3"),
        }

    both.agree(script)


def ruleset(side: Side) -> list[str]:
    """What nft lists, without order: chains that are made anew are listed elsewhere."""
    return sorted(side.node.execute(side.node.name, "nft", "-s", "list", "ruleset").splitlines())


def test_masquerading_is_set_up_again_without_a_rule_twice(both: Both) -> None:
    """Lines are counted, not compared: the reference has rules for each pod, anypod one set for the node."""

    def script(side: Side) -> Seen:
        conf = side.conf(isGateway=True, ipMasq=True)
        pod = side.pod()
        side.add("c1", pod, conf)
        once = ruleset(side)
        side.delete("c1", pod, conf)
        side.add("c1", pod, conf | {"args": {"cni": {"ips": ["10.244.1.2"]}}})
        assert ruleset(side) == once, side.label
        side.add("c2", side.pod(), conf)
        return {"rules for another pod": len(ruleset(side)) > len(once)}

    both.agree(script, {"masquerade-rules"})


def test_masquerading_of_a_pod_ends_with_it(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(isGateway=True, ipMasq=True), side.pod()
        side.add("c1", pod, conf)
        side.delete("c1", pod, conf)
        return {"rules end with the pod": not any("masquerade" in line for line in ruleset(side))}

    both.agree(script, {"masquerade-rules"})


def test_a_pod_may_not_use_another_hardware_address_with_macspoofchk(both: Both) -> None:
    def script(side: Side) -> Seen:
        seen: Seen = {}
        for number, check in enumerate((False, True)):
            conf = side.conf(isGateway=True, macspoofchk=check)
            pod = side.pod()
            side.add(f"c{number}", pod, conf)
            assert side.node.pings(pod, "10.244.1.1"), side.label
            side.node.execute(pod, *"ip link set eth0 address 02:00:00:00:00:99".split())
            seen[f"reaches the node, macspoofchk {check}"] = side.node.pings(pod, "10.244.1.1")
            side.delete(f"c{number}", pod, conf)
        return seen

    both.agree(script)


def test_macspoofchk_leaves_no_rule_of_a_pod_behind(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf, pods = side.conf(macspoofchk=True), [side.pod(), side.pod()]
        side.add("c1", pods[0], conf)
        before = ruleset(side)
        side.add("c2", pods[1], conf)
        assert ruleset(side) != before, side.label
        side.delete("c2", pods[1], conf)
        assert ruleset(side) == before, side.label
        return {"as before": True}

    both.agree(script)


def test_a_kernel_without_vlan_filtering_is_told_and_nothing_is_left(both: Both) -> None:
    """Where the kernel has it, the same call is compared as an attachment."""

    def script(side: Side) -> Seen:
        answer = side.call("ADD", "c1", side.pod(), side.conf(ipam={}, vlan=100))
        if answer.status == 0:
            shown = side.node.execute(side.node.name, "bridge", "-j", "vlan")
            return {"attached": True, "native vlan": '"vlan":100,"flags":["PVID","Egress Untagged"]' in shown}
        return side.refused(answer, "") | {"held": side.held()}

    both.agree(script, REFUSED if not has_vlan_filtering() else ())


def has_vlan_filtering() -> bool:
    """Whether this kernel's bridges know VLANs."""
    argv = ["unshare", "-n", *"ip link add probe type bridge vlan_filtering 1".split()]
    return subprocess.run(argv, check=False, capture_output=True, timeout=20).returncode == 0


def breaks(side: Side, pod: str, command: str) -> None:
    host = next(iter(side.hosts))
    namespace, _, rest = command.partition(": ")
    side.node.execute(pod if namespace == "pod" else side.node.name, *rest.replace("HOST", host).split())


CHECKED: dict[str, Callable[[Side, str], None]] = {
    name: lambda side, pod, command=command: breaks(side, pod, command)  # type: ignore[misc]
    for name, command in {
        "interface": "pod: ip link del eth0",
        "address": "pod: ip addr flush dev eth0 scope global",
        "route": "pod: ip route del default",
        "mac": "pod: ip link set eth0 address 02:00:00:00:00:99",
        "bridge port": "node: ip link set HOST nomaster",
        "bridge": "node: ip link del cni0",
    }.items()
}


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_check_passes_as_long_as_nothing_changed(both: Both, version: str) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(ipam=DUAL, isDefaultGateway=True, ipMasq=True, cniVersion=version), side.pod()
        conf["prevResult"] = side.add("c1", pod, conf)
        answer = side.call("CHECK", "c1", pod, conf)
        side.delete("c1", pod, conf)
        return {"status": answer.status, "stdout": answer.stdout, "held": side.held()}

    both.agree(script)


@pytest.mark.parametrize("what", CHECKED)
def test_check_tells_what_is_lost(both: Both, what: str) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(isDefaultGateway=True), side.pod()
        conf["prevResult"] = side.add("c1", pod, conf)
        CHECKED[what](side, pod)
        return side.refused(side.call("CHECK", "c1", pod, conf), "")

    both.agree(script, REFUSED)


def test_check_tells_that_the_address_is_not_reserved_any_more(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(isGateway=True), side.pod()
        result = side.add("c1", pod, conf)
        # Without its namespace, DEL gives the address back and, with the reference, leaves the link.
        side.delete("c1", "", conf)
        return side.refused(side.call("CHECK", "c1", pod, conf | {"prevResult": result}), "")

    both.agree(script, REFUSED)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1"])
def test_check_is_refused_for_versions_that_do_not_know_it(both: Both, version: str) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(cniVersion=version), side.pod()
        conf["prevResult"] = side.add("c1", pod, conf)
        answer = side.call("CHECK", "c1", pod, conf)
        return {"code": side.refused(answer, "config version does not allow CHECK")["error.code"]}

    both.agree(script)


def test_check_needs_the_result_of_add(both: Both) -> None:
    def script(side: Side) -> Seen:
        conf, pod = side.conf(), side.pod()
        side.add("c1", pod, conf)
        return side.refused(side.call("CHECK", "c1", pod, conf), "Required prevResult missing")

    both.agree(script, REFUSED)
