"""What facts about a node mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from speaker.doctor.findings import Facts, Groups, Level, diagnose

GOOD = Facts(
    Groups.RESILIENT,
    {
        "ipv4/fib_multipath_hash_policy": "3",
        "ipv6/fib_multipath_hash_policy": "3",
        "ipv4/fib_multipath_hash_fields": "55",
        "ipv6/fib_multipath_hash_fields": "55",
        "ipv4/ip_forward": "1",
        "ipv6/conf/all/forwarding": "1",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/default/rp_filter": "1",
        "ipv4/conf/eth0/rp_filter": "2",
    },
    {"gobgpd": {"trouble": ""}},
)


def bad(facts: Facts) -> list[tuple[Level, str, str]]:
    return [(one.level, one.what, one.fix) for one in diagnose(facts) if one.level is not Level.OK]


def sysctl(key: str, value: str) -> Facts:
    return replace(GOOD, sysctls={**GOOD.sysctls, key: value})


def test_a_node_that_has_all_has_nothing_to_mend() -> None:
    assert bad(GOOD) == []
    assert all(not one.fix for one in diagnose(GOOD))


@pytest.mark.parametrize(
    ("facts", "level", "what", "fix"),
    [
        (
            replace(GOOD, groups=Groups.PLAIN),
            Level.WARNING,
            "no resilient next-hop groups",
            "kernel from 5.13",
        ),
        (replace(GOOD, groups=Groups.NONE), Level.ERROR, "no next-hop objects", "kernel from 5.13"),
        (replace(GOOD, groups=Groups.UNTRIED), Level.WARNING, "could not be tried", "as root"),
        (
            sysctl("ipv4/fib_multipath_hash_policy", "0"),
            Level.WARNING,
            "go to one pod",
            "net.ipv4.fib_multipath_hash_policy=3",
        ),
        (
            sysctl("ipv6/fib_multipath_hash_policy", "1"),
            Level.WARNING,
            "may break when packets are lost",
            "net.ipv6.fib_multipath_hash_policy=3",
        ),
        (sysctl("ipv6/conf/all/forwarding", "0"), Level.WARNING, "IPv6", "net.ipv6.conf.all.forwarding=1"),
        (sysctl("ipv4/conf/eth0/rp_filter", "1"), Level.WARNING, "filtering on eth0", "rp_filter=2"),
        (replace(GOOD, speaker="no socket"), Level.ERROR, "no socket", "systemctl start anypod-speaker"),
        (
            replace(GOOD, speaker={"gobgpd": {"trouble": "port taken"}}),
            Level.ERROR,
            "port taken",
            "journalctl",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_fix(facts: Facts, level: Level, what: str, fix: str) -> None:
    (found,) = bad(facts)
    assert found[0] is level
    assert what in found[1]
    assert fix in found[2]


def test_before_linux_5_14_policy_1_is_the_best_there_is() -> None:
    sysctls = {key: value for key, value in GOOD.sysctls.items() if not key.endswith("_fields")}
    sysctls |= {f"{version}/fib_multipath_hash_policy": "1" for version in ("ipv4", "ipv6")}
    assert bad(replace(GOOD, sysctls=sysctls)) == []


def test_all_counts_for_every_interface() -> None:
    assert bad(sysctl("ipv4/conf/all/rp_filter", "2")) == []
    strict = replace(
        GOOD, sysctls={**GOOD.sysctls, "ipv4/conf/all/rp_filter": "1", "ipv4/conf/eth0/rp_filter": "0"}
    )
    assert "filtering on eth0" in bad(strict)[0][1]
