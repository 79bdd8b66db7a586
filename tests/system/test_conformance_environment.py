"""CNI specification, the environment: rules E1 to E9. Each test runs the installed executable as a process."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.conformance_rig import V4, FakeIpam, add_with, ask, encoded, refused, silent, untouched

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.plugin_node import Node

WITH_CONTAINER = ("ADD", "DEL", "CHECK")
ALL = ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME")


@pytest.mark.parametrize(
    ("verb", "without", "missing"),
    [
        ("ADD", ALL, "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME"),
        ("ADD", ALL[:2], "CNI_CONTAINERID,CNI_NETNS"),
        ("ADD", ALL[2:], "CNI_IFNAME"),
        ("CHECK", ALL, "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME"),
        ("CHECK", ALL[1:], "CNI_NETNS,CNI_IFNAME"),
        ("DEL", ALL, "CNI_CONTAINERID,CNI_IFNAME"),
        ("DEL", ALL[:1], "CNI_CONTAINERID"),
    ],
)
@pytest.mark.parametrize("empty", [False, True], ids=["absent", "empty"])
def test_E1_all_missing_variables_are_reported_in_one_error(
    node: Node, verb: str, without: tuple[str, ...], missing: str, empty: bool
) -> None:
    env = node.environment(verb, "c1", node.pod())
    env = {key: "" if key in without else value for key, value in env.items() if empty or key not in without}
    answer = node.call(env, encoded(node.conf(cniVersion="1.1.0")))
    refused(answer, 4, f"required env variables [{missing}] missing")


def test_E1_gc_status_and_version_need_no_variable_of_a_container(node: Node) -> None:
    node.add("c1", node.pod())
    conf = node.conf(cniVersion="1.1.0")
    silent(ask(node, "STATUS", conf))
    silent(ask(node, "GC", conf | {"cni.dev/valid-attachments": []}))
    assert ask(node, "VERSION", conf).status == 0


def test_E1_cni_path_is_needed_where_another_plugin_is_executed_and_not_elsewhere(
    node: Node, tmp_path: Path
) -> None:
    """The reference's skeleton wants CNI_PATH of every call; the specification, for finding other plugins."""
    ipam, pod = FakeIpam(tmp_path / "cni"), node.pod()
    delegating = node.conf(ipam={"type": "fake-ipam"})
    refused(node.verb("ADD", "c1", pod, delegating), 4, "required env variables [CNI_PATH] missing")
    untouched(node, pod)
    assert add_with(node, pod, delegating, **ipam.variables).status == 0
    node.add("c2", node.pod(), node.conf(name="other"))


@pytest.mark.parametrize("verb", ["FROB", "add", "ADD ", "ADD\n", "UPDATE", "\u00c4DD", "A" * 5000])
def test_E2_an_unknown_verb_is_code_4(node: Node, verb: str) -> None:
    shown = refused(node.verb(verb, "c1", node.pod()), 4)
    assert verb[:80] in shown["msg"] or "bytes long" in shown["msg"]
    assert len(shown["msg"]) < 500


@pytest.mark.parametrize("env", [{}, {"CNI_COMMAND": ""}, {"CNI_CONTAINERID": "c1"}])
def test_E3_a_person_who_runs_it_is_told_what_it_is_on_stderr(node: Node, env: dict[str, str]) -> None:
    done = subprocess.run([str(node.plugin)], env=env, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == ""
    assert "anypod" in done.stderr
    assert "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0" in done.stderr


@pytest.mark.parametrize(
    "container",
    [
        "-c1",
        ".c1",
        "_c1",
        "c/1",
        "../c1",
        "c 1",
        "c1\n",
        "c1;",
        "\u00fc",
        "c:1",
        "c\u0661",
        "a" * 256,
        "a" * 9000,
    ],
)
def test_E4_a_container_id_with_other_characters_is_refused(node: Node, container: str) -> None:
    pod = node.pod()
    for verb in WITH_CONTAINER:
        refused(node.verb(verb, container, pod), 4, "CONTAINERID")
    untouched(node, pod)


@pytest.mark.parametrize("container", ["a", "0", "A9.b_c-d", "cnitool-77383ca0a0715733ca6f", "x" * 255])
def test_E4_a_container_id_that_the_specification_allows_is_taken(node: Node, container: str) -> None:
    pod = node.pod()
    node.add(container, pod)
    assert set(node.held()) == {container}
    node.delete(container, pod)


@pytest.mark.parametrize(
    "ifname", [".", "..", "a/b", "a:b", "a b", "a\tb", "a\n", "sixteen-letters1", "eth0\u00e4", "x" * 5000]
)
def test_E5_an_interface_name_that_the_kernel_would_not_take_is_refused(node: Node, ifname: str) -> None:
    pod = node.pod()
    for verb in WITH_CONTAINER:
        refused(node.verb(verb, "c1", pod, ifname=ifname), 4, "CNI_IFNAME")
    untouched(node, pod)


@pytest.mark.parametrize("ifname", ["e", "fifteen-letters", "net1.5", "a_b-c"])
def test_E5_other_names_are_taken(node: Node, ifname: str) -> None:
    pod = node.pod()
    node.add("c1", pod, ifname=ifname)
    assert node.links(pod) == {"lo", ifname}
    node.delete("c1", pod, ifname=ifname)


@pytest.mark.parametrize("verb", ["ADD", "CHECK", "DEL"])
@pytest.mark.parametrize("way", ["by name", "by process"])
def test_E6_the_plugins_own_namespace_is_refused(node: Node, verb: str, way: str) -> None:
    path = f"/run/netns/{node.name}" if way == "by name" else "/proc/self/ns/net"
    result = node.add("kept", node.pod())
    before = node.traces()
    env = node.environment(verb, "c1", "x") | {"CNI_NETNS": path}
    refused(
        node.call(env, encoded(node.conf(prevResult=result) if verb == "CHECK" else node.conf())), 8, "own"
    )
    assert node.traces() == before


@pytest.mark.parametrize("override", ["1", "true", "TRUE"])
def test_E6_unless_cni_netns_override_allows_it(node: Node, override: str) -> None:
    env = {"CNI_NETNS": f"/run/netns/{node.name}", "CNI_NETNS_OVERRIDE": override}
    answer = add_with(node, "x", node.conf(ipam=V4), **env)
    assert answer.status == 0, answer
    assert "eth0" in node.links()
    silent(node.call(node.environment("DEL", "c1", "x") | env, encoded(node.conf(ipam=V4))))
    assert node.links() == {"lo", "cni0"}


@pytest.mark.parametrize("override", ["", "0", "false", "yes"])
def test_E6_another_value_of_cni_netns_override_allows_nothing(node: Node, override: str) -> None:
    env = {"CNI_NETNS": f"/run/netns/{node.name}", "CNI_NETNS_OVERRIDE": override}
    refused(add_with(node, "x", node.conf(), **env), 8)


def test_E6_del_tolerates_a_namespace_that_cannot_be_read(node: Node, tmp_path: Path) -> None:
    for path in ("/run/netns/none", str(tmp_path / "none" / "deeper"), "/proc/999999999/ns/net", "x" * 4000):
        env = node.environment("DEL", "c1", "x") | {"CNI_NETNS": path}
        silent(node.call(env, encoded(node.conf())))


@pytest.mark.parametrize(
    "args",
    [
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u",
        "IgnoreUnknown=true;FOO=bar",
        "FOO=bar;IgnoreUnknown=1",
        "IgnoreUnknown=1",
        "IgnoreUnknown=0",
        "IgnoreUnknown=1;FOO=",
        "",
    ],
)
def test_E7_arguments_that_may_be_unknown_are_taken(node: Node, args: str) -> None:
    assert add_with(node, node.pod(), node.conf(), CNI_ARGS=args).status == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("FOO=bar", "FOO"),
        ("IgnoreUnknown=0;FOO=bar", "FOO"),
        ("IgnoreUnknown=false;A=1;B=2", "A,B"),
        ("FOO", "'FOO'"),
        ("IgnoreUnknown=1;FOO", "'FOO'"),
        ("IgnoreUnknown=1;=bar", "'=bar'"),
        ("IgnoreUnknown=1;;FOO=bar", "''"),
        ("IgnoreUnknown=1;" + "A=1;" * 2000, "CNI_ARGS"),
    ],
)
def test_E7_unknown_and_malformed_arguments_are_code_4(node: Node, args: str, says: str) -> None:
    pod = node.pod()
    for verb in WITH_CONTAINER:
        env = node.environment(verb, "c1", pod) | {"CNI_ARGS": args}
        refused(node.call(env, encoded(node.conf(prevResult={}))), 4, says)
    untouched(node, pod)


@pytest.mark.parametrize(
    ("asked", "cni_args", "given"),
    [
        ({"mac": "0a:00:00:00:00:01"}, "MAC=0a:00:00:00:00:02", "0a:00:00:00:00:01"),
        ({}, "MAC=0a:00:00:00:00:02", "0a:00:00:00:00:02"),
        ({"ips": ["10.244.1.9"]}, "IP=10.244.1.8", "10.244.1.9/24"),
        ({}, "IP=10.244.1.8", "10.244.1.8/24"),
    ],
)
def test_E8_args_of_the_netconf_go_before_cni_args(
    node: Node, asked: dict[str, Any], cni_args: str, given: str
) -> None:
    conf = node.conf(ipam=V4, args={"cni": asked})
    result = add_with(node, node.pod(), conf, CNI_ARGS=f"IgnoreUnknown=1;{cni_args}").json
    assert given in (result["interfaces"][2]["mac"], result["ips"][0]["address"])


def test_E9_variables_that_nobody_knows_are_ignored(node: Node) -> None:
    trace = {
        "TRACEPARENT": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "TRACESTATE": "congo=t61rcWkgMzE",
        "BAGGAGE": "userId=alice",
        "CNI_FUTURE": "x",
        "PYTHONPATH": "/nonexistent",
        "PYTHONSTARTUP": "/nonexistent",
        "LANG": "tlh_KX.UTF-99",
        "HUGE": "x" * 100_000,
    }
    pod = node.pod()
    assert add_with(node, pod, node.conf(), **trace).status == 0
    silent(node.call(node.environment("DEL", "c1", pod) | trace, encoded(node.conf())))


def test_E9_a_variable_that_is_no_utf_8_is_ignored_where_nobody_asks_for_it(node: Node) -> None:
    env = {os.fsencode(k): os.fsencode(v) for k, v in node.environment("ADD", "c1", node.pod()).items()}
    done = subprocess.run(
        node.argv(),
        input=encoded(node.conf()),
        env=env | {b"ODD": b"\xff\xfe"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done
