"""ADD's result in the shape of each CNI version, and the result of an earlier plugin read from any of them. Pure."""

from __future__ import annotations

from cni.errors import DECODING_FAILURE, CniError
from cni.link import mac_text
from cni.network import PodAddress, PodRoute, ip_text, packed, packed_prefix
from cni.spec import LEGACY, SUPPORTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

WITH_IP_VERSION = ("0.3.0", "0.3.1", "0.4.0")
# From 1.1.0 on interfaces and routes tell more.
WITH_DETAILS = ("1.1.0",)
ROUTE_NUMBERS = ("mtu", "advmss", "priority", "table")


class Interface:
    """An interface of a result; `sandbox` is empty for those of the node, `other` is what another plugin told."""

    __slots__ = ("mac", "mtu", "name", "other", "sandbox")

    def __init__(self, name: str, address: bytes, sandbox: str = "", mtu: int = 0) -> None:
        self.name = name
        self.mac = mac_text(address)
        self.sandbox = sandbox
        self.mtu = mtu
        self.other: dict[str, object] = {}

    def json(self, version: str) -> dict[str, object]:
        """As results of that version show it."""
        shown: dict[str, object] = {"name": self.name}
        if self.mac:
            shown["mac"] = self.mac
        if self.sandbox:
            shown["sandbox"] = self.sandbox
        if version in WITH_DETAILS:
            if self.mtu:
                shown["mtu"] = self.mtu
            shown |= self.other
        return shown


class Result:
    """What ADD answers: `ips` pairs each address with the index of its interface, -1 for none."""

    __slots__ = ("dns", "interfaces", "ips", "routes")

    def __init__(
        self,
        interfaces: Sequence[Interface] = (),
        ips: Sequence[tuple[PodAddress, int]] = (),
        routes: Sequence[PodRoute] = (),
        dns: dict[str, object] | None = None,
    ) -> None:
        self.interfaces = list(interfaces)
        self.ips = list(ips)
        self.routes = list(routes)
        self.dns = dns or {}

    def inside(self, ifname: str) -> Interface | None:
        """The pod's interface of that name, the last one told."""
        found = [one for one in self.interfaces if one.name == ifname and one.sandbox]
        return found[-1] if found else None

    def behind(self, earlier: Result) -> Result:
        """This result appended to that of the plugins which stand before in the list."""
        shift = len(earlier.interfaces)
        return Result(
            [*earlier.interfaces, *self.interfaces],
            [*earlier.ips, *((ip, index + shift if index >= 0 else -1) for ip, index in self.ips)],
            [*earlier.routes, *self.routes],
            self.dns or earlier.dns,
        )

    def json(self, version: str) -> dict[str, object]:
        """In the shape of `version`."""
        if version in LEGACY:
            return self._legacy(version)
        answer: dict[str, object] = {
            "cniVersion": version,
            "interfaces": [one.json(version) for one in self.interfaces],
            "dns": self.dns,
        }
        if self.ips:
            answer["ips"] = [_ip(version, address, index) for address, index in self.ips]
        if self.routes:
            answer["routes"] = [_route(version, one) for one in self.routes]
        return answer

    def _legacy(self, version: str) -> dict[str, object]:
        answer: dict[str, object] = {"cniVersion": version, "dns": self.dns}
        for key, length in (("ip4", 4), ("ip6", 16)):
            for address, _ in self.ips:
                if len(address.ip) == length and key not in answer:
                    shown: dict[str, object] = {"ip": address.text()}
                    if address.gateway:
                        shown["gateway"] = ip_text(address.gateway)
                    own = [_route(version, one) for one in self.routes if len(one.dst) == length]
                    if own:
                        shown["routes"] = own
                    answer[key] = shown
        return answer


def _ip(version: str, address: PodAddress, index: int) -> dict[str, object]:
    shown: dict[str, object] = {"address": address.text()}
    if address.gateway:
        shown["gateway"] = ip_text(address.gateway)
    if index >= 0:
        shown["interface"] = index
    if version in WITH_IP_VERSION:
        shown["version"] = "4" if len(address.ip) == 4 else "6"
    return shown


def _route(version: str, route: PodRoute) -> dict[str, object]:
    shown: dict[str, object] = {"dst": f"{ip_text(route.dst)}/{route.prefixlen}"}
    if route.gateway is not None:
        shown["gw"] = ip_text(route.gateway)
    if version in WITH_DETAILS:
        for name in ROUTE_NUMBERS:
            number = getattr(route, name)
            if number:
                shown[name] = number
        if route.scope >= 0:
            shown["scope"] = route.scope
    return shown


def parse_result(found: object, version: str, what: str) -> Result:
    """A result of any version as values. CniError 6 names what is wrong with it; `what` names it."""
    try:
        return _parse(found, version)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CniError(
            DECODING_FAILURE, f"{what} is no CNI result: {type(error).__name__} {str(error)[:200]}"
        ) from None


def _parse(found: Any, version: str) -> Result:
    own = found.get("cniVersion") or version
    if own not in SUPPORTED:
        raise ValueError(f"cniVersion {own!r}")
    dns = found.get("dns") or {}
    if not isinstance(dns, dict):
        raise TypeError(f"dns {dns!r}")
    if own in LEGACY:
        ips, routes = [], []
        for key in ("ip4", "ip6"):
            one = found.get(key)
            if one:
                ips.append((_parse_ip(one, "ip"), -1))
                routes += [_parse_route(route) for route in one.get("routes") or ()]
        return Result((), ips, routes, dns)
    interfaces = [_parse_interface(one) for one in found.get("interfaces") or ()]
    return Result(
        interfaces,
        [_parse_indexed(one, len(interfaces)) for one in found.get("ips") or ()],
        [_parse_route(one) for one in found.get("routes") or ()],
        dns,
    )


def _parse_interface(one: Any) -> Interface:
    name, sandbox, mac = one["name"], one.get("sandbox") or "", one.get("mac") or ""
    mtu = one.get("mtu") or 0
    if not all(isinstance(text, str) for text in (name, sandbox, mac)) or type(mtu) is not int:
        raise TypeError(f"interface {name!r}")
    found = Interface(name, b"", sandbox, mtu)
    found.mac = mac.lower()
    found.other = {key: one[key] for key in ("socketPath", "pciID") if one.get(key)}
    return found


def _parse_indexed(one: Any, interfaces: int) -> tuple[PodAddress, int]:
    index = one.get("interface")
    if index is None:
        index = -1
    elif type(index) is not int or not -1 <= index < interfaces:
        raise ValueError(f"interface {index!r} of {interfaces}")
    return _parse_ip(one, "address"), index


def _parse_ip(one: Any, key: str) -> PodAddress:
    ip, prefixlen = packed_prefix(one[key])
    gateway = packed(one["gateway"]) if one.get("gateway") else b""
    if gateway and len(gateway) != len(ip):
        raise ValueError(f"gateway {one['gateway']} of {one[key]}")
    return PodAddress(ip, prefixlen, gateway)


def _parse_route(one: Any) -> PodRoute:
    dst, prefixlen = packed_prefix(one["dst"])
    gateway = packed(one["gw"]) if one.get("gw") else None
    if gateway is not None and len(gateway) != len(dst):
        raise ValueError(f"gw {one['gw']} of {one['dst']}")
    route = PodRoute(dst, prefixlen, gateway)
    for name in (*ROUTE_NUMBERS, "scope"):
        number = one.get(name)
        if number is not None:
            if type(number) is not int or not 0 <= number < (256 if name == "scope" else 1 << 32):
                raise ValueError(f"{name} {number!r} of {one['dst']}")
            setattr(route, name, number)
    return route


def parse_previous(conf: dict[str, object], version: str) -> Result | None:
    """The configuration's prevResult; None where there is none. CniError 6 for a wrong one."""
    found = conf.get("prevResult")
    return None if found is None else parse_result(found, version, "prevResult")
