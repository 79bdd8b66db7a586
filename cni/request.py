"""What one call asks beside the netconf: capabilities, `args.cni` and CNI_ARGS. Pure.

Where the same is asked twice, runtimeConfig goes before args.cni, and that before CNI_ARGS.
"""

from __future__ import annotations

from cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from cni.network import packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.spec import Call

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
OUR_ANNOTATIONS = "anypod.dev/"
MAX_ITEMS = 1024
MAX_TEXT = 4096
MAX_BURST = 0xFFFFFFFF << 3


class Request:
    """Rates in bits per second, bursts in bits; 0 for no limit. Addresses are packed, empty for any."""

    __slots__ = (
        "aliases",
        "annotations",
        "bandwidth",
        "check",
        "dns",
        "ips",
        "mac",
        "pod",
        "ports",
        "vips",
        "vips_key",
        "weight",
    )

    def __init__(self) -> None:
        self.ips: list[bytes] = []
        self.mac = b""
        # Into the pod, and out of it: rate and burst each.
        self.bandwidth: tuple[int, int, int, int] | None = None
        # Protocol number, address of the node, its port, the pod's port.
        self.ports: list[tuple[int, bytes, int, int]] = []
        self.dns: dict[str, object] | None = None
        self.aliases: list[str] = []
        self.annotations: dict[str, str] = {}
        self.pod = ""
        # Virtual IPs, the key that asks for them, the compiled health check, the weight; empty and 0 for not said.
        self.vips: list[bytes] = []
        self.vips_key = ""
        self.check = ""
        self.weight = 0

    def detail(self) -> dict[str, object]:
        """What the state file keeps for those who look up a pod; empty where there is nothing."""
        found = {"aliases": self.aliases, "annotations": self.annotations}
        return {key: value for key, value in found.items() if value}


def _shown(value: object) -> str:
    return ascii(value)[:80]


def wrong(key: str, value: object, why: str) -> CniError:
    """CniError 7 that names key, value and, in `why`, the fix."""
    return CniError(INVALID_CONFIG, f"{key}: {_shown(value)} is {why}")


def parse_request(call: Call, conf: dict[str, object]) -> Request:
    """CniError 4 for what is wrong in CNI_ARGS, 7 for the rest; the message names key and value."""
    request = Request()
    runtime = _object("runtimeConfig", conf.get("runtimeConfig"))
    args = _object("args.cni", _object("args", conf.get("args")).get("cni"))
    if call.args:
        namespace, name = call.args.get("K8S_POD_NAMESPACE", ""), call.args.get("K8S_POD_NAME", "")
        request.pod = f"{namespace}/{name}"[:MAX_TEXT] if namespace or name else ""
    request.ips = _ips(call, args, runtime)
    request.mac = _mac(call, args, runtime)
    for name, read in _READERS:
        value = runtime.get(name)
        # Runtimes send an empty value of a capability that a pod does not use.
        if value:
            read(request, f"runtimeConfig.{name}", value)
    if request.annotations or runtime.get("anycast"):
        from cni.vips import read as read_vips

        read_vips(request, runtime.get("anycast"), request.annotations)
    return request


def _object(key: str, value: object) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(key, value, "no JSON object")
    return value


def fields(key: str, value: object, *names: str) -> dict[str, object]:
    """An object whose names may be in any case, as Go reads JSON: containerd sends `HostPort` (go-cni's types.go)."""
    known = {name.lower(): name for name in names}
    return {known.get(name.lower(), name): one for name, one in _object(key, value).items()}


def _list(key: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise wrong(key, value, "no list")
    if len(value) > MAX_ITEMS:
        raise CniError(INVALID_CONFIG, f"{key}: has {len(value)} entries; at most {MAX_ITEMS} are taken")
    return value


def strings(key: str, value: object) -> list[str]:
    """A list of strings of bounded lengths."""
    found = []
    for one in _list(key, value):
        if not isinstance(one, str) or len(one) > MAX_TEXT:
            raise wrong(key, one, f"no string of at most {MAX_TEXT} characters")
        found.append(one)
    return found


def _address(key: str, text: str, code: int = INVALID_CONFIG) -> bytes:
    try:
        ip = packed(text.partition("/")[0])
    except ValueError:
        raise CniError(
            code, f"{key}: {_shown(text)} is no IP address; write it like 10.1.0.5 or fd00::5"
        ) from None
    return ip


def _ips(call: Call, args: dict[str, object], runtime: dict[str, object]) -> list[bytes]:
    """The addresses that are asked for; for each family, the source that goes before the others."""
    sources = []
    for key, place in (("runtimeConfig.ips", runtime), ("args.cni.ips", args)):
        sources.append([_address(key, one) for one in strings(key, place.get("ips") or [])])
    text = call.args.get("IP", "")
    sources.append([_address("CNI_ARGS IP", text, INVALID_ENVIRONMENT)] if text else [])
    chosen: list[bytes] = []
    for source in sources:
        seen = {len(ip) for ip in chosen}
        chosen += [ip for ip in source if len(ip) not in seen]
    return chosen


def _mac(call: Call, args: dict[str, object], runtime: dict[str, object]) -> bytes:
    for key, place, code in (
        ("runtimeConfig.mac", runtime.get("mac"), INVALID_CONFIG),
        ("args.cni.mac", args.get("mac"), INVALID_CONFIG),
        ("CNI_ARGS MAC", call.args.get("MAC"), INVALID_ENVIRONMENT),
    ):
        if place:
            mac = _parse_mac(place)
            if len(mac) != 6 or mac[0] & 1 or not any(mac):
                raise CniError(
                    code,
                    f"{key}: {_shown(place)} is no hardware address of one interface; write it like 0a:58:0a:01:00:05",
                )
            return mac
    return b""


def _parse_mac(text: object) -> bytes:
    parts = text.replace("-", ":").split(":") if isinstance(text, str) and len(text) == 17 else []
    try:
        return bytes([int(part, 16) for part in parts if len(part) == 2 and part.isalnum()])
    except ValueError:
        return b""


def _dns(request: Request, key: str, value: object) -> None:
    place = fields(key, value, "servers", "searches", "options")
    names = (("nameservers", "servers"), ("search", "searches"), ("options", "options"))
    request.dns = {
        ours: strings(f"{key}.{theirs}", place[theirs]) for ours, theirs in names if place.get(theirs)
    }


def whole(key: str, value: object, least: int, most: int) -> int:
    """A whole number within bounds."""
    # A whole number is one in JSON however it is written: 8080.0.
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if type(number) is not int or not least <= number <= most:
        raise wrong(key, value, f"no whole number from {least} to {most}")
    return number


def _bandwidth(request: Request, key: str, value: object) -> None:
    place = fields(key, value, "ingressRate", "ingressBurst", "egressRate", "egressBurst")
    found = []
    for direction in ("ingress", "egress"):
        rate = whole(f"{key}.{direction}Rate", place.get(f"{direction}Rate") or 0, 0, (1 << 63) - 1)
        burst = whole(f"{key}.{direction}Burst", place.get(f"{direction}Burst") or 0, 0, (1 << 63) - 1)
        if (rate == 0) != (burst == 0):
            unset, other = ("Burst", "Rate") if rate else ("Rate", "Burst")
            raise CniError(
                INVALID_CONFIG,
                f"{key}.{direction}{unset}: is missing; set it together with {direction}{other}",
            )
        if burst > MAX_BURST:
            raise wrong(f"{key}.{direction}Burst", burst, "more than 4 GB; lower it")
        found += [rate, burst]
    if any(found):
        request.bandwidth = (found[0], found[1], found[2], found[3])


def _ports(request: Request, key: str, value: object) -> None:
    for number, one in enumerate(_list(key, value)):
        here = f"{key}[{number}]"
        place = fields(here, one, "hostPort", "containerPort", "protocol", "hostIP")
        host = whole(f"{here}.hostPort", place.get("hostPort") or 0, 0, 65535)
        if host == 0:
            continue  # a port that is only told, not mapped
        inner = whole(f"{here}.containerPort", place.get("containerPort"), 1, 65535)
        name = place.get("protocol") or "tcp"
        protocol = PROTOCOLS.get(name.lower(), 0) if isinstance(name, str) else 0
        if not protocol:
            raise wrong(f"{here}.protocol", name, "none of tcp, udp and sctp")
        ip = place.get("hostIP") or ""
        if not isinstance(ip, str):
            raise wrong(f"{here}.hostIP", ip, "no string")
        address = _address(f"{here}.hostIP", ip) if ip else b""
        port = (protocol, address, host, inner)
        if port not in request.ports:
            request.ports.append(port)


def _aliases(request: Request, key: str, value: object) -> None:
    # Podman sends them by network.
    lists = value.values() if isinstance(value, dict) else (value,)
    request.aliases = [alias for one in lists for alias in strings(key, one)]


def _annotations(request: Request, key: str, value: object) -> None:
    for name, text in _object(key, value).items():
        if not name.startswith(OUR_ANNOTATIONS):
            continue
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise wrong(f"{key} {name[:80]}", text, f"no string of at most {MAX_TEXT} characters")
        request.annotations[name] = text


_READERS = (
    ("dns", _dns),
    ("bandwidth", _bandwidth),
    ("portMappings", _ports),
    ("aliases", _aliases),
    (ANNOTATIONS, _annotations),
)
