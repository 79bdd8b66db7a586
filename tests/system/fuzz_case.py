"""The cases of the fuzzer: each is made of a seed and a number alone, so that it can be made again."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - a dataclass reads its annotations
from random import Random
from typing import Any

from tests.system import fuzz_values
from tests.system.fuzz_tree import TreeMutator, encode, mangle

VERBS = ("ADD",) * 10 + ("DEL", "DEL", "CHECK", "CHECK", "GC", "GC", "STATUS", "VERSION")
CONTAINER = "fuzzed"
IFNAME = "eth0"
IPAM: dict[str, Any] = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]],
}
ROUTES = [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.244.1.1", "mtu": 1400, "priority": 9}]
PORTS = [
    {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
    {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
]
ANNOTATIONS = {"anypod.dev/advertise": "true", "kubernetes.io/config.seen": "2026-01-01T00:00:00Z"}
ASKING = {
    "anypod.dev/anycast": "198.51.100.10, 2001:db8:a::10",
    "anypod.dev/anycast-check": "http://:8080/healthz interval=2 fall=3",
    "anypod.dev/anycast-weight": "10",
}
POOLS = [
    {"name": "edge", "addresses": ["198.51.100.0/24", "2001:db8:a::/64"]},
    {"name": "dns", "addresses": ["203.0.113.0/24"], "namespaces": ["dns", "team-*"]},
]
SERVING = {"vips": ["198.51.100.11", "2001:db8:a::11"], "check": "tcp://:53", "weight": 7}
BANDWIDTH = {"ingressRate": 1000000, "ingressBurst": 4294967295, "egressRate": 2000000, "egressBurst": 80000}
RESULT = {
    "cniVersion": "1.0.0",
    "interfaces": [
        {"name": "cni0", "mac": "02:00:00:00:00:01"},
        {"name": "anyp00000000000", "mac": "02:00:00:00:00:02"},
        {"name": "eth0", "mac": "0a:58:0a:f4:01:02", "sandbox": "/run/netns/x"},
    ],
    "ips": [{"address": "10.244.1.2/24", "gateway": "10.244.1.1", "interface": 2}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}],
    "dns": {},
}
OLD_RESULT = {"cniVersion": "0.2.0", "ip4": {"ip": "10.244.1.2/24", "gateway": "10.244.1.1", "routes": []}}
# What netconfs have beside the usual: every feature once, so that a mutation finds it.
FEATURES: list[dict[str, Any]] = [
    {},
    {"isDefaultGateway": False, "isGateway": False},
    {"ipMasq": True, "hairpinMode": True, "mtu": 1400},
    {
        "ipam": {
            "type": "host-local",
            "subnet": "10.244.1.0/24",
            "rangeStart": "10.244.1.9",
            "gateway": "10.244.1.3",
        }
    },
    {"ipam": IPAM | {"routes": ROUTES, "dataDir": "/var/lib/cni", "resolvConf": ""}},
    {"ipam": {}, "bridge": "br2"},
    {"ipam": {"type": "static", "addresses": [{"address": "10.244.1.9/24"}]}},
    {"dns": {"nameservers": ["10.0.0.10"], "domain": "x.test", "search": ["a"], "options": ["ndots:5"]}},
    {"promiscMode": True, "forceAddress": True, "portIsolation": True, "macspoofchk": True},
    {
        "vlan": 0,
        "vlanTrunk": [],
        "preserveDefaultVlan": True,
        "enabledad": False,
        "ipMasqBackend": "nftables",
    },
    {"vlan": 5, "bridge": "br3"},
    {"disableContainerInterface": True, "ipam": {}},
    {"runtimeConfig": {"portMappings": PORTS, "ips": ["10.244.1.50/24"], "mac": "0a:58:0a:f4:01:07"}},
    {"runtimeConfig": {"portMappings": PORTS, "aliases": ["web"]}, "capabilities": {"portMappings": True}},
    {
        "runtimeConfig": {
            "bandwidth": BANDWIDTH,
            "dns": {"servers": ["10.0.0.10"], "searches": [], "options": []},
        }
    },
    {"runtimeConfig": {"ipRanges": [[{"subnet": "10.99.0.0/24", "rangeStart": "10.99.0.5"}]]}},
    {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": ANNOTATIONS, "cgroupPath": "/kubepods"}},
    {
        "args": {
            "cni": {
                "ips": ["10.244.1.60"],
                "mac": "0a:58:0a:f4:01:08",
                "labels": [{"key": "a", "value": "b"}],
            }
        }
    },
    {"anycast": {"pools": POOLS}, "runtimeConfig": {"io.kubernetes.cri.pod-annotations": ASKING}},
    {"anycast": {"pools": POOLS} | SERVING, "runtimeConfig": {"anycast": SERVING}},
    {"anycast": {"pools": POOLS} | SERVING, "ipam": {}, "prevResult": RESULT},
    {"prevResult": RESULT},
    {"cniVersion": "0.2.0", "prevResult": OLD_RESULT},
    {"cniVersion": "1.1.0", "requireSpeaker": True},
]
VARIABLES = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
ARGS = (
    "", ";", "=", "K", "K=", "=V", "K=V;K=W", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0",
    "IgnoreUnknown=true;X=" + "y" * 5000, "IgnoreUnknown=0;X=1", "IgnoreUnknown=1;IP=10.244.1.70", "IP=10.244.1.71/24",
    "IP=x", "IP=10.244.1.1", "MAC=0a:58:0a:f4:01:09", "MAC=x", "MAC=;IP=", "IgnoreUnknown=1" + ";A=b" * 9000,
    "IgnoreUnknown=1;K8S_POD_NAME=../../x", "IP=fd00:1::99;MAC=02:00:00:00:00:99", "IP=10.244.1.70,fd00:1::70",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the cases play: what there is to point at, and what may be written to."""

    state: Path
    pod: str
    netns: tuple[str, ...]
    paths: list[str]
    commands: Path


@dataclass
class Case:
    """A call, and what is done before it. `what` tells how it was made."""

    number: int
    env: dict[bytes, bytes]
    stdin: bytes
    what: list[str]
    attached: bool = False
    damage: int = 0

    @property
    def verb(self) -> str:
        return self.env.get(b"CNI_COMMAND", b"").decode("utf-8", "replace")

    def conf(self) -> dict[str, Any]:
        """What a lenient reader makes of the stdin; empty where it makes nothing of it."""
        try:
            found = json.loads(self.stdin)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def make(seed: int, number: int, ground: Ground) -> Case:
    """The case of that number."""
    rng = Random(f"{seed}/{number}")  # noqa: S311 - a fuzzer wants to repeat itself
    verb = rng.choice(VERBS)
    case = Case(number, environment(ground, verb), b"", [verb])
    document = netconf(rng, ground, verb)
    if rng.random() < 0.85:
        mutator = TreeMutator(rng, ground.paths)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            case.what.append(mutator.mutate(document))
    case.stdin = encode(rng, document)
    if rng.random() < 0.15:
        case.stdin = mangle(rng, case.stdin)
        case.what.append("text mangled")
    if rng.random() < 0.25:
        _environment_mutated(rng, case, ground)
    case.attached = verb in ("DEL", "CHECK", "GC") and rng.random() < 0.4
    if rng.random() < 0.04:
        case.damage = rng.randrange(1, 2**31)
        case.what.append("state damaged")
    return case


def environment(ground: Ground, verb: str) -> dict[bytes, bytes]:
    """What a runtime gives."""
    found = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": CONTAINER,
        "CNI_NETNS": ground.pod,
        "CNI_IFNAME": IFNAME,
        "CNI_PATH": str(ground.commands),
    }
    return {key.encode(): value.encode() for key, value in found.items()}


def plain(ground: Ground) -> dict[str, Any]:
    """A netconf in which nothing is mutated."""
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "type": "anypod",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "stateDir": str(ground.state),
        "ipam": copy.deepcopy(IPAM),
    }


def netconf(rng: Random, ground: Ground, verb: str) -> dict[str, Any]:
    """One with a feature or two, to be mutated."""
    document = plain(ground)
    features = (1, 1, 2) if verb == "ADD" else (0, 1)
    for _ in range(rng.choice(features)):
        document |= copy.deepcopy(rng.choice(FEATURES))
    if rng.random() < 0.3:
        document["cniVersion"] = rng.choice(("0.1.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"))
    if verb in ("GC", "STATUS"):
        document["cniVersion"] = "1.1.0"
    if verb == "CHECK":
        # What it tells of hardware and addresses is not what the pod has.
        document["prevResult"] = copy.deepcopy(rng.choice((RESULT, {"cniVersion": "1.0.0", "ips": []})))
    if verb == "GC":
        valid = [{"containerID": rng.choice((CONTAINER, "other")), "ifname": IFNAME}]
        document["cni.dev/valid-attachments"] = valid if rng.random() < 0.7 else []
        if rng.random() < 0.5:
            document["cni.dev/attachments"] = document["cni.dev/valid-attachments"]
    return document


def _environment_mutated(rng: Random, case: Case, ground: Ground) -> None:
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(VARIABLES)
        case.what.append(f"environment {name}")
        if rng.random() < 0.15:
            case.env.pop(name.encode(), None)
            continue
        if rng.random() < 0.1:
            case.env[rng.choice((b"CNI_X", b"LD_X", b"LC_ALL", b"HOME", b"\xff\xfe"))] = fuzz_values.junk(
                rng, 30
            )
        case.env[name.encode()] = _value(rng, case, name, ground).replace(b"\x00", b"\x01")
    # A variable has neither; with the former, fork_exec would refuse its own environment.
    case.env = {key.replace(b"=", b"-"): value.replace(b"\x00", b"") for key, value in case.env.items()}


def _value(rng: Random, case: Case, name: str, ground: Ground) -> bytes:
    if name == "CNI_NETNS":
        return rng.choice(ground.netns).encode("utf-8", "surrogateescape")
    if name == "CNI_PATH":
        return rng.choice(
            (b"", b":", b"/nowhere", str(ground.commands).encode() + b":/nowhere", b"relative", b"/" * 9000)
        )
    if name == "CNI_ARGS" and rng.random() < 0.7:
        return rng.choice(ARGS).encode()
    if name == "CNI_COMMAND" and rng.random() < 0.7:
        return rng.choice(
            (
                b"ADD",
                b"DEL",
                b"CHECK",
                b"GC",
                b"STATUS",
                b"VERSION",
                b"add",
                b"ADD ",
                b"FROB",
                b"",
                b"A" * 70000,
            )
        )
    old = case.env.get(name.encode(), b"")
    at = rng.randrange(len(old) + 1)
    text = rng.choice(fuzz_values.TEXTS).encode("utf-8", "surrogatepass")
    return rng.choice(
        (
            lambda: text,
            lambda: text,
            lambda: old[:at] + text[:20] + old[at:],
            lambda: old[:at] + fuzz_values.junk(rng, 4) + old[at:],
            lambda: old[:64] * rng.choice((2, 40, 30_000)),
            lambda: fuzz_values.junk(rng, 300),
        )
    )()
