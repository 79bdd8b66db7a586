"""Mutations of a JSON value, of its text, and of its bytes."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from tests.system import fuzz_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

Place = tuple[Any, Any]  # a list or an object, and an index or a key in it


def _places(value: Any) -> Iterator[Place]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(inner):
        yield value, key
        yield from _places(one)


class TreeMutator:
    """Changes a document in place; `paths` are what it may write where a path belongs."""

    def __init__(self, rng: Random, paths: list[str]) -> None:
        self._rng = rng
        self._paths = paths
        self._mutations: list[Callable[[Any, Place], None]] = [
            self._wrong,
            self._fitting,
            self._fitting,
            self._gone,
            self._renamed,
            self._added,
            self._added,
            self._swapped,
            self._wrapped,
            self._repeated,
            self._nudged,
            self._nudged,
        ]

    def mutate(self, document: Any) -> str:
        """Mutates one place; what was done where."""
        places = list(_places(document))
        if not places:
            return "empty"
        place = self._rng.choice(places)
        mutation = self._rng.choice(self._mutations)
        try:
            mutation(document, place)
        except RecursionError:  # of the copy, of what is nested deeply by now
            return "too deep"
        return f"{mutation.__name__[1:]} {str(place[1])[:40]}"

    def _set(self, place: Place, value: Any) -> None:
        # Where files are written is confined; what is not text is refused anyway.
        if place[1] == "stateDir" and isinstance(value, str):
            value = self._rng.choice(self._paths)
        place[0][place[1]] = value

    def _wrong(self, _: Any, place: Place) -> None:
        self._set(place, fuzz_values.wrong(self._rng))

    def _fitting(self, _: Any, place: Place) -> None:
        self._set(place, fuzz_values.fitting(self._rng, str(place[1]), self._paths))

    def _gone(self, _: Any, place: Place) -> None:
        del place[0][place[1]]

    def _renamed(self, _: Any, place: Place) -> None:
        holder, key = place
        if isinstance(holder, dict):
            other = self._rng.choice(
                (key.upper(), key.lower(), key + " ", key + "x", key[:-1], self._rng.choice(fuzz_values.KEYS))
            )
            value = holder.pop(key)
            self._set((holder, other), value)

    def _added(self, document: Any, place: Place) -> None:
        target = place[0][place[1]]
        key = self._rng.choice(fuzz_values.KEYS)
        value = fuzz_values.fitting(self._rng, key, self._paths)
        if isinstance(target, list):
            target.insert(self._rng.randrange(len(target) + 1), value)
        elif isinstance(target, dict):
            self._set((target, key), value)
        elif isinstance(document, dict):
            self._set((document, key), value)

    def _swapped(self, document: Any, place: Place) -> None:
        other = self._rng.choice(list(_places(document)))
        self._set(place, copy.deepcopy(other[0][other[1]]))

    def _wrapped(self, _: Any, place: Place) -> None:
        inner = place[0][place[1]]
        self._set(place, [inner] if self._rng.random() < 0.5 else {self._rng.choice(fuzz_values.KEYS): inner})

    def _repeated(self, _: Any, place: Place) -> None:
        inner = place[0][place[1]]
        times = self._rng.choice((2, 3, 65, 300, 3000))
        if isinstance(inner, str):
            self._set(place, inner[:40] * times)
        elif isinstance(inner, list):
            self._set(place, [copy.deepcopy(one) for _ in range(min(times, 300)) for one in inner[:4]])

    def _nudged(self, _: Any, place: Place) -> None:
        inner = place[0][place[1]]
        if isinstance(inner, bool):
            self._set(place, not inner)
        elif isinstance(inner, (int, float)):
            self._set(
                place, self._rng.choice((inner + 1, inner - 1, -inner, inner * 10, float(inner % 2**60)))
            )
        elif isinstance(inner, str):
            at = self._rng.randrange(len(inner) + 1)
            cut = at + self._rng.choice((0, 0, 1, 2))
            self._set(place, inner[:at] + self._rng.choice(fuzz_values.TEXTS)[:20] + inner[cut:])


def encode(rng: Random, document: Any) -> bytes:
    """The document as JSON, in one of the forms that JSON allows."""
    spaced = rng.random() < 0.1
    plain = rng.random() < 0.2
    text = json.dumps(document, ensure_ascii=not plain, indent=2 if spaced else None)
    return text.encode("utf-8", "surrogatepass")


def mangle(rng: Random, raw: bytes) -> bytes:
    """Something done to the text that no JSON encoder does."""
    at = rng.randrange(len(raw) + 1)
    return rng.choice(
        (
            lambda: raw[:at],
            lambda: raw[at:],
            lambda: raw[:at] + fuzz_values.junk(rng, 9) + raw[at:],
            lambda: _flipped(rng, raw),
            lambda: _flipped(rng, raw),
            lambda: raw[:at] + raw[at + rng.randrange(1, 30) :],
            lambda: raw.replace(b":", rng.choice((b":NaN,", b":Infinity", b":-Infinity", b":nan")), 1),
            lambda: raw.replace(b"{", b'{"name": "twice", "name": "pods", ', 1),
            lambda: raw.replace(b"{", b'{"ipam": {"subnet": "1.0.0.0/8"}, ', 1),
            lambda: raw.replace(
                b'"', rng.choice((b"'", b'"\xff', b'"\\ud800', b'"\\u0000', b'"\xc0\x80')), 1
            ),
            lambda: raw.replace(b"1", b"1" * rng.choice((5, 400, 5000)), 1),
            lambda: raw.replace(b"1", b"1e" + b"9" * rng.choice((2, 3, 30)), 1),
            lambda: b"\xef\xbb\xbf" + raw,
            lambda: raw.decode("utf-8", "replace").encode("utf-16"),
            lambda: raw + rng.choice((b"{}", b"\x00", b"x", raw)),
            lambda: rng.choice((b"[", b'{"a":', b"[{")) * rng.choice((100, 1100, 100_000)) + raw,
            lambda: raw.replace(b"{", b"{" + rng.choice((b" ", b"\n", b"\t")) * 70_000, 1),
            lambda: b'"' + raw.replace(b'"', b"") + b'"',
            lambda: rng.choice((b"", b"null", b"[]", b"0", b"true", b'""', b" ", b"\x00", b"{", b"{}")),
            lambda: fuzz_values.junk(rng, 300),
        )
    )()


def _flipped(rng: Random, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8)) if raw else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)
