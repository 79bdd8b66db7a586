"""The files of examples/kubernetes agree with each other, and containerd does with them what they are for."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import tomllib
from contextlib import closing
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from cni.healthcheck import parse_check
from cni.network import ip_text
from speaker.config import cluster, render, speaker_toml
from tests.system.kube_rig import EXAMPLES, PODS, SERVICES

if TYPE_CHECKING:
    from tests.system.containerd_rig import Containerd

# The distribution's, whose package python3-yaml reads YAML.
PYTHON = "/usr/bin/python3"
READ = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"
MODES = ("iptables", "ipvs", "nftables")
KUBEADM = {
    "kubeadm.k8s.io/v1beta4": ["InitConfiguration", "ClusterConfiguration"],
    "kubelet.config.k8s.io/v1beta1": ["KubeletConfiguration"],
}
CONFLIST: dict[str, Any] = json.loads((EXAMPLES / "10-anypod.conflist").read_text())
(NETCONF,) = CONFLIST["plugins"]
SUBNETS = [one["subnet"] for (one,) in NETCONF["ipam"]["ranges"]]
SPEAKER = speaker_toml.parse((EXAMPLES / "speaker.toml").read_text())


def documents(*names: str) -> list[dict[str, Any]]:
    """The documents of YAML files, one behind the other."""
    text = "".join((EXAMPLES / name).read_text() for name in names)
    done = subprocess.run(
        [PYTHON, "-c", READ], input=text, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{done.stderr}\ninstall the package python3-yaml"
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def of_kind(kind: str, *names: str) -> dict[str, Any]:
    (found,) = (one for one in documents(*names) if one["kind"] == kind)
    return found


def listed(text: str) -> list[str]:
    return text.split(",")


def arguments(entries: list[dict[str, str]]) -> dict[str, str]:
    """The flags of a component, which kubeadm takes as a list of names and values."""
    assert all(entry.keys() == {"name", "value"} for entry in entries)
    return {entry["name"]: entry["value"] for entry in entries}


@pytest.mark.parametrize("mode", MODES)
def test_kubeadm_gets_each_document_once(mode: str) -> None:
    found: dict[str, list[str]] = {}
    for one in documents("kubeadm.yaml", f"kube-proxy-{mode}.yaml"):
        found.setdefault(one["apiVersion"], []).append(one["kind"])
    assert found == KUBEADM | {"kubeproxy.config.k8s.io/v1alpha1": ["KubeProxyConfiguration"]}


@pytest.mark.parametrize("mode", MODES)
def test_kube_proxy_knows_the_pods_by_their_range(mode: str) -> None:
    proxy = of_kind("KubeProxyConfiguration", f"kube-proxy-{mode}.yaml")
    assert (proxy["mode"], proxy["detectLocalMode"]) == (mode, "ClusterCIDR")
    assert listed(proxy["clusterCIDR"]) == list(PODS.values())


def test_every_file_of_kube_proxy_is_a_mode() -> None:
    assert {one.name for one in EXAMPLES.glob("kube-proxy-*")} == {
        f"kube-proxy-{mode}.yaml" for mode in MODES
    }


def test_a_nodes_subnets_are_parts_of_the_pod_subnet_as_the_controller_manager_cuts_them() -> None:
    whole = of_kind("ClusterConfiguration", "kubeadm.yaml")
    pods = [ip_network(one) for one in listed(whole["networking"]["podSubnet"])]
    flags = arguments(whole["controllerManager"]["extraArgs"])
    assert flags["allocate-node-cidrs"] == "true"
    assert [str(one) for one in pods] == list(PODS.values())
    for subnet, pod_range in zip(map(ip_network, SUBNETS), pods, strict=True):
        size = int(flags[f"node-cidr-mask-size-ipv{subnet.version}"])
        assert subnet in list(pod_range.subnets(new_prefix=size))[:256]
        # The controller manager gives out no more than 16 bits of numbers.
        assert size - pod_range.prefixlen <= 16


def test_kubelet_fits_the_node() -> None:
    kubelet = of_kind("KubeletConfiguration", "kubeadm.yaml")
    # But for the network's own address, the gateway and broadcast.
    assert kubelet["maxPods"] <= ip_network(SUBNETS[0]).num_addresses - 3
    grace = {key: int(kubelet[key].removesuffix("s")) for key in kubelet if key.startswith("shutdown")}
    assert grace["shutdownGracePeriod"] - grace["shutdownGracePeriodCriticalPods"] > SPEAKER.anycast.drain


def test_the_speaker_announces_what_the_cluster_has() -> None:
    networking = of_kind("ClusterConfiguration", "kubeadm.yaml")["networking"]
    assert [str(one) for one in SPEAKER.announce.subnets.prefixes] == SUBNETS
    (services,) = (one for one in SPEAKER.announce.others if one.name == "services")
    assert [str(one) for one in services.prefixes] == listed(networking["serviceSubnet"])
    assert listed(networking["serviceSubnet"]) == list(SERVICES.values())
    (pool,), (granted,) = SPEAKER.anycast.pools, NETCONF["anycast"]["pools"]
    told = pool.announcement
    assert (told.name, [str(one) for one in told.prefixes]) == (granted["name"], granted["addresses"])


def test_what_has_no_service_is_refused_in_the_whole_range() -> None:
    refused = re.findall(r"ip6? daddr (\S+) reject", (EXAMPLES / "service-range.nft").read_text())
    assert refused == list(SERVICES.values())


def test_the_cluster_file_renders_to_the_files_of_a_node() -> None:
    whole = cluster.build(tomllib.loads((EXAMPLES / "cluster.toml").read_text()), "cluster.toml")
    node = whole.nodes[0]
    assert json.loads(render.conflist(whole, node)) == CONFLIST
    assert speaker_toml.parse(render.speaker_toml(whole, node)) == SPEAKER
    init = of_kind("InitConfiguration", "kubeadm.yaml")
    flags = arguments(init["nodeRegistration"]["kubeletExtraArgs"])
    assert listed(flags["node-ip"]) == [str(one) for one in node.addresses]
    assert init["localAPIEndpoint"]["advertiseAddress"] == str(SPEAKER.bgp.router_id)


def test_containerd_finds_the_plugin() -> None:
    argv = ["containerd", "--config", str(EXAMPLES / "containerd.toml"), "config", "dump"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    cri = tomllib.loads(shown)["plugins"]["io.containerd.grpc.v1.cri"]
    assert (cri["cni"]["bin_dir"], cri["cni"]["conf_dir"]) == ("/opt/cni/bin", "/etc/cni/net.d")
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True


def test_the_deployments_parts_belong_together() -> None:
    deployment, service = (of_kind(kind, "deployment.yaml") for kind in ("Deployment", "Service"))
    namespace = of_kind("Namespace", "deployment.yaml")["metadata"]["name"]
    assert {one["metadata"]["namespace"] for one in (deployment, service)} == {namespace}
    template = deployment["spec"]["template"]
    assert template["metadata"]["labels"] == service["spec"]["selector"]
    assert template["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    (container,) = template["spec"]["containers"]
    (port,) = service["spec"]["ports"]
    assert container["ports"] == [{"containerPort": port["port"]}]


def test_a_pod_that_ends_fails_its_check_for_long_enough() -> None:
    template = of_kind("Deployment", "deployment.yaml")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    check = parse_check(template["metadata"]["annotations"]["anypod.dev/anycast-check"])
    probe = container["readinessProbe"]["httpGet"]
    assert str(check).startswith(f"http://:{probe['port']}{probe['path']}")
    (made,), (removed,) = (
        re.findall(
            r"/usr/share/nginx/html(\S+?)[;\s]",
            f"{' '.join(container['lifecycle'][hook]['exec']['command'])} ",
        )
        for hook in ("postStart", "preStop")
    )
    assert made == removed == probe["path"]
    (waited,) = re.findall(r"sleep (\d+)", container["lifecycle"]["preStop"]["exec"]["command"][-1])
    withdrawn = 1.1 * check.interval + (check.fall - 1) * (check.fast + check.timeout)
    assert withdrawn < int(waited) < template["spec"]["terminationGracePeriodSeconds"]


def test_containerd_makes_a_pod_of_the_deployment_an_endpoint(containerd: Containerd) -> None:
    deployment = of_kind("Deployment", "deployment.yaml")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    containerd.configure(json.loads(json.dumps(CONFLIST)))
    containerd.start()
    metadata = {"name": "front", "uid": "front", "namespace": deployment["metadata"]["namespace"]}
    sandbox = containerd.run(annotations=annotations, metadata=metadata)
    state = containerd.host.node.state / "state.db"
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT container, ip, weight, pool FROM vip ORDER BY ip").fetchall()
    asked = set(annotations["anypod.dev/anycast"].split(", "))
    weight = int(annotations["anypod.dev/anycast-weight"])
    assert {ip_text(ip) for _, ip, _, _ in rows} == asked
    assert {(one, *rest) for one, _, *rest in rows} == {(sandbox, weight, "edge")}
    containerd.remove(sandbox)
