"""Why a peer has no session: the cause that is nearest to it, and what to do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speaker.commands.peers import NOT_THERE
from speaker.doctor.network import pod_mtu
from speaker.doctor.values import Dial, Finding, Fit, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.doctor.values import Facts, PeerFacts

# Of many peers that are down the first are told.
SHOWN = 20


def findings(facts: Facts) -> Iterator[Finding]:
    """Each peer that is down, with its cause; and whether large packets get through to those that are not."""
    if not isinstance(facts.speaker, str) and not facts.speaker.get("gobgpd", {}).get("connected", True):
        return  # what peers there are only gobgpd knows, and that it does not answer has been said
    down = [one for one in facts.peers if one.row["state"] != "established"]
    for one in down[:SHOWN]:
        what, fix = cause(one)
        yield Finding(Level.ERROR, f"peer {one.name} is down: {what}", fix)
    if len(down) > SHOWN:
        yield Finding(Level.ERROR, f"{len(down) - SHOWN} more peers are down", "anypod peers")
    up = sum(one.row["state"] == "established" for one in facts.peers)
    if up:
        yield Finding(Level.OK, f"{up} of {len(facts.peers)} peers are established")
    elif not facts.peers and not isinstance(facts.speaker, str):
        yield Finding(
            Level.WARNING, "no peer is configured", "add a [[peer]] to speaker.toml, see docs/speaker-toml.md"
        )
    widest = None if isinstance(facts.state, str) else pod_mtu(facts, facts.state)
    for one in facts.peers:
        yield from _path(one, widest[1] if widest else 0)


def cause(one: PeerFacts) -> tuple[str, str]:
    """Why it is down, and what to do."""
    row, address = one.row, one.row.get("address") or one.row["peer"]
    if row["state"] == "missing":
        why = "" if row["reason"] in ("", NOT_THERE) else f": {row['reason']}"
        return f"{NOT_THERE}{why}", "see that reason; journalctl -u anypod-speaker"
    return (
        _way(one, str(address))
        or _told(one)
        or _dialled(one, str(address))
        or (
            f"its session is {row['state']}",
            f"see the log of the BGP daemon at {address}, and journalctl -u anypod-gobgpd",
        )
    )


def _way(one: PeerFacts, address: str) -> tuple[str, str] | None:
    """What lies below BGP."""
    kind, dev = one.way.get("kind", ""), one.way.get("dev", "")
    if kind in {"none", "unreachable", "prohibit", "blackhole"}:
        return (
            f"this node has no route to it ({one.way.get('error') or kind})",
            f"ip route get {address}; see to the link",
        )
    if dev and not one.carrier:
        return (
            f"the link {dev} to it has no carrier",
            f"see to the cable or the other end of {dev}; ip link show {dev}",
        )
    if one.neighbour in {"FAILED", "INCOMPLETE"}:
        what = f"it does not answer ARP or neighbour discovery on {dev}: the machine is down, or not on that link"
        return what, f"see that {address} is up and on the same link as {dev}"
    return None


def _told(one: PeerFacts) -> tuple[str, str] | None:
    """What the speaker knows of it."""
    row = one.row
    if row.get("password"):
        what = f"the TCP MD5 passwords differ: {row['password']}"
        return what, "set the same password on both sides (peer.password-file), or none on either"
    reason = str(row.get("reason") or "")
    if "prefix limit" in reason:
        return (
            reason,
            "raise peer.prefix-limit, or have the peer tell less; then systemctl restart anypod-gobgpd",
        )
    if "most often" in reason or "notification" in reason:
        return (
            reason,
            f"compare AS {row['asn']} (peer.asn) and bgp.asn in speaker.toml with what the peer has",
        )
    return (reason, "see that reason, and the log of the peer") if reason else None


def _dialled(one: PeerFacts, address: str) -> tuple[str, str] | None:
    if one.dial is Dial.REFUSED:
        what = f"nobody listens on port 179 of {address}: its BGP daemon is down, or listens elsewhere"
        return what, f"start the BGP daemon at {address}"
    if one.dial is Dial.SILENT:
        what = f"{address} does not answer on port 179: a filter, or a password that it has and this node has not"
        return what, "see the packet filters on the way, and whether the peer has a password for this node"
    if one.dial is Dial.NO_WAY:
        return f"{address} can't be reached", f"ip route get {address}; see to the link"
    if one.dial is Dial.ANSWERED:
        what = f"{address} answers on port 179, and no session begins: perhaps it does not know this node"
        return (
            what,
            "compare peer.address, peer.asn and peer.local-address with what the peer has of this node",
        )
    return None


def _path(one: PeerFacts, mtu: int) -> Iterator[Finding]:
    """`mtu` is that of the pods; ping wants it without the headers of IP and ICMP."""
    address = str(one.row.get("address") or one.row["peer"])
    size = mtu - (48 if ":" in address else 28)
    fix = f"raise the MTU on the way until this is answered: ping -M do -s {size}"
    less = ", or set mtu in the netconf to less and make the pods anew"
    if one.path is Fit.LOST:
        what = f"packets as large as pods send them get lost on the way to {address}, small ones do not: a link has a"
        yield Finding(Level.ERROR, f"{what} smaller MTU and says nothing", f"{fix} {address}{less}", "mtu")
    elif one.path is Fit.TOO_BIG:
        what = f"packets as large as pods send them do not fit on the way to {address}"
        yield Finding(Level.WARNING, what, f"{fix} {address}{less}", "mtu")
    elif one.path is Fit.PASSED:
        yield Finding(Level.OK, f"packets as large as pods send them reach {address}", about="mtu")
