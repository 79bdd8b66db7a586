"""Elements of our nftables sets and maps: put in and taken out in one transaction, over nfnetlink.

Numbers are those of linux/netfilter/nfnetlink.h and nf_tables.h. A key or value of several
fields has each of them padded to four bytes.
"""

from __future__ import annotations

import struct
from _socket import AF_INET, AF_INET6, inet_ntop

from cni.errors import KERNEL_REFUSED, TRY_AGAIN_LATER, CniError
from cni.netlink import NetlinkSocket, attribute, attributes, message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NETLINK_NETFILTER = 12
NETLINK_SECONDS = 10.0
TABLE = "anypod"
NFPROTO_INET = 1
NFPROTO_BRIDGE = 7
# Of which family's table `anypod` a set is.
FAMILIES = {
    "hostports4": NFPROTO_INET,
    "hostports6": NFPROTO_INET,
    "hostports4_ip": NFPROTO_INET,
    "hostports6_ip": NFPROTO_INET,
    "published4": NFPROTO_INET,
    "published6": NFPROTO_INET,
    "bridges": NFPROTO_INET,
    "hairpins": NFPROTO_INET,
    "guarded": NFPROTO_BRIDGE,
    "macspoof": NFPROTO_BRIDGE,
}

NFNL_MSG_BATCH_BEGIN = 0x10
NFNL_MSG_BATCH_END = 0x11
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWSETELEM = 12
NFT_MSG_GETSETELEM = 13
NFT_MSG_DELSETELEM = 14
NFTA_SET_ELEM_LIST_TABLE = 1
NFTA_SET_ELEM_LIST_SET = 2
NFTA_SET_ELEM_LIST_ELEMENTS = 3
NFTA_LIST_ELEM = 1
NFTA_SET_ELEM_KEY = 1
NFTA_SET_ELEM_DATA = 2
NFTA_DATA_VALUE = 1
NLA_F_NESTED = 0x8000
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400

ENOENT = 2
EBUSY = 16
EEXIST = 17
EINVAL = 22
CLASHES = (ENOENT, EBUSY, EEXIST)
# Also what no such set can have is not there: a state file is not to keep DEL from its work.
ABSENT = (ENOENT, EINVAL)
# An attribute has 16 bits for its length; the longest element takes 64 bytes.
ELEMENTS_A_MESSAGE = 500
TRIES = 5
PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
IFNAMSIZ = 16

_NFGENMSG = struct.Struct("=BBH")
_LENGTH = struct.Struct("=H")
# The head of a batch names the subsystem that it is for, in network byte order.
_BATCH = struct.Struct(">BBH").pack(0, 0, NFNL_SUBSYS_NFTABLES)
_BEGIN = message(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, (_BATCH,))
_END = message(NFNL_MSG_BATCH_END, NLM_F_REQUEST, (_BATCH,))


def field(value: bytes) -> bytes:
    """One field of a key or value, padded as nftables pads it."""
    return value + b"\0" * (-len(value) & 3)


def interface(name: str) -> bytes:
    """An interface's name as a field."""
    return name.encode("ascii").ljust(IFNAMSIZ, b"\0")


class Element:
    """One element: its set's name, its key, and what a map maps it to (b"" in a set)."""

    __slots__ = ("data", "key", "set_name")

    def __init__(self, set_name: str, key: bytes, data: bytes = b"") -> None:
        self.set_name = set_name
        self.key = key
        self.data = data

    def identity(self) -> tuple[str, bytes, bytes]:
        """What makes two elements the same."""
        return self.set_name, self.key, self.data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and self.identity() == other.identity()

    def __hash__(self) -> int:
        return hash(self.identity())

    def __repr__(self) -> str:
        return f"Element({self.set_name!r}, {self.key.hex()!r}, {self.data.hex()!r})"

    def __str__(self) -> str:
        """For messages: `tcp host port 10.0.0.1:8080`."""
        address = self.key[:-8]
        if not self.set_name.startswith("hostports") or len(self.key) < 8 or len(address) not in (0, 4, 16):
            return f"{self.set_name} element {self.key.hex()}"
        protocol, port = self.key[-8], int.from_bytes(self.key[-4:-2], "big")
        text = inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address) + ":" if address else ""
        shown = f"[{text[:-1]}]:" if len(address) == 16 else text
        return f"{PROTOCOLS.get(protocol, protocol)} host port {shown}{port}"


def spoof_elements(host_ifname: str, mac: bytes) -> list[Element]:
    """What `macspoofchk` keeps of a pod: the node's end of its veth pair, and the only address it may send from."""
    name = interface(host_ifname)
    return [Element("macspoof", name + field(mac)), Element("guarded", name)]


def _nested(kind: int, *inner: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def _encoded(element: Element, with_data: bool) -> bytes:
    parts = [_nested(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, element.key))]
    if element.data and with_data:
        parts.append(_nested(NFTA_SET_ELEM_DATA, attribute(NFTA_DATA_VALUE, element.data)))
    return _nested(NFTA_LIST_ELEM, *parts)


def _about(kind: int, flags: int, set_name: str, elements: Sequence[Element] = ()) -> bytes:
    body = [
        _NFGENMSG.pack(FAMILIES.get(set_name, NFPROTO_INET), 0, 0),
        attribute(NFTA_SET_ELEM_LIST_TABLE, TABLE.encode() + b"\0"),
        attribute(NFTA_SET_ELEM_LIST_SET, set_name.encode() + b"\0"),
    ]
    if elements:
        with_data = kind == NFT_MSG_NEWSETELEM
        encoded = [_encoded(one, with_data) for one in elements]
        body.append(_nested(NFTA_SET_ELEM_LIST_ELEMENTS, *encoded))
    return message(NFNL_SUBSYS_NFTABLES << 8 | kind, NLM_F_REQUEST | flags, body)


def changes(kind: int, elements: Iterable[Element]) -> Iterator[bytes]:
    """The messages that put elements in or take them out, as few as can be."""
    by_set: dict[str, list[Element]] = {}
    for one in elements:
        by_set.setdefault(one.set_name, []).append(one)
    flags = NLM_F_ACK | (NLM_F_CREATE if kind == NFT_MSG_NEWSETELEM else 0)
    for name, members in by_set.items():
        for start in range(0, len(members), ELEMENTS_A_MESSAGE):
            yield _about(kind, flags, name, members[start : start + ELEMENTS_A_MESSAGE])


def parse_elements(payload: bytes) -> list[Element]:
    """The elements that the kernel tells in one message of a listing."""
    told = attributes(payload, _NFGENMSG.size)
    name = told.get(NFTA_SET_ELEM_LIST_SET, b"").rstrip(b"\0").decode("ascii", "replace")
    return [_parsed(name, one) for one in _members(told.get(NFTA_SET_ELEM_LIST_ELEMENTS, b""))]


def _members(listed: bytes) -> Iterator[dict[int, bytes]]:
    """A list's members all have one attribute's number."""
    offset = 0
    while offset + 4 <= len(listed):
        length = _LENGTH.unpack_from(listed, offset)[0]
        if length < 4:
            return
        yield attributes(listed[offset : offset + length], 4)
        offset += (length + 3) & ~3


def _parsed(set_name: str, told: dict[int, bytes]) -> Element:
    key = attributes(told.get(NFTA_SET_ELEM_KEY, b""), 0).get(NFTA_DATA_VALUE, b"")
    data = attributes(told.get(NFTA_SET_ELEM_DATA, b""), 0).get(NFTA_DATA_VALUE, b"")
    return Element(set_name, key, data)


class ElementSocket:
    """Puts elements in and takes them out, in the network namespace that the process is in when this is made."""

    def __init__(self) -> None:
        self.netfilter = NetlinkSocket(timeout=NETLINK_SECONDS, protocol=NETLINK_NETFILTER)

    def close(self) -> None:
        """Closes the socket."""
        self.netfilter.close()

    def put(self, elements: Sequence[Element]) -> None:
        """Puts all in, or none. One that stands with other data is replaced: the state file says whose it is.

        CniError 11 where set or table is not there: a firewall's reload took it away just now.
        """
        standing: list[Element] = []
        for tries_left in reversed(range(TRIES)):
            messages = [*changes(NFT_MSG_DELSETELEM, standing), *changes(NFT_MSG_NEWSETELEM, elements)]
            error = self._change(messages)
            if error is None:
                return
            # Refused is also what would change an element's data, and what takes out one that is not there.
            absent = error.errno == ENOENT and not standing
            if absent or error.errno not in CLASHES or not tries_left:
                raise _refused(error)
            standing = self._standing(elements)

    def remove(self, elements: Sequence[Element]) -> None:
        """Takes out those that are there, all at once. No such element, set or table is fine."""
        standing = elements
        for tries_left in reversed(range(TRIES)):
            error = self._change(list(changes(NFT_MSG_DELSETELEM, standing)))
            if error is None:
                return
            if error.errno not in ABSENT or not tries_left:
                raise _refused(error)
            standing = self._standing(standing)

    def missing(self, elements: Sequence[Element]) -> list[Element]:
        """Those that do not stand as they are here."""
        standing = set(self._standing(elements))
        return [one for one in elements if one not in standing]

    def dump(self, set_name: str) -> list[Element]:
        """All elements of a set; none where there is no such set or table."""
        try:
            told = self.netfilter.dump(_about(NFT_MSG_GETSETELEM, NLM_F_DUMP, set_name))
        except OSError as error:
            if error.errno == ENOENT:
                return []
            raise _refused(error) from None
        return [one for _, payload in told for one in parse_elements(payload)]

    def _change(self, messages: Sequence[bytes]) -> OSError | None:
        """One transaction; the first refusal, after which nothing has changed."""
        if not messages:
            return None
        try:
            verdicts = self.netfilter.transaction(_BEGIN, messages, _END)
        except OSError as error:
            return error
        return next((one for one in verdicts if one is not None), None)

    def _standing(self, elements: Iterable[Element]) -> list[Element]:
        """The elements that stand under these keys, with the data that they have."""
        standing = []
        for one in elements:
            try:
                payload = self.netfilter.get(_about(NFT_MSG_GETSETELEM, 0, one.set_name, (one,)))[1]
            except OSError as error:
                if error.errno in ABSENT:
                    continue
                raise _refused(error) from None
            standing += parse_elements(payload)
        return standing


def _refused(error: OSError) -> CniError:
    if isinstance(error, TimeoutError):
        return CniError(
            TRY_AGAIN_LATER, f"the kernel did not answer about nftables within {NETLINK_SECONDS:.0f} s"
        )
    if error.errno == ENOENT:
        return CniError(
            TRY_AGAIN_LATER, f"nftables' table {TABLE} was taken away during this call; try again"
        )
    return CniError(
        KERNEL_REFUSED, f"the kernel refused elements of nftables' table {TABLE}: {error.strerror}"
    )
