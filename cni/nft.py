"""Masquerade: one nftables table for the node with sets of pod subnets, and no rule for a pod."""

from __future__ import annotations

import struct

from cni.errors import INVALID_CONFIG, KERNEL_REFUSED, TRY_AGAIN_LATER, CniError
from cni.netlink import NetlinkError, NetlinkSocket, attribute, attributes, message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.network import Range

TABLE = "anypod"
SECONDS = 20
NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_GETTABLE = 1
NFTA_TABLE_NAME = 1
NFTA_TABLE_HANDLE = 4
NFPROTO_INET = 1
_NFGENMSG = struct.Struct("=BBH")

# A set holds both ends of the exception: what stays among this node's pods, and multicast,
# keeps its source, as with the reference plugins.
_RULESET = r"""
table inet anypod {
    set masquerade4 { type ipv4_addr; flags interval; auto-merge; }
    set masquerade6 { type ipv6_addr; flags interval; auto-merge; }
    chain postrouting { type nat hook postrouting priority srcnat; policy accept; }
}
flush chain inet anypod postrouting
add rule inet anypod postrouting ip saddr @masquerade4 ip daddr != @masquerade4 \
    ip daddr != 224.0.0.0/4 masquerade
add rule inet anypod postrouting ip6 saddr @masquerade6 ip6 daddr != @masquerade6 \
    ip6 daddr != ff00::/8 masquerade
"""


def table_handle() -> int:
    """The number that the kernel gave the table, 0 where there is none: a firewall's reload flushes all tables."""
    body = (_NFGENMSG.pack(NFPROTO_INET, 0, 0), attribute(NFTA_TABLE_NAME, TABLE.encode() + b"\0"))
    kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE
    netfilter = NetlinkSocket(protocol=NETLINK_NETFILTER)
    try:
        found = attributes(netfilter.get(message(kind, 1, body))[1], _NFGENMSG.size)
    except NetlinkError:
        return 0
    finally:
        netfilter.close()
    return int.from_bytes(found.get(NFTA_TABLE_HANDLE, b"\1"), "big")


def ruleset(ranges: Sequence[Range]) -> str:
    """The table with the ranges' subnets in its sets, for `nft -f -`; what the sets hold already stays."""
    lines = [_RULESET]
    for family in (4, 6):
        subnets = sorted({one.subnet_text() for one in ranges if one.family == family})
        if subnets:
            lines.append(f"add element inet {TABLE} masquerade{family} {{ {', '.join(subnets)} }}\n")
    return "".join(lines)


def check_command() -> None:
    """CniError 7 where nft(8) is missing, before anything is made that needs it."""
    import shutil

    if shutil.which("nft") is None:
        raise CniError(INVALID_CONFIG, "ipMasq: true needs the command nft; install the package nftables")


def install(ranges: Sequence[Range]) -> None:
    """Makes the table in one transaction of nft(8). CniError 11 where it does not answer, 103 where it refuses."""
    import subprocess

    try:
        done = subprocess.run(
            ["nft", "-f", "-"],
            input=ruleset(ranges),
            text=True,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CniError(TRY_AGAIN_LATER, f"nft did not answer within {SECONDS} s; try again later") from None
    if done.returncode:
        raise CniError(KERNEL_REFUSED, "nft refused the masquerade table", done.stderr.strip()[:1000])
