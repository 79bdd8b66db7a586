"""What the reference plugins know and this version does not: refused with code 2, never silently dropped."""

from __future__ import annotations

from typing import Any

from cni.errors import UNSUPPORTED_FIELD, CniError

# Key of the reference plugin, and the values that ask for nothing.
BRIDGE: dict[str, tuple[object, ...]] = {
    "forceAddress": (False,),
    "ipMasqBackend": ("", "nftables"),
    "promiscMode": (False,),
    "vlan": (0,),
    "vlanTrunk": ([],),
    "preserveDefaultVlan": (True,),
    "macspoofchk": (False,),
    "enabledad": (False,),
    "disableContainerInterface": (False,),
    "portIsolation": (False,),
}
IPAM: dict[str, tuple[object, ...]] = {"resolvConf": ("",)}
CAPABILITIES = ("ips", "mac", "ipRanges", "bandwidth", "portMappings")
ARGS = ("ips", "mac")
CNI_ARGS = ("IP", "MAC")


def _refuse(key: str, value: object, fix: str) -> None:
    raise CniError(UNSUPPORTED_FIELD, f"{key}: {str(value)[:80]} is not served by this version; {fix}")


def refuse_unserved(conf: dict[str, Any]) -> None:
    """CniError 2 for a key of the configuration itself that asks for something that isn't there."""
    for prefix, keys, place in (("", BRIDGE, conf), ("ipam.", IPAM, conf["ipam"])):
        for key, harmless in keys.items():
            if key in place and place[key] not in harmless and place[key] is not None:
                _refuse(prefix + key, place[key], "remove the key")
    kind = conf["ipam"].get("type", "")
    if kind not in ("", "host-local"):
        _refuse("ipam.type", kind, 'use "host-local", whose keys the built-in allocator reads')


def refuse_unserved_call(conf: dict[str, object], cni_args: dict[str, str]) -> None:
    """CniError 2 for what a single call asks: capabilities, arguments, a place behind another plugin."""
    if conf.get("prevResult") is not None:
        _refuse("prevResult", "(given)", "put anypod first in its list")
    for name, keys in (("runtimeConfig", CAPABILITIES), ("args", ARGS)):
        place = conf.get(name)
        if name == "args" and isinstance(place, dict):
            place = place.get("cni")
        for key in keys:
            if isinstance(place, dict) and place.get(key):
                _refuse(
                    f"{name}.{key}", place[key], f"take {key} out of the list's capabilities or arguments"
                )
    for key in CNI_ARGS:
        if cni_args.get(key):
            _refuse(f"CNI_ARGS {key}", cni_args[key], "drop it")
