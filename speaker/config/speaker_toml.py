"""speaker.toml as typed values: parsed once, with all that a schema cannot say."""

from __future__ import annotations

import tomllib
from typing import Any

from speaker.bgp import BgpGlobal
from speaker.config import announce as config_announce
from speaker.config import anycast as config_anycast
from speaker.config import peers as config_peers
from speaker.config import schema
from speaker.config.checks import Checks, ConfigError, refuse
from speaker.config.file import check_key, check_pem, read_text
from speaker.config.lists import prefix_list
from speaker.config.together import check_together
from speaker.settings import Accept, Api, Config, Kernel, PeerPolicy

__all__ = ["ConfigError", "load", "load_schema", "parse"]


def load_schema() -> dict[str, Any]:
    """What speaker.toml may say."""
    return schema.load("speaker.schema.json")


def load(path: str) -> Config:
    """Reads the file; ConfigError says what is wrong with it."""
    return build(read_toml(path), path)


def parse(text: str, name: str = "speaker.toml") -> Config:
    """Checks a document and makes it typed; `name` stands at the head of each error line."""
    return build(parse_toml(text, name), name)


def read_toml(path: str) -> dict[str, Any]:
    """The TOML document of a file."""
    try:
        text = read_text(path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return parse_toml(text, path)


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The document; ConfigError where it is no TOML."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # tomllib's own, and int's for a number of thousands of digits
        raise ConfigError(f"{name}: not TOML: {error}; correct that line") from None
    except RecursionError:
        raise ConfigError(f"{name}: not TOML: nested too deeply; flatten it") from None


def build(document: dict[str, Any], name: str, checks: Checks | None = None) -> Config:
    """The document as a Config; ConfigError with all that is wrong, each line headed by `name`."""
    found = schema.problems(load_schema(), document)
    if found:
        refuse(name, found)
    checks = checks or Checks()
    checks.files.add(name)
    config = _build(schema.with_defaults(load_schema(), document), checks)
    if not checks.problems:
        check_together(config, checks)
    if checks.problems:
        refuse(name, checks.problems)
    return config


def _build(document: dict[str, Any], checks: Checks) -> Config:
    accept, kernel, state = document["accept"], document["kernel"], document["state"]
    bgp = _global(document["bgp"], checks)
    peers = [config_peers.peer(f"peer[{i}]", item, bgp, checks) for i, item in enumerate(document["peer"])]
    groups = [
        config_peers.dynamic(f"dynamic-peer[{i}]", item, bgp, checks)
        for i, item in enumerate(document["dynamic-peer"])
    ]
    policies = {
        key: config_peers.policy(f"{table}[{i}]", item, bgp.asn, checks)
        for table, keys in (
            ("peer", [one.key for one in peers]),
            ("dynamic-peer", [one.name for one in groups]),
        )
        for i, (key, item) in enumerate(zip(keys, document[table], strict=True))
    }
    announce = config_announce.announce(document["announce"], document["announcement"], checks)
    routes = Kernel(
        install=kernel["install"],
        protocol=checks.protocol("kernel.protocol", kernel["protocol"], 177),
        metric=kernel["metric"],
        table=checks.table("kernel.table", kernel["table"]),
    )
    return Config(
        bgp=bgp,
        api=_api(document["gobgpd"], checks),
        peers=tuple(peers),
        dynamic=tuple(groups),
        policies={key: policy for key, policy in policies.items() if policy != PeerPolicy()},
        announce=announce,
        accept=Accept(
            prefixes=prefix_list(checks, "accept.prefixes", accept["prefixes"]),
            default_route=accept["default-route"],
            maximum=accept["maximum"],
        ),
        kernel=routes,
        anycast=config_anycast.anycast(document["anycast"], announce, routes, checks),
        state_dir=checks.path("state.dir", state["dir"], "/run/anypod"),
        follow_state=state["follow"],
        stale_routes=document["timers"]["stale-routes"],
        resync=document["timers"]["resync"],
        withdraw_on_stop=document["speaker"]["on-stop"] == "withdraw",
        dead_man=document["speaker"]["dead-man"],
        metrics=checks.listener("speaker.metrics", document["speaker"]["metrics"]),
        page=document["speaker"]["page"],
        files=frozenset(checks.files),
    )


def _global(item: dict[str, Any], checks: Checks) -> BgpGlobal:
    addresses = [
        checks.address(f"bgp.listen-addresses[{i}]", text) for i, text in enumerate(item["listen-addresses"])
    ]
    checks.once("bgp.listen-addresses[{}]", addresses)
    return BgpGlobal(
        asn=item["asn"],
        router_id=str(checks.router_id("bgp.router-id", item["router-id"])),
        listen_port=checks.listen_port("bgp.listen-port", item["listen-port"]),
        listen_addresses=tuple(str(address) for address in addresses),
    )


def _api(item: dict[str, Any], checks: Checks) -> Api:
    target = checks.api("gobgpd.api", item["api"])
    given = [name for name in ("ca", "certificate", "key") if item[name]]
    for name in given:
        key, value = f"gobgpd.{name}", item[name]
        if target.startswith("unix:"):
            checks.add(key, value, "is for TLS, which a unix socket does not use; remove it")
        elif "ca" not in given:
            checks.add(key, value, "has no effect without gobgpd.ca; set that too")
        elif len(given) == 2 and name != "ca":
            other = "certificate" if name == "key" else "key"
            checks.add(key, value, f"is of no use alone; set gobgpd.{other} too")
        elif checks.path(key, value, "/etc/anypod/gobgpd.pem"):
            checks.file(key, value, check_key if name == "key" else check_pem)
    return Api(target, item["ca"], item["certificate"], item["key"])
