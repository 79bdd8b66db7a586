"""Route netlink socket: sends batches of encoded messages and matches the acknowledgements.

It stands on the C module `_socket`, because `socket` costs several milliseconds of
every CNI call.
"""

from __future__ import annotations

import struct
from _socket import AF_NETLINK, SO_RCVBUF, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET, socket
from posix import strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_ACK_TLVS = 0x200
NLMSGERR_ATTR_MSG = 1

HEADER = struct.Struct("=IHHII")
_SEQUENCE = struct.Struct("=I")
_ERROR = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")

# The kernel answers each message that it refuses with an acknowledgement of up to a kilobyte of
# socket memory, all of which must fit the receive buffer while the batch runs.
BATCH = 500
RECEIVE_BUFFER = 4 << 20
# What fits the default of 208 KiB, since a batch of nfnetlink is one datagram.
SEND_BUFFER = 128 << 10
# Twice what the kernel puts into one datagram, and less than what the C library takes from the system for each call.
BUFFER = 1 << 16
DUMP_TRIES = 5
NUMBERS = 1 << 31


class NetlinkError(OSError):
    """The kernel refused a message; `index` is its place in the batch."""

    def __init__(self, code: int, message: str, index: int = 0) -> None:
        super().__init__(code, message)
        self.index = index


def _error(code: int, flags: int, payload: bytes, index: int) -> NetlinkError:
    """Reads the kernel's own words from an extended acknowledgement, where it sent any."""
    if flags & NLM_F_ACK_TLVS:
        # A capped error carries the header of the request only, and then attributes.
        offset = 4 + HEADER.size
        if not flags & 0x100:
            offset = 4 + _SEQUENCE.unpack_from(payload, 4)[0]
        while offset + 4 <= len(payload):
            length, kind = _ATTRIBUTE.unpack_from(payload, offset)
            if length < 4:
                break
            if kind == NLMSGERR_ATTR_MSG:
                words = payload[offset + 4 : offset + length].rstrip(b"\0")
                return NetlinkError(code, words.decode("utf-8", "replace"), index)
            offset += (length + 3) & ~3
    return NetlinkError(code, strerror(code), index)


class NetlinkSocket:
    """A socket in the network namespace that the calling thread is in when it is made."""

    def __init__(self, groups: int = 0, timeout: float = 10.0, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        if protocol == NETLINK_ROUTE:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._socket.bind((0, groups))
        self._socket.settimeout(timeout)
        self._sequence = 0
        self._large = False
        if groups:
            self._enlarge()

    def _enlarge(self) -> None:
        """Bulk work and subscriptions need more room than the default of 208 KiB."""
        if not self._large:
            try:
                self._socket.setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            except PermissionError:
                self._socket.setsockopt(SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER)
            self._large = True

    def fileno(self) -> int:
        """The descriptor, for an event loop."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """What the kernel calls this socket; events that its requests cause carry it."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Closes the descriptor."""
        self._socket.close()

    def _first(self) -> int:
        """The number of the next batch's first message: they begin anew before a batch could come to the highest."""
        if self._sequence > NUMBERS:
            self._sequence = 0
        return self._sequence + 1

    def _number(self, message: bytes) -> bytes:
        self._sequence += 1
        return message[:8] + _SEQUENCE.pack(self._sequence) + message[12:]

    def _messages(self) -> Iterator[tuple[int, int, int, bytes]]:
        """One datagram's messages as (type, flags, sequence, payload)."""
        data = self._socket.recv(BUFFER)
        offset = 0
        while offset + HEADER.size <= len(data):
            length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
            if length < HEADER.size:
                return
            yield kind, flags, sequence, data[offset + HEADER.size : offset + length]
            offset += (length + 3) & ~3

    def request_each(self, messages: Sequence[bytes]) -> list[NetlinkError | None]:
        """Sends all, in batches; the verdict of each stands at its place. TimeoutError is raised.

        Whether a message asks for its acknowledgement makes no difference.
        """
        verdicts: list[NetlinkError | None] = []
        if len(messages) > 32:
            self._enlarge()
        for start in range(0, len(messages), BATCH):
            verdicts += self._batch(messages[start : start + BATCH], start)
        return verdicts

    def transaction(self, begin: bytes, messages: Sequence[bytes], end: bytes) -> list[NetlinkError | None]:
        """Sends all as one nfnetlink batch, of which all takes effect or nothing; the verdict of each message."""
        first = self._first() + 1
        data = b"".join([self._number(message) for message in (begin, *messages)]) + end
        if len(data) > SEND_BUFFER:
            self._enlarge()
            self._socket.setsockopt(SOL_SOCKET, SO_SNDBUFFORCE, len(data))
        self._socket.send(data)
        return self._verdicts(first, len(messages))

    def send_unasked(self, messages: Sequence[bytes]) -> None:
        """Sends all for whoever does not look at the verdicts; those of a forked process come to the socket of both.

        It returns when the kernel is through with them.
        """
        # Their number stays 0, which no other message has.
        self._socket.send(b"".join(messages))

    def _batch(self, messages: Sequence[bytes], start: int) -> list[NetlinkError | None]:
        # The kernel works in order and tells each refusal, asked or not: the last one's verdict is the end.
        first = self._first()
        last = len(messages) - 1
        self._sequence += len(messages)
        unpack, pack, size = HEADER.unpack_from, HEADER.pack, HEADER.size
        data = []
        for number, message in enumerate(messages, first):
            length, kind, flags, _, _ = unpack(message)
            asked = NLM_F_ACK if number == self._sequence else 0
            data.append(pack(length, kind, flags & ~NLM_F_ACK | asked, number, 0) + message[size:])
        self._socket.send(b"".join(data))
        verdicts: list[NetlinkError | None] = [None] * len(messages)
        index = -1
        while index != last:
            for kind, flags, sequence, payload in self._messages():
                if kind != NLMSG_ERROR or not 0 <= sequence - first <= last:
                    continue
                index = sequence - first
                code = -_ERROR.unpack_from(payload)[0]
                if code:
                    verdicts[index] = _error(code, flags, payload, start + index)
        return verdicts

    def _verdicts(self, first: int, count: int) -> list[NetlinkError | None]:
        verdicts: list[NetlinkError | None] = [None] * count
        waiting = count
        while waiting:
            for kind, flags, sequence, payload in self._messages():
                if kind != NLMSG_ERROR:
                    continue
                index = sequence - first
                code = -_ERROR.unpack_from(payload)[0]
                if index == -1 and code:
                    # The head of a batch is answered where none of it is looked at.
                    raise _error(code, flags, payload, 0)
                if 0 <= index < count:
                    waiting -= 1
                    if code:
                        verdicts[index] = _error(code, flags, payload, index)
        return verdicts

    def request(self, messages: Sequence[bytes]) -> None:
        """Sends all; raises the first refusal. The kernel works on what follows a refused one too."""
        for verdict in self.request_each(messages):
            if verdict is not None:
                raise verdict

    def get(self, message: bytes) -> tuple[int, bytes]:
        """The one object that `message` asks for, as (type, payload)."""
        number = self._number(message)
        self._socket.send(number)
        while True:
            for kind, flags, sequence, payload in self._messages():
                if sequence != self._sequence:
                    continue
                if kind != NLMSG_ERROR:
                    return kind, payload
                code = -_ERROR.unpack_from(payload)[0]
                raise _error(code, flags, payload, 0)

    def get_each(self, messages: Sequence[bytes]) -> list[bytes | NetlinkError]:
        """The payload of the object that each message asks for, or why there is none, at its place."""
        if len(messages) > 32:
            self._enlarge()
        found: list[bytes | NetlinkError] = []
        for start in range(0, len(messages), BATCH):
            found += self._answers(messages[start : start + BATCH], start)
        return found

    def _answers(self, messages: Sequence[bytes], start: int) -> list[bytes | NetlinkError]:
        first = self._first()
        self._socket.send(b"".join([self._number(message) for message in messages]))
        found: dict[int, bytes | NetlinkError] = {}
        while len(found) < len(messages):
            for kind, flags, sequence, payload in self._messages():
                index = sequence - first
                if index < 0:
                    continue  # what `send_unasked` sent
                if kind != NLMSG_ERROR:
                    found[index] = payload
                else:
                    found[index] = _error(-_ERROR.unpack_from(payload)[0], flags, payload, start + index)
        return [found[index] for index in range(len(messages))]

    def dump(self, message: bytes) -> list[tuple[int, bytes]]:
        """All objects that `message` asks for; asked again when they changed while being listed."""
        for _ in range(DUMP_TRIES):
            found, interrupted = self._dump(message)
            if not interrupted:
                return found
        raise NetlinkError(11, "the kernel's table changed during each of 5 listings")

    def _dump(self, message: bytes) -> tuple[list[tuple[int, bytes]], bool]:
        found: list[tuple[int, bytes]] = []
        interrupted = False
        self._socket.send(self._number(message))
        while True:
            for kind, flags, sequence, payload in self._messages():
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    code = -_ERROR.unpack_from(payload)[0] if len(payload) >= 4 else 0
                    if code:
                        raise _error(code, flags, payload, 0)
                    return found, interrupted
                found.append((kind, payload))

    def receive(self) -> list[tuple[int, bytes]]:
        """One datagram of a subscription as (type, payload) pairs."""
        return [(kind, payload) for kind, _, _, payload in self._messages()]


def attributes(payload: bytes, offset: int) -> dict[int, bytes]:
    """The attributes behind a fixed header of `offset` bytes, by type without its flag bits."""
    found: dict[int, bytes] = {}
    end = len(payload)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + b"\0" * (-len(payload) & 3)


def message(kind: int, flags: int, body: Iterable[bytes]) -> bytes:
    """A message without its sequence number, which the socket sets."""
    payload = b"".join(body)
    return HEADER.pack(HEADER.size + len(payload), kind, flags, 0, 0) + payload
