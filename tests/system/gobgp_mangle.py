"""Answers as no daemon gives them: a protobuf message with fields missing, changed, cut off or swollen.

Works on the wire format, and so on every message of every version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
UNKNOWN_FIELD = 9000
HUGE = 8 << 20

# Field number, wire type, and the value: of a varint its number, else its bytes.
Field = tuple[int, int, "int | bytes"]


def parsed(data: bytes) -> list[Field] | None:
    """The fields of a message; None for bytes that are none."""
    found: list[Field] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if at < 0 or number == 0:
            return None
        if kind == VARINT:
            value, at = _varint(data, at)
            found.append((number, kind, value))
            if at < 0:
                return None
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind)
        if kind == BYTES:
            length, at = _varint(data, at)
        if length is None or at < 0 or at + length > len(data):
            return None
        found.append((number, kind, data[at : at + length]))
        at += length
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends, -1 where it does not."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    return 0, -1


def built(fields: list[Field]) -> bytes:
    """The message of these fields."""
    made = bytearray()
    for number, kind, value in fields:
        made += _number(number << 3 | kind)
        if isinstance(value, int):
            made += _number(value)
        else:
            made += (_number(len(value)) if kind == BYTES else b"") + value
    return bytes(made)


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def mangled(data: bytes, random: Random) -> bytes:
    """The message with one thing wrong; most of the time something that still can be parsed."""
    way = random.random()
    if way < 0.1:
        return data[: random.randrange(len(data) + 1)]
    if way < 0.15:
        return random.randbytes(random.randrange(64))
    if way < 0.2:
        return data + built([(UNKNOWN_FIELD, BYTES, bytes(HUGE))])
    return _changed(data, random)


def _changed(data: bytes, random: Random) -> bytes:
    """One field, at any depth, is missing, told twice, or of another value."""
    fields = parsed(data)
    if not fields:
        return data
    at = random.randrange(len(fields))
    number, kind, value = fields[at]
    if isinstance(value, bytes) and kind == BYTES and parsed(value) and random.random() < 0.75:
        fields[at] = (number, kind, _changed(value, random))
        return built(fields)
    way = random.randrange(3)
    if way == 0:
        del fields[at]
    elif way == 1:
        fields.insert(at, fields[at])
    else:
        fields[at] = (number, kind, _other(value, random))
    return built(fields)


def _other(value: int | bytes, random: Random) -> int | bytes:
    if isinstance(value, int):
        return random.choice([0, 1, value ^ 1, 255, 1 << 31, (1 << 64) - 1, random.getrandbits(32)])
    texts = [
        b"<nil>",
        b"invalid IP",
        b"",
        b"::",
        b"256.0.0.1",
        b"10.0.0.1/33",
        b"\xff\xfe",
        "\N{SNOWMAN}".encode(),
    ]
    return random.choice([*texts, value[::-1], random.randbytes(len(value))])
