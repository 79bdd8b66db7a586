"""What the CNI specification fixes: environment, versions, and the shape of results and errors. Pure."""

from __future__ import annotations

from cni.errors import INCOMPATIBLE_VERSION, INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from cni.link import mac_text
from cni.network import ip_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni.network import PodRoute

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
NEWEST = SUPPORTED[-1]
IMPLIED_VERSION = "0.1.0"
LEGACY = ("0.1.0", "0.2.0")
WITHOUT_CHECK = ("0.1.0", "0.2.0", "0.3.0", "0.3.1")
WITH_IP_VERSION = ("0.3.0", "0.3.1", "0.4.0")

_REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "VERSION": (),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# The specification sets no length; this is what still fits a file name.
MAX_ID = 255
MAX_IFNAME = 15
MAX_PATH = 4096


class Call:
    """What the runtime asks: the verb and the attachment that it is for."""

    __slots__ = ("args", "command", "container", "ifname", "netns")

    def __init__(self, command: str, container: str, netns: str, ifname: str, args: dict[str, str]) -> None:
        self.command = command
        self.container = container
        self.netns = netns
        self.ifname = ifname
        self.args = args


def _variable(environ: Mapping[bytes, bytes], name: str) -> str:
    value = environ.get(name.encode(), b"")
    if len(value) > MAX_PATH:
        raise CniError(
            INVALID_ENVIRONMENT, f"{name} is {len(value)} bytes long; at most {MAX_PATH} are taken"
        )
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise CniError(INVALID_ENVIRONMENT, f"{name} is no UTF-8: {value[:80]!r}") from None


def is_identifier(text: str) -> bool:
    """Whether `text` is what the specification allows as container id and network name."""
    return (
        0 < len(text) <= MAX_ID
        and text[0] in _LETTERS
        and not text.strip(_LETTERS + "_.-")
        and all(letter in _LETTERS or letter in "_.-" for letter in text)
    )


def is_ifname(text: str) -> bool:
    """Whether the kernel takes `text` as an interface's name."""
    return (
        0 < len(text) <= MAX_IFNAME
        and text not in (".", "..")
        and all("!" <= letter <= "~" and letter not in "/:%" for letter in text)
    )


def parse_args(text: str) -> dict[str, str]:
    """CNI_ARGS, `K=V;K=V`; CniError 4 for a pair without `=` or an unknown key without IgnoreUnknown."""
    found: dict[str, str] = {}
    for pair in text.split(";") if text else ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CniError(INVALID_ENVIRONMENT, f"CNI_ARGS: {pair[:80]!r} is no KEY=VALUE pair")
        found[key] = value
    if found.get("IgnoreUnknown", "").lower() not in ("1", "true"):
        unknown = sorted(key for key in found if key != "IgnoreUnknown")
        if unknown:
            raise CniError(
                INVALID_ENVIRONMENT,
                f"CNI_ARGS: unknown keys {','.join(unknown)[:200]}; set IgnoreUnknown=1 or drop them",
            )
    return found


def parse_environment(environ: Mapping[bytes, bytes]) -> Call:
    """The call that the variables describe; CniError 4 names all that is missing at once."""
    command = _variable(environ, "CNI_COMMAND")
    if command not in _REQUIRED:
        raise CniError(
            INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command[:80]}; known are {', '.join(_REQUIRED)}"
        )
    container, netns, ifname = (
        _variable(environ, f"CNI_{name}") for name in ("CONTAINERID", "NETNS", "IFNAME")
    )
    missing = [name for name in _REQUIRED[command] if not environ.get(name.encode())]
    if missing:
        raise CniError(INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
    if command == "VERSION":
        return Call(command, "", "", "", {})
    if len(container) > MAX_ID:
        raise CniError(
            INVALID_ENVIRONMENT, f"CNI_CONTAINERID has {len(container)} characters; at most {MAX_ID}"
        )
    if not is_identifier(container):
        raise CniError(
            INVALID_ENVIRONMENT, f"invalid characters in containerID: CNI_CONTAINERID={container[:80]!r}"
        )
    if not is_ifname(ifname):
        raise CniError(
            INVALID_ENVIRONMENT,
            f"CNI_IFNAME={ifname[:80]!r} is no interface name: at most {MAX_IFNAME} characters, no space / : %",
        )
    return Call(command, container, netns, ifname, parse_args(_variable(environ, "CNI_ARGS")))


def config_version(conf: dict[str, object]) -> str:
    """The configuration's CNI version; CniError 1 where it isn't supported."""
    version = conf.get("cniVersion", IMPLIED_VERSION)
    if version in ("", None):
        version = IMPLIED_VERSION
    if not isinstance(version, str) or version not in SUPPORTED:
        raise CniError(
            INCOMPATIBLE_VERSION,
            "incompatible CNI versions",
            f"config is {str(version)[:80]!r}, plugin supports {list(SUPPORTED)}",
        )
    return version


def network_name(conf: dict[str, object]) -> str:
    """The network's name; CniError 7 where it is missing or has characters that no file name should have."""
    name = conf.get("name")
    if name is None or name == "":
        raise CniError(INVALID_CONFIG, 'missing network name; set "name"')
    if not isinstance(name, str) or not is_identifier(name):
        raise CniError(
            INVALID_CONFIG, f'invalid characters found in network name: "name" is {str(name)[:80]!r}'
        )
    return name


class PodAddress:
    """An address that a pod got: packed, with its prefix length and its gateway (packed)."""

    __slots__ = ("gateway", "ip", "prefixlen")

    def __init__(self, ip: bytes, prefixlen: int, gateway: bytes) -> None:
        self.ip = ip
        self.prefixlen = prefixlen
        self.gateway = gateway

    def text(self) -> str:
        """`10.1.0.5/24`."""
        return f"{ip_text(self.ip)}/{self.prefixlen}"


class Interface:
    """An interface of a result; `sandbox` is empty for those of the node."""

    __slots__ = ("address", "name", "sandbox")

    def __init__(self, name: str, address: bytes, sandbox: str = "") -> None:
        self.name = name
        self.address = address
        self.sandbox = sandbox

    def json(self) -> dict[str, object]:
        """As results show it."""
        shown: dict[str, object] = {"name": self.name, "mac": mac_text(self.address)}
        if self.sandbox:
            shown["sandbox"] = self.sandbox
        return shown


def _route(route: PodRoute) -> dict[str, object]:
    shown: dict[str, object] = {"dst": f"{ip_text(route.dst)}/{route.prefixlen}"}
    if route.gateway is not None:
        shown["gw"] = ip_text(route.gateway)
    return shown


def result(
    version: str,
    interfaces: Sequence[Interface],
    addresses: Sequence[PodAddress],
    routes: Sequence[PodRoute],
    dns: dict[str, object],
) -> dict[str, object]:
    """ADD's answer in the shape of `version`; the last interface is the pod's."""
    if version in LEGACY:
        return _legacy_result(version, addresses, routes, dns)
    ips = []
    for address in addresses:
        shown: dict[str, object] = {
            "address": address.text(),
            "gateway": ip_text(address.gateway),
            "interface": len(interfaces) - 1,
        }
        if version in WITH_IP_VERSION:
            shown["version"] = "4" if len(address.ip) == 4 else "6"
        ips.append(shown)
    answer: dict[str, object] = {
        "cniVersion": version,
        "interfaces": [one.json() for one in interfaces],
        "ips": ips,
        "dns": dns,
    }
    if routes:
        answer["routes"] = [_route(one) for one in routes]
    return answer


def _legacy_result(
    version: str, addresses: Sequence[PodAddress], routes: Sequence[PodRoute], dns: dict[str, object]
) -> dict[str, object]:
    answer: dict[str, object] = {"cniVersion": version, "dns": dns}
    for key, length in (("ip4", 4), ("ip6", 16)):
        for address in addresses:
            if len(address.ip) == length and key not in answer:
                shown: dict[str, object] = {"ip": address.text(), "gateway": ip_text(address.gateway)}
                own = [_route(one) for one in routes if len(one.dst) == length]
                if own:
                    shown["routes"] = own
                answer[key] = shown
    return answer


def error_object(version: str, error: CniError) -> dict[str, object]:
    """The error as the specification shapes it."""
    shown: dict[str, object] = {"cniVersion": version, "code": error.code, "msg": error.message}
    if error.details:
        shown["details"] = error.details
    return shown


def versions() -> dict[str, object]:
    """VERSION's answer."""
    return {"cniVersion": NEWEST, "supportedVersions": list(SUPPORTED)}
