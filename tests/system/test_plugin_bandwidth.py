"""The capability `bandwidth`: the qdiscs of the reference plugin, and limits that hold."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from cni.tc import MOST
from tests.system.plugin_node import SECONDS
from tests.system.test_plugin_attach import TOO_SLOW
from tests.system.traffic import within

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node

REFERENCE = "/usr/lib/cni/bandwidth"
MEGABIT = 1_000_000
BURST = 100_000 * 8
KEYS = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")


def limits(*values: int) -> dict[str, Any]:
    """A runtimeConfig with rates in bit/s and bursts in bits, into the pod and out of it."""
    return {"bandwidth": {key: value for key, value in zip(KEYS, values, strict=True) if value}}


def host_ifname(result: dict[str, Any]) -> str:
    name: str = result["interfaces"][1]["name"]
    return name


def ifbs(node: Node) -> dict[str, dict[str, Any]]:
    return {one["ifname"]: one for one in node.ip("link", "show", "type", "ifb")}


def qdiscs(node: Node, device: str) -> list[dict[str, Any]]:
    """The qdiscs of a device: kind, handle, rate, burst, latency."""
    shown = json.loads(node.execute(node.name, "tc", "-j", "qdisc", "show", "dev", device))
    return sorted(({k: v for k, v in one.items() if k != "dev"} for one in shown), key=str)


def filters(node: Node, device: str, ifb: str) -> list[Any]:
    argv = ["tc", "-j", "-d", "filter", "show", "dev", device, "parent", "ffff:"]
    shown = node.execute(node.name, *argv).replace(f'"{ifb}"', '"IFB"')
    found: list[Any] = json.loads(shown)
    for one in found:
        # The reference plugin adds the action twice; what the first one took the second one never sees.
        actions = one.get("options", {}).get("actions", [])
        del actions[1:]
        for action in actions:
            del action["index"]
    return found


def refer(node: Node, verb: str, conf: dict[str, Any], pod: str) -> None:
    """Has the reference plugin do the same to a pod that anypod attached without limits."""
    env = node.environment(verb, "c2", pod) | {"CNI_PATH": "/usr/lib/cni"}
    done = subprocess.run(
        ["ip", "netns", "exec", node.name, REFERENCE],
        input=json.dumps(conf),
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not os.path.exists(REFERENCE), reason="the reference plugins are not installed")
@pytest.mark.parametrize(
    "values",
    [
        (10 * MEGABIT, BURST, 20 * MEGABIT, BURST),
        (10 * MEGABIT, BURST, 0, 0),
        (0, 0, 10 * MEGABIT, BURST),
        # As kubelet asks.
        (100 * MEGABIT, MOST, 1000 * MEGABIT, MOST),
        # More than 32 bits of bytes in a second.
        (100_000 * MEGABIT, MOST, 100_000 * MEGABIT, BURST),
        (1_000_003, 12_345_679, 64_001, 99_999),
    ],
    ids=["both", "into", "out", "kubelet", "fast", "odd"],
)
def test_the_kernel_gets_what_the_reference_plugin_gives_it(node: Node, values: tuple[int, ...]) -> None:
    ours, theirs = node.pod(), node.pod()
    first = host_ifname(node.add("c1", ours, node.conf(runtimeConfig=limits(*values), mtu=1400)))
    (own,) = ifbs(node) or ("",)
    plain = node.add("c2", theirs, node.conf(mtu=1400))
    second = host_ifname(plain)
    conf = {"cniVersion": "1.0.0", "name": "pods", "type": "bandwidth", "prevResult": plain}
    refer(node, "ADD", conf | {"runtimeConfig": limits(*values)}, theirs)
    (other,) = set(ifbs(node)) - {own} or ("",)
    assert qdiscs(node, first) == qdiscs(node, second)
    assert filters(node, first, own) == filters(node, second, other)
    if own:
        assert qdiscs(node, own) == qdiscs(node, other)
        mine, reference = ifbs(node)[own], ifbs(node)[other]
        for key in ("mtu", "flags", "operstate", "num_tx_queues"):
            assert mine[key] == reference[key]
    refer(node, "DEL", conf, theirs)


def test_a_burst_that_overflows_the_reference_plugins_numbers_is_the_longest_there_is(node: Node) -> None:
    host = host_ifname(node.add("c1", node.pod(), node.conf(runtimeConfig=limits(MEGABIT, MOST, 0, 0))))
    (bucket,) = qdiscs(node, host)
    # 274 seconds at 125,000 bytes each, of the 536,870,911 bytes that were asked for.
    assert 34_000_000 < bucket["options"]["burst"] < 35_000_000


def test_the_device_tells_whose_it_is_and_goes_with_del(node: Node) -> None:
    conf = node.conf(runtimeConfig=limits(0, 0, 10 * MEGABIT, BURST))
    pod, other = node.pod(), node.pod()
    host = host_ifname(node.add("c1", pod, conf))
    node.add("c2", other, conf)
    name = f"anyb{host.removeprefix('anyp')}"
    assert ifbs(node)[name]["ifalias"] == "anypod pods c1/eth0"
    node.delete("c1", pod, conf)
    assert len(ifbs(node)) == 1
    assert name not in ifbs(node)
    # Without the capability in its netconf, and without the pod's namespace.
    node.delete("c2", "")
    assert node.links() == {"lo", "cni0"}


def test_an_add_that_fails_leaves_no_device(node: Node) -> None:
    ipam = {"subnet": "10.244.1.0/24", "routes": [{"dst": "203.0.113.0/24", "gw": "198.51.100.1"}]}
    conf = node.conf(ipam=ipam, runtimeConfig=limits(MEGABIT, BURST, MEGABIT, BURST))
    answer = node.verb("ADD", "c1", node.pod(), conf)
    assert (answer.status, answer.json["code"]) == (1, 103)
    assert node.links() == {"lo", "cni0"}
    assert node.held() == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((MEGABIT, 0, 0, 0), "ingressBurst"),
        ((0, 0, 0, BURST), "egressRate"),
        ((7, BURST, 0, 0), "ingressRate: 7"),
        ((0, 0, MEGABIT, 7), "egressBurst: 7"),
        ((MEGABIT, (MOST + 1) * 8, 0, 0), "ingressBurst"),
    ],
)
def test_a_limit_that_can_not_be_is_refused(node: Node, values: tuple[int, ...], words: str) -> None:
    answer = node.verb("ADD", "c1", node.pod(), node.conf(runtimeConfig=limits(*values)))
    assert (answer.status, answer.json["code"]) == (1, 7)
    assert words in answer.json["msg"]
    assert "anyp" not in str(node.links())


def test_check_sees_a_limit_that_is_lost(node: Node) -> None:
    pod = node.pod()
    conf = node.conf(runtimeConfig=limits(MEGABIT, BURST, 2 * MEGABIT, BURST))
    result = node.add("c1", pod, conf)
    device, host = next(iter(ifbs(node))), host_ifname(result)
    conf |= {"prevResult": result}
    assert node.verb("CHECK", "c1", pod, conf).status == 0
    for name, words in ((device, "egress limit of 2000000"), (host, "ingress limit of 1000000")):
        node.execute(node.name, "tc", "qdisc", "del", "dev", name, "root")
        answer = node.verb("CHECK", "c1", pod, conf)
        assert answer.json["code"] == 104
        assert words in answer.json["msg"]


def test_limits_and_ports_of_a_known_network_load_nothing_slow_and_start_nothing(
    node: Node, tmp_path: Path
) -> None:
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "udp"}]
    conf = node.conf(ipMasq=True, macspoofchk=True)
    conf["runtimeConfig"] = limits(MEGABIT, BURST, MEGABIT, BURST) | {"portMappings": ports}
    node.add("c1", node.pod(), conf)
    node.delete("c1", "", conf)
    log = tmp_path / "calls"
    trace = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=fork,vfork,clone,clone3,execve"]
    interpreter = node.plugin.read_text().split("\n", 1)[0].removeprefix("#!").split()[0]
    argv = [
        "ip",
        "netns",
        "exec",
        node.name,
        *trace,
        interpreter,
        "-IS",
        "-X",
        "importtime",
        str(node.plugin),
    ]
    env = node.environment("ADD", "c2", node.pod())
    stdin = json.dumps(conf).encode()
    done = subprocess.run(argv, input=stdin, env=env, capture_output=True, timeout=SECONDS, check=True)
    loaded = {line.rpartition(b"|")[2].strip().decode() for line in done.stderr.splitlines() if b"|" in line}
    assert {"cni.bandwidth", "cni.portmap", "cni.conntrack"} <= loaded
    assert loaded & TOO_SLOW == set()
    assert [line.split()[1].partition("(")[0] for line in log.read_text().splitlines()] == ["execve"]


def seconds_to_send(sender: str, receiver: str, address: str, amount: int) -> float:
    """How long it takes until the other side has all of it."""
    listening = within(receiver, lambda: socket.create_server(("", 5001)))
    with listening, ThreadPoolExecutor(max_workers=1) as thread:

        def receive() -> int:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(SECONDS)
                found = 0
                while data := connection.recv(1 << 16):
                    found += len(data)
                return found

        received = thread.submit(receive)
        with within(sender, lambda: socket.create_connection((address, 5001), timeout=SECONDS)) as sending:
            started = time.monotonic()
            sending.sendall(bytes(amount))
        assert received.result(SECONDS) == amount
        return time.monotonic() - started


@pytest.mark.parametrize("limited", ["into the pod", "out of the pod"])
def test_a_limit_holds_in_its_direction(node: Node, limited: str) -> None:
    rate = 16 * MEGABIT
    values = (rate, BURST, 0, 0) if limited == "into the pod" else (0, 0, rate, BURST)
    pod = node.pod()
    node.add("c1", pod, node.conf(runtimeConfig=limits(*values)))
    ways = [(node.name, pod, "10.244.1.2"), (pod, node.name, "10.244.1.1")]
    slow, fast = ways if limited == "into the pod" else ways[::-1]
    amount = 4_000_000
    # What is beyond the burst takes its time: 1.95 s, and the headers' share. A busy machine may add to it.
    least = (amount * 8 - BURST) / rate
    assert least <= seconds_to_send(*slow, amount) < 5 * least
    assert seconds_to_send(*fast, amount) < least
