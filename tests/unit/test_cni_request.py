"""What a call asks beside its netconf, from three sources, none of them trusted."""

from __future__ import annotations

from typing import Any

import pytest

from cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from cni.request import Request, parse_request
from cni.spec import Call

MAC = "0a:58:0a:01:00:05"


def ask(runtime: object = None, args: object = None, cni_args: dict[str, str] | None = None) -> Request:
    call = Call("ADD", "c1", "/run/netns/x", "eth0")
    call.args = cni_args or {}
    conf: dict[str, object] = {"name": "pods"}
    if runtime is not None:
        conf["runtimeConfig"] = runtime
    if args is not None:
        conf["args"] = args
    return parse_request(call, conf)


def test_nothing_asked_is_nothing_given() -> None:
    request = ask()
    assert (request.ips, request.mac, request.bandwidth, request.ports) == ([], b"", None, [])
    assert (request.dns, request.pod, request.detail()) == (None, "", {})


def test_runtime_config_goes_before_args_and_those_before_cni_args() -> None:
    runtime, args = (
        {"mac": MAC, "ips": ["10.1.0.9"]},
        {"cni": {"mac": "0a:58:00:00:00:02", "ips": ["10.1.0.8"]}},
    )
    cni_args = {"MAC": "0a:58:00:00:00:01", "IP": "10.1.0.7"}
    for request, last in (
        (ask(runtime, args, cni_args), 9),
        (ask(None, args, cni_args), 8),
        (ask(None, None, cni_args), 7),
    ):
        assert request.ips == [bytes([10, 1, 0, last])]
    assert ask(runtime, args, cni_args).mac.hex(":") == MAC
    assert ask(None, args, cni_args).mac[-1] == 2
    assert ask(None, None, cni_args).mac[-1] == 1


def test_each_family_has_its_own_source() -> None:
    request = ask({"ips": ["fd00::9/64"]}, None, {"IP": "10.1.0.7/24"})
    assert request.ips == [b"\xfd" + bytes(14) + b"\x09", b"\x0a\1\0\7"]


def test_port_mappings_are_read_and_those_without_a_host_port_are_left_out() -> None:
    request = ask(
        {
            "portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                {"hostPort": 8080, "containerPort": 80},
                {"hostPort": 53, "containerPort": 5353, "protocol": "UDP", "hostIP": "192.0.2.1"},
                {"hostPort": 0, "containerPort": 99},
                {"hostPort": 9.0, "containerPort": 9, "protocol": "sctp", "hostIP": "::"},
            ]
        }
    )
    assert request.ports == [(6, b"", 8080, 80), (17, b"\xc0\0\2\1", 53, 5353), (132, bytes(16), 9, 9)]


def test_kubelet_s_bandwidth_is_taken() -> None:
    runtime = {
        "bandwidth": {"ingressRate": 1000000, "ingressBurst": 0xFFFFFFFF, "egressRate": 0, "egressBurst": 0}
    }
    assert ask(runtime).bandwidth == (1000000, 0xFFFFFFFF, 0, 0)
    assert ask({"bandwidth": {"ingressRate": 0}}).bandwidth is None


def test_annotations_of_others_are_left_alone() -> None:
    annotations = {"anypod.dev/anycast": "192.0.2.1", "other/thing": "x" * 100000, "number": 7}
    request = ask({"io.kubernetes.cri.pod-annotations": annotations})
    assert request.annotations == {"anypod.dev/anycast": "192.0.2.1"}
    assert request.detail() == {"annotations": {"anypod.dev/anycast": "192.0.2.1"}}


def test_aliases_come_as_a_list_or_by_network() -> None:
    assert ask({"aliases": ["web", "www"]}).aliases == ["web", "www"]
    assert ask({"aliases": {"pods": ["web"]}}).aliases == ["web"]


def test_the_names_that_containerd_sends_are_those_of_go_structs() -> None:
    bandwidth = {"IngressRate": 10**6, "IngressBurst": 2**32 - 1, "EgressRate": 0, "EgressBurst": 0}
    ports = [{"HostPort": 53, "ContainerPort": 5353, "Protocol": "udp", "HostIP": "127.0.0.1"}]
    request = ask({"portMappings": ports, "bandwidth": bandwidth, "dns": {"Servers": ["10.96.0.10"]}})
    assert request.ports == [(17, b"\x7f\0\0\1", 53, 5353)]
    assert request.bandwidth == (10**6, 2**32 - 1, 0, 0)
    assert request.dns == {"nameservers": ["10.96.0.10"]}


def test_a_kubernetes_pod_is_known_by_namespace_and_name() -> None:
    assert ask(None, None, {"K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": "web-1"}).pod == "default/web-1"


def test_dns_is_given_in_the_words_of_a_result() -> None:
    runtime = {"dns": {"servers": ["10.96.0.10"], "searches": ["svc"], "options": ["ndots:5"]}}
    assert ask(runtime).dns == {"nameservers": ["10.96.0.10"], "search": ["svc"], "options": ["ndots:5"]}


@pytest.mark.parametrize(
    ("runtime", "key"),
    [
        ("text", "runtimeConfig"),
        ({"ips": "10.1.0.9"}, r"runtimeConfig\.ips"),
        ({"ips": ["10.1.0.999"]}, r"runtimeConfig\.ips"),
        ({"ips": [7]}, r"runtimeConfig\.ips"),
        ({"mac": "0a:58:0a:01:00"}, r"runtimeConfig\.mac"),
        ({"mac": "01:00:5e:00:00:01"}, r"runtimeConfig\.mac"),
        ({"mac": "00:00:00:00:00:00"}, r"runtimeConfig\.mac"),
        ({"mac": "0a:58:0a:01:00:+5"}, r"runtimeConfig\.mac"),
        ({"mac": ["a"]}, r"runtimeConfig\.mac"),
        ({"bandwidth": {"ingressRate": 5}}, r"bandwidth\.ingressBurst: is missing"),
        ({"bandwidth": {"egressBurst": 5}}, r"bandwidth\.egressRate: is missing"),
        ({"bandwidth": {"egressRate": -5, "egressBurst": 5}}, r"bandwidth\.egressRate"),
        ({"bandwidth": {"egressRate": True, "egressBurst": 5}}, r"bandwidth\.egressRate"),
        ({"bandwidth": {"egressRate": 5, "egressBurst": 1 << 40}}, r"bandwidth\.egressBurst"),
        ({"bandwidth": [1]}, "bandwidth"),
        ({"portMappings": {"hostPort": 1}}, "portMappings"),
        ({"portMappings": [{"hostPort": 1}]}, r"portMappings\[0\]\.containerPort"),
        ({"portMappings": [{"hostPort": 70000, "containerPort": 1}]}, r"portMappings\[0\]\.hostPort"),
        ({"portMappings": [{"hostPort": "80", "containerPort": 1}]}, r"portMappings\[0\]\.hostPort"),
        ({"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}]}, r"\[0\]\.protocol"),
        ({"portMappings": [{"hostPort": 1, "containerPort": 1, "protocol": 6}]}, r"\[0\]\.protocol"),
        ({"portMappings": [{"hostPort": 1, "containerPort": 1, "hostIP": "x"}]}, r"\[0\]\.hostIP"),
        ({"portMappings": [{"hostPort": 1, "containerPort": 1, "hostIP": 4}]}, r"\[0\]\.hostIP"),
        ({"portMappings": [{"hostPort": 1, "containerPort": 1}] * 1025}, "1025 entries"),
        ({"dns": {"servers": "10.1.0.1"}}, r"dns\.servers"),
        ({"dns": {"searches": [1]}}, r"dns\.searches"),
        ({"aliases": [1]}, "aliases"),
        ({"io.kubernetes.cri.pod-annotations": ["a"]}, "pod-annotations"),
        ({"io.kubernetes.cri.pod-annotations": {"anypod.dev/anycast": 7}}, "pod-annotations"),
        ({"io.kubernetes.cri.pod-annotations": {"anypod.dev/anycast": "x" * 4097}}, "pod-annotations"),
    ],
)
def test_a_wrong_capability_is_code_7_and_names_its_key(runtime: Any, key: str) -> None:
    with pytest.raises(CniError, match=key) as caught:
        ask(runtime)
    assert caught.value.code == INVALID_CONFIG
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("args", ["text", {"cni": 7}, {"cni": {"ips": "x"}}, {"cni": {"mac": "x"}}])
def test_wrong_args_are_code_7(args: object) -> None:
    with pytest.raises(CniError, match="args") as caught:
        ask(None, args)
    assert caught.value.code == INVALID_CONFIG


@pytest.mark.parametrize("cni_args", [{"IP": "x"}, {"MAC": "x"}, {"IP": "10.1.0.5\0"}])
def test_wrong_cni_args_are_code_4(cni_args: dict[str, str]) -> None:
    with pytest.raises(CniError, match="CNI_ARGS") as caught:
        ask(None, None, cni_args)
    assert caught.value.code == INVALID_ENVIRONMENT
