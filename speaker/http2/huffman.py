"""The Huffman code of HTTP/2's headers (RFC 7541, appendix B), read."""

from __future__ import annotations

from functools import lru_cache

from speaker.http2.frames import BrokenError

# Its symbols by the length of their codes, in bits. It is canonical: codes of a length follow each other in the order
# of the symbols, and the next length goes on behind them.
_SYMBOLS: dict[int, bytes] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\0$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: bytes.fromhex("808283a2b8c2e0e2"),
    21: bytes.fromhex("99a1a7acb0b1b3d1d8d9e3e5e6"),
    22: bytes.fromhex("81848586 88929a9c a0a3a4a9 aaadb2b5 b9babbbd bec4c6e4 e8e9"),
    23: bytes.fromhex("0187898a 8b8c8d8f 93959697 989b9d9e a5a6a8ae afb4b6b7 bcbfc5e7 ef"),
    24: bytes.fromhex("098e9091949fabced7e1eced"),
    25: bytes.fromhex("c7cfeaeb"),
    26: bytes.fromhex("c0c1c8c9cacdd2d5dadbeef0f2f3ff"),
    27: bytes.fromhex("cbccd3d4 d6dddedf f1f4f5f6 f7f8fafb fcfdfe"),
    28: bytes.fromhex("02030405 0607080b 0c0e0f10 11121314 15171819 1a1b1c1d 1e1f7fdc f9"),
    30: b"\n\r\x16",  # and the end of a string, which is never sent
}
_END_OF_STRING = (1 << 31) - 1


def _codes() -> dict[int, int]:
    """Symbols by their codes, behind a bit that is set."""
    codes, code, before = {}, 0, 0
    for length, symbols in _SYMBOLS.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            codes[1 << length | code] = symbol
            code += 1
    return codes


_CODES = _codes()


@lru_cache(maxsize=64)  # servers say the same in each answer
def decoded(data: bytes) -> bytes:
    """The text; BrokenError for what is none."""
    out, code = bytearray(), 1
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            symbol = _CODES.get(code)
            if symbol is not None:
                out.append(symbol)
                code = 1
            elif code == _END_OF_STRING:
                raise BrokenError("a header that ends twice")
    if code > 0xFF or code & (code + 1):  # the rest of the last byte is ones
        raise BrokenError("a header that ends amid a character")
    return bytes(out)
