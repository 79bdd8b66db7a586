"""What the CNI specification fixes of a call: environment, versions, names, and the shape of errors. Pure."""

from __future__ import annotations

from cni.errors import INCOMPATIBLE_VERSION, INVALID_CONFIG, INVALID_ENVIRONMENT, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = SUPPORTED[-1]
IMPLIED_VERSION = "0.1.0"
LEGACY = ("0.1.0", "0.2.0")
# The first version that has the verb.
SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}

_REQUIRED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    # The specification wants CNI_PATH with GC; it is needed where another plugin is delegated to, and missed there.
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# The specification sets no length; this is what still fits a file name.
MAX_ID = 255
MAX_IFNAME = 15
MAX_PATH = 4096
TRUE = ("1", "true")
# Of CNI_ARGS. Kubernetes' runtimes add more, with IgnoreUnknown=1.
KNOWN_ARGS = ("IgnoreUnknown", "IP", "MAC", "K8S_POD_NAMESPACE", "K8S_POD_NAME")


class Call:
    """What the runtime asks: the verb and the attachment that it is for."""

    __slots__ = ("args", "command", "container", "ifname", "netns", "own_netns", "path", "started")

    def __init__(self, command: str, container: str = "", netns: str = "", ifname: str = "") -> None:
        self.command = command
        self.container = container
        self.netns = netns
        self.ifname = ifname
        # CNI_ARGS; CNI_PATH; whether CNI_NETNS may be the plugin's own namespace.
        self.args: dict[str, str] = {}
        self.path = ""
        self.own_netns = False
        # When the call began, on the clock of the state file.
        self.started = 0


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
    if found.get("IgnoreUnknown", "").lower() not in TRUE:
        unknown = sorted(key for key in found if key not in KNOWN_ARGS)
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
    call = Call(command, container, netns, ifname)
    if command == "VERSION":
        return call
    call.path = _variable(environ, "CNI_PATH")
    if _REQUIRED[command]:
        _check_names(container, ifname)
        call.args = parse_args(_variable(environ, "CNI_ARGS"))
        call.own_netns = _variable(environ, "CNI_NETNS_OVERRIDE").lower() in TRUE
    return call


def _check_names(container: str, ifname: str) -> None:
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


def check_verb(command: str, version: str) -> None:
    """CniError 1 where the configuration's version is older than the verb."""
    since = SINCE.get(command)
    if since is not None and SUPPORTED.index(version) < SUPPORTED.index(since):
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"config version does not allow {command}",
            f"config is {version}, {command} needs {since} or newer",
        )


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


def error_object(version: str, error: CniError) -> dict[str, object]:
    """The error as the specification shapes it."""
    shown: dict[str, object] = {"cniVersion": version, "code": error.code, "msg": error.message}
    if error.details:
        shown["details"] = error.details
    return shown


def versions() -> dict[str, object]:
    """VERSION's answer."""
    return {"cniVersion": NEWEST, "supportedVersions": list(SUPPORTED)}
