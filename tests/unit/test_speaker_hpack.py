"""Headers as HTTP/2 packs them: the examples of RFC 7541, all of its Huffman code, and what is broken."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.http2.frames import BrokenError
from speaker.http2.hpack import Reader
from speaker.http2.huffman import decoded
from tests.unit.fake_grpc import literal, number

# All bytes in order, as another implementation encodes them.
ALL = bytes.fromhex(
    "ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffeb"
    "fffffecfffffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3f"
    "ffffe7fffffebfffffed4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58"
    "f265cd9f469d5af66dddbf871e5f9cff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7f"
    "fbffdffffffcfffe6ffff4bfff9ffffa3fffd3ffff53fffd5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffb"
    "fffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1ffffe4fffee7fffb1ffff97fffd9ffffcdffff9fffffbffffdaff"
    "feeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fffff5ffffecffff07fff87fffe0fff"
    "f17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1fffff83ffffe1fffebfffe3ffff3fff"
    "ff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8fffffe6fffffc1fffff87fff"
    "fe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3ffffcffffb7fffcdffff4ffff9ff"
    "ffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfffffb7fffff3fffffe8fff"
    "ffd3fffffabfffff5fffffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf"
)
DATE = b"Mon, 21 Oct 2013 20:13:21 GMT"


def read(*blocks: str) -> list[list[tuple[bytes, bytes]]]:
    reader = Reader()
    return [reader.fields(bytes.fromhex(block)) for block in blocks]


def test_requests_of_the_rfc() -> None:
    """C.4: three on one connection, in Huffman code; the later ones refer to the first one's headers."""
    first = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
    ]
    assert read("828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf") == [
        first,
        [*first, (b"cache-control", b"no-cache")],
    ]


def test_answers_of_the_rfc() -> None:
    """C.6, and C.3.1 of a request that is not compressed."""
    first, second = read(
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
        "6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
    )
    rest = [(b"cache-control", b"private"), (b"date", DATE), (b"location", b"https://www.example.com")]
    assert (first, second) == ([(b":status", b"302"), *rest], [(b":status", b"307"), *rest])
    assert read("828684410f7777772e6578616d706c652e636f6d")[0][-1] == (b":authority", b"www.example.com")


def test_the_whole_huffman_code() -> None:
    assert decoded(ALL) == bytes(range(256))
    assert decoded(b"") == b""


@pytest.mark.parametrize("data", ["ff", "ffffffff", "1c", "fe", "1fff", "ffffffffff"])
def test_what_is_not_in_the_huffman_code(data: str) -> None:
    with pytest.raises(BrokenError):
        decoded(bytes.fromhex(data))


def test_the_table_keeps_the_latest_and_no_more_than_fits() -> None:
    reader = Reader()
    reader.fields(literal("a", "1", 0x40) + literal("b", "2", 0x40))
    assert reader.fields(b"\xbe\xbf") == [(b"b", b"2"), (b"a", b"1")]
    reader.fields(literal("c", b"x" * (4096 - 32 - 1 - 34), 0x40))  # and one of the others
    assert reader.fields(b"\xbf") == [(b"b", b"2")]
    with pytest.raises(BrokenError, match="was not said"):
        reader.fields(b"\xc0")
    reader.fields(literal("d", b"x" * 4096, 0x40))  # larger than all of it, which empties it
    with pytest.raises(BrokenError, match="was not said"):
        reader.fields(b"\xbe")


def test_a_table_made_smaller_forgets() -> None:
    reader = Reader()
    reader.fields(literal("a", "1", 0x40) + b"\x20" + literal("b", "2", 0x40))
    with pytest.raises(BrokenError, match="was not said"):
        reader.fields(b"\xbe")


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (b"\x80", "was not said"),
        (b"\xff\x80\x01", "was not said"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\x01", "too large"),
        (b"\xff" + b"\x80" * 40, "too large"),
        (number(4097, 5, 0x20), "table of 4097 bytes"),
        (b"\x00\x05abc", "cut off"),
        (b"\x00\x01a", "cut off"),
        (b"\x00\x01a\x05abc", "cut off"),
        (b"\xff", "cut off"),
        (b"\x00\x01a\x81\xfe", "amid a character"),
    ],
)
def test_what_is_broken(block: bytes, words: str) -> None:
    with pytest.raises(BrokenError, match=words):
        Reader().fields(block)


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(block: bytes) -> None:
    with contextlib.suppress(BrokenError):
        Reader().fields(block)
