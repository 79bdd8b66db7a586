"""IPAM by another plugin, which `ipam.type` names: executed with our own environment and configuration.

CNI specification, section 4. Every delegate is asked when the pod's interface exists, and from the
node's namespace: `dhcp` looks the interface up in the pod, and keeps its hardware address. After an
ADD that failed, here or later, DEL has to follow.
"""

from __future__ import annotations

import posix

from cni import child
from cni.errors import (
    DECODING_FAILURE,
    INTERNAL,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    LIMITED_CONNECTIVITY,
    NOT_AVAILABLE,
    CniError,
)
from cni.jsonio import dump, parse
from cni.results import parse_result
from cni.spec import config_version, is_identifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni.network import Network, PodAddress, PodRoute
    from cni.spec import Call

ADD_SECONDS = 60.0
OTHER_SECONDS = 30.0
MAX_MESSAGE = 4096
MAX_CODE = 0xFFFFFFFF
# What the delegate is called for. A delegate that is this plugin again would call itself without end.
MARK = b"ANYPOD_DELEGATED"


class Delegated:
    """What a delegate gives a pod. A route's gateway of zeros is one that says: none, on the link."""

    __slots__ = ("addresses", "dns", "routes")

    def __init__(
        self, addresses: Sequence[PodAddress], routes: Sequence[PodRoute], dns: dict[str, object]
    ) -> None:
        self.addresses = list(addresses)
        self.routes = list(routes)
        self.dns = dns


def add(network: Network, call: Call, conf: dict[str, object]) -> Delegated:
    """Asks for addresses. CniError with the delegate's own code, 6 for an answer that can't be read."""
    text = run(network.ipam, "ADD", call, _text(conf))
    return read_answer(network.ipam, text, config_version(conf))


def read_answer(kind: str, text: str, version: str) -> Delegated:
    """ADD's answer, in the shape of any version; `version` is the one of an answer without. Pure."""
    what = f"the answer of ipam.type {kind!r}"
    try:
        answer = parse(text)
    except CniError:
        raise CniError(DECODING_FAILURE, f"{what} is no JSON: {text[:200]!r}") from None
    if not isinstance(answer, dict):
        raise CniError(DECODING_FAILURE, f"{what} is no JSON object: {text[:200]!r}")
    if "code" in answer and "msg" in answer:
        raise _told(kind, answer)
    result = parse_result(answer, version, what)
    addresses = [address for address, _ in result.ips]
    _check_addresses(what, addresses)
    return Delegated(addresses, [_masked(one) for one in result.routes], _dns(what, result.dns))


def delete(kind: str, call: Call, conf: dict[str, object]) -> None:
    """Gives back what ADD got, if anything. A delegate that fails here has to be called again."""
    # What ADD refuses as the name of a delegate gave nothing, and the pod has to go all the same.
    if is_identifier(kind) and kind != conf.get("type"):
        run(kind, "DEL", call, _text(conf))


def check(kind: str, call: Call, conf: dict[str, object]) -> None:
    """CniError of the delegate where it does not hold any more what ADD got."""
    run(kind, "CHECK", call, _text(conf))


def gc(kind: str, call: Call, conf: dict[str, object]) -> None:
    """Hands the list of valid attachments on."""
    run(kind, "GC", call, _text(conf))


def status(kind: str, call: Call, conf: dict[str, object]) -> None:
    """CniError 50 or 51 where the delegate can't serve: missing, hanging, too old, or by its own word."""
    try:
        run(kind, "STATUS", call, _text(conf))
    except CniError as error:
        if error.code in (NOT_AVAILABLE, LIMITED_CONNECTIVITY):
            raise
        raise CniError(NOT_AVAILABLE, error.message, error.details) from None


def find(kind: str, path: str) -> str:
    """The file that `kind` names in the directories of CNI_PATH. CniError 7 with the fix for none, 4 for no path."""
    if not is_identifier(kind):
        raise CniError(
            INVALID_CONFIG,
            f"ipam.type: {ascii(kind)[:80]} is no name of a plugin; write the name of its file, without a directory",
        )
    if not path:
        raise CniError(
            INVALID_ENVIRONMENT,
            f"required env variables [CNI_PATH] missing; the plugin of ipam.type {kind!r} is looked for there",
        )
    flaw = "is not in"
    # A relative directory depends on where the runtime was started.
    for directory in path.split(":"):
        file = f"{directory.rstrip('/')}/{kind}"
        if directory.startswith("/") and _is_regular(file):
            if posix.access(file, posix.X_OK):
                return file
            flaw = "is not executable in"
    raise CniError(
        INVALID_CONFIG,
        f"ipam.type: {kind!r} {flaw} CNI_PATH ({path[:200]}); install that plugin there, "
        'or use "host-local", which is built in',
    )


def _is_regular(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o100000
    except (OSError, ValueError):
        return False


def run(kind: str, verb: str, call: Call, conf_text: str) -> str:
    """Executes the delegate; its stdout. CniError with its own code and message where it fails, 11 where it hangs."""
    file = find(kind, call.path)
    mark = f"{verb} {kind} {call.container}/{call.ifname}".encode()
    if posix.environ.get(MARK) == mark:
        raise CniError(INVALID_CONFIG, f"ipam.type: {kind!r} is this plugin itself; name an IPAM plugin")
    environ = {**posix.environ, b"CNI_COMMAND": verb.encode(), MARK: mark}
    seconds = ADD_SECONDS if verb == "ADD" else OTHER_SECONDS
    try:
        ended = child.run(file, environ, conf_text.encode(), seconds)
    except CniError as error:
        raise CniError(error.code, f"ipam.type {kind!r}, {verb}: {error.message}") from None
    text = ended.stdout.decode("utf-8", "replace")
    if ended.status == 0:
        return text
    try:
        answer = parse(text)
    except CniError:
        answer = None
    if isinstance(answer, dict) and ("msg" in answer or "code" in answer):
        raise _told(kind, answer)
    raise _mute(kind, verb, ended)


def _text(conf: dict[str, object]) -> str:
    try:
        return dump(conf)
    except RecursionError:
        raise CniError(DECODING_FAILURE, "stdin is nested too deeply; flatten it") from None


def _told(kind: str, answer: dict[str, object]) -> CniError:
    """The delegate's error object as our own error."""
    code, message, details = answer.get("code"), answer.get("msg"), answer.get("details")
    number = code if type(code) is int and 0 < code <= MAX_CODE else INTERNAL
    said = message if isinstance(message, str) and message else "failed and gave no message"
    return CniError(
        number, f"{kind}: {said[:MAX_MESSAGE]}", details[:MAX_MESSAGE] if isinstance(details, str) else ""
    )


def _mute(kind: str, verb: str, ended: child.Ended) -> CniError:
    """For a delegate that failed without an error object."""
    how = f"exit status {ended.status}" if ended.status > 0 else f"signal {-ended.status}"
    said = (ended.stderr.strip() or ended.stdout.strip()).decode("utf-8", "replace")
    return CniError(
        INTERNAL,
        f"{kind}: {verb} ended with {how} and no CNI error object; {said[-MAX_MESSAGE:] or 'it wrote nothing'}",
    )


def _check_addresses(what: str, addresses: Sequence[PodAddress]) -> None:
    if not addresses:
        raise CniError(
            DECODING_FAILURE, f"{what} has no address; see which keys of ipam that plugin takes them from"
        )
    seen = set()
    for one in addresses:
        if one.ip in seen or one.prefixlen == 0 or not _is_of_a_host(one.ip):
            raise CniError(
                DECODING_FAILURE, f"{what}: {one.text()} is no address for a pod, or is there twice"
            )
        seen.add(one.ip)


def _is_of_a_host(ip: bytes) -> bool:
    """Neither unspecified nor loopback nor multicast nor broadcast."""
    if len(ip) == 4:
        return ip[0] not in (0, 127) and ip[0] >> 4 != 14 and ip != b"\xff" * 4
    return ip[0] != 0xFF and any(ip[:15])


def _masked(route: PodRoute) -> PodRoute:
    """The route with no bits behind its prefix, which the kernel refuses."""
    length = len(route.dst)
    shift = 8 * length - route.prefixlen
    route.dst = (int.from_bytes(route.dst, "big") >> shift << shift).to_bytes(length, "big")
    return route


def _dns(what: str, dns: dict[str, object]) -> dict[str, object]:
    """The keys that the specification knows, where they say something."""
    shown: dict[str, object] = {}
    for key in ("nameservers", "domain", "search", "options"):
        value = dns.get(key)
        texts = value if isinstance(value, list) else [value]
        if not value:
            continue
        if isinstance(value, list) is (key == "domain") or not all(isinstance(one, str) for one in texts):
            raise CniError(DECODING_FAILURE, f"{what}: dns.{key} is {ascii(value)[:80]}")
        shown[key] = value
    return shown
