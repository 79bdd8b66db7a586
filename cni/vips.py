"""What a call asks of anycast: virtual IPs, how to tell that the pod serves, and its share. Pure.

Loaded only where a pod asks. Each of the three comes from `runtimeConfig.anycast`, else from an annotation.
"""

from __future__ import annotations

from cni.errors import INVALID_CONFIG, CniError
from cni.healthcheck import parse_check
from cni.jsonio import dump
from cni.network import packed
from cni.request import fields, strings, whole, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni.request import Request

RUNTIME = "runtimeConfig.anycast"
ANNOTATION = "anypod.dev/anycast"
MAX_VIPS = 64
MAX_WEIGHT = 100


def read(request: Request, runtime: object, annotations: Mapping[str, str]) -> None:
    """Fills in what is asked. CniError 7 names key, value and fix."""
    told = fields(RUNTIME, runtime, "vips", "check", "weight")
    if told.get("vips"):
        request.vips_key = f"{RUNTIME}.vips"
        request.vips = addresses(request.vips_key, strings(request.vips_key, told["vips"]))
    elif text := annotations.get(ANNOTATION, "").strip():
        request.vips_key = ANNOTATION
        request.vips = addresses(ANNOTATION, text.split(","))
    request.check = _check(f"{RUNTIME}.check", told.get("check")) or _check(
        f"{ANNOTATION}-check", annotations.get(f"{ANNOTATION}-check", "").strip()
    )
    key = f"{ANNOTATION}-weight"
    request.weight = _weight(f"{RUNTIME}.weight", told.get("weight")) or _weight(
        key, _read_number(annotations.get(key, "").strip())
    )


def addresses(key: str, texts: Iterable[str]) -> list[bytes]:
    """The addresses, packed, each once and in order."""
    found: list[bytes] = []
    for text in texts:
        try:
            ip = packed(text.strip())
        except ValueError:
            raise wrong(
                key, text, "no IP address; write it like 198.51.100.10, several with commas between them"
            ) from None
        if ip not in found:
            found.append(ip)
    if len(found) > MAX_VIPS:
        raise CniError(
            INVALID_CONFIG, f"{key}: has {len(found)} addresses; a pod serves at most {MAX_VIPS} virtual IPs"
        )
    return found


def _check(key: str, value: object) -> str:
    """The compiled check; empty for none."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str):
        raise wrong(key, value, "no health check; write it like tcp://:53 interval=2")
    try:
        return dump(parse_check(value).compiled())
    except ValueError as error:
        raise wrong(key, value, str(error)) from None


def _read_number(text: str) -> object:
    """The number that an annotation writes; the text itself where it is none, and None for nothing."""
    plain = text.isascii() and text.isdecimal() and len(text) < 10
    return int(text) if plain else text or None


def _weight(key: str, value: object) -> int:
    """0 for none."""
    return 0 if value is None else whole(key, value, 1, MAX_WEIGHT)
