"""The digest of what the kernel holds: the same while nothing changes, another after each change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from speaker.kernel.digest import KernelDigest
from tests.system.gobgp_rig import Member
from tests.system.vip_rig import Inside, configured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Member]:
    made = Member("node", tmp_path)
    try:
        made.ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
        for name in ("v0", "v1"):
            made.ip("link", "set", name, "up")
        made.ip("address", "add", "10.1.0.1/24", "dev", "v0")
        yield made
    finally:
        made.close()


def test_each_change_is_seen_once(node: Member) -> None:
    config, inside, digest = configured(), Inside(node.ns), KernelDigest()
    try:
        assert not inside(lambda: digest.same(config))
        assert inside(lambda: digest.same(config))
        for change in (
            "route add 10.9.0.0/24 via 10.1.0.2",
            "route replace 10.9.0.0/24 via 10.1.0.3",
            "-6 route add fd00:9::/64 dev v0",
            "nexthop add id 7 via 10.1.0.2 dev v0",
            "nexthop add id 8 group 7",
            "nexthop replace id 7 via 10.1.0.3 dev v0",
            "route add 10.8.0.1/32 nhid 8 proto 178",
            "nexthop del id 7",
            "route del 10.9.0.0/24",
        ):
            node.ip(*change.split())
            assert not inside(lambda: digest.same(config)), change
            assert inside(lambda: digest.same(config)), change
        # Listings of more than one datagram end, too.
        lines = "".join(f"route add 10.20.{i // 256}.{i % 256}/32 dev v0\n" for i in range(3000))
        batch = node.directory / "batch"
        batch.write_text(lines)
        node.ip("-batch", str(batch))
        assert not inside(lambda: digest.same(config))
        assert inside(lambda: digest.same(config))
    finally:
        digest.close()
        inside.close()
