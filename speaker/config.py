"""speaker.toml as typed values: parsed once, with all that a schema cannot say."""

from __future__ import annotations

import ipaddress
import json
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from speaker import schema
from speaker.checks import Checks
from speaker.gobgp.session import Address, BgpGlobal, Family, Peer, Prefix

_IP = {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}


class ConfigError(Exception):
    """What a person has to change, one line for each problem: file, key, value, fix."""


@dataclass(frozen=True, slots=True)
class Announce:
    """What peers are told. `next_hops` holds only families whose next hop is not the session's address."""

    subnets: tuple[Prefix, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    next_hops: tuple[Address, ...] = ()
    transit: bool = False

    def next_hop(self, family: Family) -> Address:
        """The configured next hop, or the unspecified address: the session's own."""
        for address in self.next_hops:
            if address.version == family:
                return address
        return ipaddress.IPv4Address(0) if family == Family.IPV4 else ipaddress.IPv6Address(0)


@dataclass(frozen=True, slots=True)
class Accept:
    """Which learned prefixes are installed; no prefixes: all but the default route."""

    prefixes: tuple[Prefix, ...] = ()
    default_route: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where learned routes go."""

    install: bool = True
    protocol: int = 177
    metric: int = 1190
    table: int = 254


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file. Times are seconds."""

    bgp: BgpGlobal
    api: str
    peers: tuple[Peer, ...] = ()
    announce: Announce = Announce()
    accept: Accept = Accept()
    kernel: Kernel = Kernel()
    state_dir: str = "/run/anypod"
    follow_state: bool = True
    stale_routes: int = 90
    resync: int = 60


@cache
def load_schema() -> dict[str, Any]:
    """The JSON Schema that lies beside this module."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("config.schema.json").read_text("utf-8"))
    return loaded


def load(path: str) -> Config:
    """Reads the file; ConfigError says what is wrong with it."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a readable file with --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    return parse(text, path)


def parse(text: str, name: str = "speaker.toml") -> Config:
    """Checks a document and makes it typed; `name` stands at the head of each error line."""
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # tomllib's own, and int's for a number of thousands of digits
        raise ConfigError(f"{name}: not TOML: {error}; correct that line") from None
    except RecursionError:
        raise ConfigError(f"{name}: not TOML: nested too deeply; flatten it") from None
    found = schema.problems(load_schema(), document)
    if not found:
        checks = Checks()
        config = _build(schema.with_defaults(load_schema(), document), checks)
        if not checks.problems:
            return config
        found = checks.problems
    raise ConfigError("\n".join(f"{name}: {line}" for line in found))


def _build(document: dict[str, Any], checks: Checks) -> Config:
    bgp, kernel, state = document["bgp"], document["kernel"], document["state"]
    config = Config(
        bgp=BgpGlobal(
            asn=bgp["asn"],
            router_id=str(checks.router_id("bgp.router-id", bgp["router-id"])),
            listen_port=checks.listen_port("bgp.listen-port", bgp["listen-port"]),
            listen_addresses=tuple(
                str(checks.address(f"bgp.listen-addresses[{i}]", item))
                for i, item in enumerate(bgp["listen-addresses"])
            ),
        ),
        api=checks.api("gobgpd.api", document["gobgpd"]["api"]),
        peers=tuple(_peer(f"peer[{i}]", item, bgp["asn"], checks) for i, item in enumerate(document["peer"])),
        announce=_announce(document["announce"], checks),
        accept=Accept(
            prefixes=checks.prefixes("accept.prefixes", document["accept"]["prefixes"]),
            default_route=document["accept"]["default-route"],
        ),
        kernel=Kernel(
            install=kernel["install"],
            protocol=kernel["protocol"],
            metric=kernel["metric"],
            table=checks.table("kernel.table", kernel["table"]),
        ),
        state_dir=checks.directory("state.dir", state["dir"]),
        follow_state=state["follow"],
        stale_routes=document["timers"]["stale-routes"],
        resync=document["timers"]["resync"],
    )
    if not checks.problems:
        _check_together(config, checks)
    return config


def _peer(key: str, item: dict[str, Any], asn: int, checks: Checks) -> Peer:
    address = checks.address(f"{key}.address", item["address"])
    if item["multihop-ttl"] and item["asn"] == asn:
        checks.add(
            f"{key}.multihop-ttl", item["multihop-ttl"], "is for eBGP only; remove it, iBGP has no limit"
        )
    timers = item["timers"]
    if timers["keepalive"] > timers["hold"] // 3:
        checks.add(
            f"{key}.timers.keepalive",
            timers["keepalive"],
            f"is more than a third of hold; write at most {timers['hold'] // 3}, or raise hold",
        )
    families = [Family[name.upper()] for name in item["families"]] or [Family(address.version)]
    local = item["local-address"]
    return Peer(
        address=address,
        asn=item["asn"],
        description=item["description"],
        families=frozenset(families),
        local_address=checks.address(f"{key}.local-address", local, address.version) if local else None,
        passive=item["passive"],
        multihop_ttl=item["multihop-ttl"],
        connect_retry=timers["connect-retry"],
        hold=timers["hold"],
        keepalive=timers["keepalive"],
    )


def _announce(item: dict[str, Any], checks: Checks) -> Announce:
    hops = [
        checks.address(f"announce.next-hop-ipv{version}", item[f"next-hop-ipv{version}"], version)
        for version in (4, 6)
        if item[f"next-hop-ipv{version}"]
    ]
    subnets = checks.prefixes("announce.subnets", item["subnets"])
    for i, subnet in enumerate(subnets):
        if subnet.prefixlen == 0:
            fix = "would make the whole world unreachable from here; write this node's pod subnet"
            checks.add(f"announce.subnets[{i}]", str(subnet), fix)
    return Announce(
        subnets=subnets,
        prefixes=checks.prefixes("announce.prefixes", item["prefixes"]),
        next_hops=tuple(hops),
        transit=item["transit"],
    )


def _check_together(config: Config, checks: Checks) -> None:
    """What only two keys together can get wrong."""
    seen: set[Address] = set()
    for i, peer in enumerate(config.peers):
        if peer.address in seen:
            checks.add(f"peer[{i}].address", str(peer.address), "is there twice; keep one [[peer]] of them")
        seen.add(peer.address)
        if peer.passive and config.bgp.listen_port == -1:
            fix = "waits for a connection, but bgp.listen-port is -1; remove one of the two"
            checks.add(f"peer[{i}].passive", True, fix)
        for family in sorted(peer.families - {Family(peer.address.version)}):
            _check_foreign_family(f"peer[{i}].families", family, config.announce, checks)
    for i, prefix in enumerate(config.announce.prefixes):
        if prefix in config.announce.subnets:
            checks.add(f"announce.prefixes[{i}]", str(prefix), "is in announce.subnets too; keep one of them")


def _check_foreign_family(key: str, family: Family, announce: Announce, checks: Checks) -> None:
    """The session's own address is no next hop for the other family: gobgpd would send a broken one."""
    name = f"ipv{int(family)}"
    if announce.transit:
        fix = f"cannot be passed on over this session; add a [[peer]] with its {_IP[family]} address for it"
        checks.add(key, name, fix)
    elif announce.next_hop(family).is_unspecified:
        fix = f"has no next hop on this session; set announce.next-hop-{name} or remove the family"
        checks.add(key, name, fix)
