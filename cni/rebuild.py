"""A state file made anew from what the kernel shows: whose links are there, and which addresses their pods have.

A damaged one is set aside first. Nothing is taken from it: what it says is not known to be true.
"""

from __future__ import annotations

import posix
import struct
from typing import TYPE_CHECKING

from cni.attach import Kernel, refused
from cni.errors import DamagedError
from cni.filelock import FileLock
from cni.jsonio import dump
from cni.label import read
from cni.link import Address
from cni.netlink import NLM_F_DUMP, attribute, message
from cni.network import packed
from cni.owned import all_links, owned_links
from cni.rtnl import NLM_F_REQUEST, RTM_GETADDR
from cni.statefile import BUSY_SECONDS, FILE, LOCK, SUFFIXES, StateFile, now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni.allocation import Vip
    from cni.owned import OwnedLink

# Files set aside: the oldest go.
KEPT = 3
MARK = ".damaged-"
# Of no range: which one gave the address out is not known. Released, it waits for whichever has it.
POOL = "rebuilt"
IFA_TARGET_NETNSID = 10
IFA_F_PERMANENT = 0x80
LINK_LOCAL = b"\xfe\x80"
_ADDRESS = struct.Struct("=BBBBI")


# ---- a damaged file


def heal(conf: dict[str, object], error: Exception) -> str:
    """Sets a damaged state file aside and makes another; what was done, in words.

    Raises `error`, with which the verb ended, where the file is sound, and CniError 5 where it is
    another program's, or where the disk does not let us look.
    """
    from cni.damage import examine
    from cni.store import Store, state_dir

    directory = state_dir(conf)
    path = f"{directory}/{FILE}"
    name = ""
    try:
        # Of several calls that find it damaged, one sets it aside; the others look again and find the new one.
        with FileLock(f"{directory}/{LOCK}", BUSY_SECONDS):
            flaw = examine(path)
            if flaw:
                name = _set_aside(directory)
    except OSError:
        raise error from None
    if not name:
        if not isinstance(error, DamagedError):
            raise error
        return f"{path} was taken away or mended by another call; try again"
    store = Store(directory)
    count = store.execute("SELECT count(*) FROM attachment").fetchone()[0]
    store.close()
    return (
        f"{path} was damaged ({flaw}): it is set aside as {name}, and a new one was made from the kernel's"
        f" links, with {count} attachment{'' if count == 1 else 's'}; try again"
    )


def _set_aside(directory: str) -> str:
    """Renames the file with what SQLite keeps beside it; its new name. The lock is held."""
    numbers = _numbers(directory)
    name = f"{FILE}{MARK}{max(numbers, default=0) + 1}"
    # The file itself first: killed behind that, a new one is made as if none had been there.
    for suffix in SUFFIXES:
        try:
            posix.rename(f"{directory}/{FILE}{suffix}", f"{directory}/{name}{suffix}")
        except FileNotFoundError:
            continue
    for number in numbers[: max(0, len(numbers) + 1 - KEPT)]:
        for suffix in SUFFIXES:
            _remove(f"{directory}/{FILE}{MARK}{number}{suffix}")
    return name


def _numbers(directory: str) -> list[int]:
    """The numbers of the files that were set aside so far, the oldest first."""
    head = f"{FILE}{MARK}"
    tails = {
        name.removeprefix(head).partition("-")[0]
        for name in posix.listdir(directory)
        if name.startswith(head)
    }
    return sorted(int(tail) for tail in tails if tail.isdecimal() and len(tail) < 10)


def _remove(path: str) -> None:
    try:
        posix.unlink(path)
    except IsADirectoryError:
        # Whoever made it has to look at what is in it.
        return
    except FileNotFoundError:
        return


# ---- a new file


def restore(state: StateFile) -> int:
    """Fills a new state file from the links of this namespace; how many attachments. Inside a transaction.

    CniError 11 where the links can't be listed now: better none than a file that lacks some.
    """
    kernel = Kernel()
    try:
        return record(state, kernel, owned_links(all_links(kernel)))
    except OSError as error:
        raise refused("the listing of the node's links", error) from None
    finally:
        kernel.socket.close()


def record(state: StateFile, kernel: Kernel, links: Iterable[OwnedLink]) -> int:
    """Records the attachments of these links; how many. Inside a transaction."""
    held: dict[bytes, tuple[str, str]] = {}
    owners: dict[str, tuple[str, str]] = {}
    for link in links:
        owner = link.owner()
        if link.kind != "veth" or owner is None:
            continue
        owners[link.name] = owner
        state.execute(
            "INSERT OR IGNORE INTO attachment (container, ifname, network, netns, host_ifname, created)"
            " VALUES (?, ?, ?, '', ?, ?)",
            (*owner, link.network(), link.name, now()),
        )
        for address in _pod_addresses(kernel, link):
            held[address.ip] = owner
            state.execute(
                "INSERT OR IGNORE INTO address VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    link.network(),
                    4 if len(address.ip) == 4 else 6,
                    address.ip,
                    address.prefixlen,
                    POOL,
                    *owner,
                ),
            )
        _record_vips(state, owner, read(link.served()))
    if owners:
        _record_elements(state, held, owners)
    return len(owners)


def _record_vips(state: StateFile, owner: tuple[str, str], vips: list[Vip]) -> None:
    """Gives an attachment back what its link's alias says that it serves."""
    for vip in vips:
        state.execute(
            "INSERT OR IGNORE INTO vip VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*owner, packed(vip.ip), packed(vip.via), vip.nexthop, vip.weight, vip.health, vip.pool),
        )
    if vips:
        detail = dump({"vips": [vip.ip for vip in vips]})
        query = "UPDATE attachment SET detail = ? WHERE container = ? AND ifname = ? AND detail = ''"
        state.execute(query, (detail, *owner))


def _pod_addresses(kernel: Kernel, link: OwnedLink) -> list[Address]:
    """What the other end of a veth pair has, asked of the kernel without entering the pod's namespace."""
    if not link.netnsid:
        return []
    body = (_ADDRESS.pack(0, 0, 0, 0, link.link), attribute(IFA_TARGET_NETNSID, link.netnsid))
    try:
        told = kernel.socket.dump(message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, body))
    except TimeoutError as error:
        raise refused(f"the addresses of the pod behind {link.name}", error) from None
    except OSError:
        return []  # the pod has gone since
    found = [Address(payload) for _, payload in told]
    return [one for one in found if one.flags & IFA_F_PERMANENT and not one.ip.startswith(LINK_LOCAL)]


def _record_elements(
    state: StateFile, held: dict[bytes, tuple[str, str]], owners: dict[str, tuple[str, str]]
) -> None:
    """Gives the attachments what they have in our nftables sets."""
    from cni.strays import BY_LINK, link_name, pod_address, standing_elements

    for one in standing_elements():
        owner = owners.get(link_name(one)) if one.set_name in BY_LINK else held.get(pod_address(one))
        if owner is not None:
            row = (one.set_name, one.key, one.data, *owner)
            state.execute("INSERT OR IGNORE INTO element VALUES (?, ?, ?, ?, ?)", row)
