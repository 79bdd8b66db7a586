"""cluster.toml: what each node makes of it, which node this is, and the words for what is wrong."""

from __future__ import annotations

import errno
import json
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.config import cluster, render
from speaker.config import speaker_toml as config
from speaker.config.checks import ChecksWithoutFiles, ConfigError
from tests.unit.cluster_rig import MESH, RACK, REFLECTORS, built

if TYPE_CHECKING:
    from speaker.bgp import Peer
    from speaker.settings import Config

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples/cluster").glob("*.toml"))


def of(text: str, name: str) -> Config:
    whole = built(text)
    return render.config_for(whole, cluster.find(whole, name))


def peers(found: Config) -> dict[str, Peer]:
    return {peer.key: peer for peer in found.peers}


def test_in_a_full_mesh_each_node_has_a_session_for_each_family_with_each_other() -> None:
    a = of(MESH, "a")
    assert (a.bgp.asn, a.bgp.router_id) == (64512, "10.0.0.1")
    assert set(peers(a)) == {"10.0.0.2", "fd00::2", "10.0.0.3"}
    assert set(peers(of(MESH, "c"))) == {"10.0.0.1", "10.0.0.2"}
    assert peers(a)["10.0.0.3"].options.asn == 65003
    assert peers(a)["fd00::2"].options.local_address == ip_address("fd00::1")
    assert peers(a)["10.0.0.2"].description == "b"
    assert [str(prefix) for prefix in a.announce.subnets.prefixes] == ["10.244.1.0/24", "fd00:244:1::/64"]


def test_in_racks_nodes_have_the_routers_of_their_rack_and_no_other_peer() -> None:
    a = of(RACK + '[[node]]\nname = "b"\naddresses = ["10.0.0.2"]\nasn = 65002\nrack = "r1"\n', "a")
    assert set(peers(a)) == {"10.0.0.254", "eth1"}


def test_nodes_peer_with_reflectors_and_reflectors_with_all() -> None:
    n1, r1 = of(REFLECTORS, "n1"), of(REFLECTORS, "r1")
    assert set(peers(n1)) == {"10.0.0.1", "10.0.0.2"}
    assert not any(peer.options.reflector_client or peer.options.passive for peer in n1.peers)
    assert set(peers(r1)) == {"10.0.0.2", "10.0.0.3", "10.0.0.4"}
    clients = {peer.key for peer in r1.peers if peer.options.reflector_client}
    assert clients == {"10.0.0.3", "10.0.0.4"}
    assert {peers(r1)[key].options.cluster_id for key in clients} == {"10.0.0.250"}
    assert all(peers(r1)[key].options.passive for key in clients)


def test_what_stands_for_all_nodes_is_in_each_s_configuration() -> None:
    text = MESH + (
        '[bgp]\nlisten-port = 1179\n[accept]\nmaximum = 7\n[[peer]]\naddress = "10.0.0.254"\nasn = 65000\n'
        '[announce]\ncommunities = ["64512:1"]\n'
        '[anycast]\ndrain = 9\n[[anycast.pool]]\nname = "edge"\nprefixes = ["198.51.100.0/24"]\n'
        "[cluster.session]\nmultihop-ttl = 3\nprefix-limit = {ipv4 = 10, ipv6 = 20}\ntimers.hold = 9\n"
        "timers.keepalive = 3\nexport = {prepend = 2, local-preference = 50, med = 5}\n"
    )
    a = of(text, "a")
    found = peers(a)
    assert (a.bgp.listen_port, a.accept.maximum) == (1179, 7)
    assert a.announce.subnets.attributes.communities == {64512 << 16 | 1}
    assert (a.anycast.drain, [pool.announcement.name for pool in a.anycast.pools]) == (9, ["edge"])
    assert config.parse(render.speaker_toml(built(text), built(text).nodes[0])).anycast == a.anycast
    assert (found["10.0.0.254"].port, found["10.0.0.254"].options.hold) == (179, 90)
    assert (found["10.0.0.2"].port, found["10.0.0.2"].options.hold) == (1179, 9)
    # Multihop is for eBGP alone, and a session has only limits for what it exchanges.
    assert [found[key].options.multihop_ttl for key in ("10.0.0.2", "10.0.0.3")] == [0, 3]
    told = [a.policies[key] for key in ("10.0.0.2", "10.0.0.3")]
    assert [one.export_local_pref for one in told] == [50, None]  # nor is a longer path for iBGP, and so on
    assert [one.export_prepend for one in told] == [0, 2]
    assert [one.export_med for one in told] == [5, 5]
    assert [limit.maximum for limit in found["fd00::2"].options.prefix_limits] == [20]


NODES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([(4,), (6,), (4, 6)])), min_size=2, max_size=6
).filter(lambda nodes: any(reflector for reflector, _ in nodes))


@given(NODES, st.sampled_from(["full-mesh", "reflectors"]), st.randoms())
def test_the_two_ends_of_each_session_fit_together(nodes: list[Any], design: str, random: Any) -> None:
    names = [f"n{i}" for i in range(len(nodes))]
    random.shuffle(names)
    document = {
        "cluster": {"design": design, "asn": 64512},
        "node": [
            {
                "name": name,
                "router-id": f"10.0.0.{i}",
                "addresses": [{4: f"10.0.0.{i}", 6: f"fd00::{i}"}[version] for version in versions],
                **({"reflector": True} if design == "reflectors" and reflector else {}),
            }
            for i, (name, (reflector, versions)) in enumerate(zip(names, nodes, strict=True), 1)
        ],
    }
    whole = cluster.build(document, "f")
    configs = {node.name: render.config_for(whole, node) for node in whole.nodes}
    ends = {
        (str(peer.options.local_address), str(peer.address)): (peer, of)
        for of in configs.values()
        for peer in of.peers
    }
    for (own, other), (peer, _) in ends.items():
        facing, there = ends[other, own]
        assert facing.options.passive != peer.options.passive
        assert facing.options.families == peer.options.families
        assert not (facing.options.reflector_client and peer.options.reflector_client)
        assert peer.options.asn == there.bgp.asn


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_render_for_each_node_to_what_the_speaker_would_take(path: Path) -> None:
    text = "\n".join(line for line in path.read_text().splitlines() if "password-file" not in line)
    whole = cluster.build(tomllib.loads(text), str(path))
    for node in whole.nodes:
        assert config.parse(render.speaker_toml(whole, node)) == render.config_for(whole, node)
        if node.subnets:
            assert '"type": "anypod"' in render.conflist(whole, node)


def test_rendering_does_not_need_the_files_of_the_node() -> None:
    text = MESH + '[cluster.session]\npassword-file = "/none/secret"\n'
    whole = cluster.build(tomllib.loads(text), "f", ChecksWithoutFiles())
    assert 'password-file = "/none/secret"' in render.speaker_toml(whole, whole.nodes[0])
    with pytest.raises(ConfigError, match=r"^f: cluster\.session\.password-file: .* can't be read "):
        cluster.build(tomllib.loads(text), "f")


def test_the_configuration_names_the_files_that_it_was_read_from(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    text = MESH + f'[cluster.session]\npassword-file = "{secret}"\n'
    assert of(text, "a").files == {"cluster.toml", str(secret)}


def test_a_node_is_found_by_name_host_name_or_address() -> None:
    whole = built(MESH)

    def found(name: str = "", host: str = "other", own: str = "") -> str:
        return cluster.find(whole, name, lambda: host, lambda address: str(address) == own).name

    assert found("B") == "b"
    assert found(host="b", own="10.0.0.1") == "b"
    assert found(host="B.example.com") == "b"
    assert found(own="fd00::2") == "b"
    with pytest.raises(ConfigError) as raised:
        found("d")
    assert str(raised.value) == 'cluster.toml: node: "d" is not there; known here: a, b, c'
    with pytest.raises(ConfigError) as raised:
        found()
    assert str(raised.value) == (
        'cluster.toml: node: none is called "other", and none has an address of this machine;'
        " say which one it is with --node NAME"
    )
    with pytest.raises(ConfigError, match=r'none is called "other", and 3 have addresses of this machine; '):
        cluster.find(whole, "", lambda: "other", lambda _: True)


def test_own_addresses() -> None:
    assert cluster.is_own_address(ip_address("127.0.0.1"))
    assert not cluster.is_own_address(ip_address("192.0.2.1"))
    assert not cluster.is_own_address(ip_address("2001:db8::1"))


def test_a_machine_without_ipv6_has_no_such_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("socket.socket", refuse)
    assert not cluster.is_own_address(ip_address("2001:db8::1"))


def test_the_conflist_has_a_list_of_ranges_for_each_family() -> None:
    text = MESH.replace('"10.244.1.0/24", ', '"10.244.1.0/24", "10.244.9.0/24", ')
    text += "[pods]\nname = 'web'\nnetconf = {mtu = 9000, ipam = {routes = [{dst = '10.0.0.0/8'}]}}\n"
    whole = built(text + "[state]\ndir = '/run/web'\n")
    assert json.loads(render.conflist(whole, whole.nodes[0])) == {
        "cniVersion": "1.0.0",
        "name": "web",
        "plugins": [
            {
                "type": "anypod",
                "bridge": "cni0",
                "isDefaultGateway": True,
                "mtu": 9000,
                "stateDir": "/run/web",
                "ipam": {
                    "ranges": [
                        [{"subnet": "10.244.1.0/24"}, {"subnet": "10.244.9.0/24"}],
                        [{"subnet": "fd00:244:1::/64"}],
                    ],
                    "routes": [{"dst": "10.0.0.0/8"}],
                },
            }
        ],
    }


def test_pods_may_ask_for_virtual_ips_of_the_speakers_pools_or_of_those_that_the_netconf_names() -> None:
    def plugin(netconf: str) -> dict[str, Any]:
        pool = '[[anycast.pool]]\nname = "edge"\nprefixes = ["198.51.100.0/24"]\n'
        whole = built(MESH + pool + netconf)
        return dict(json.loads(render.conflist(whole, whole.nodes[0]))["plugins"][0])

    annotations = {"io.kubernetes.cri.pod-annotations": True}
    assert not {"anycast", "capabilities"} & plugin("").keys()
    empty = plugin("[pods.netconf.anycast]\n")
    assert empty["anycast"] == {"pools": [{"name": "edge", "addresses": ["198.51.100.0/24"]}]}
    assert empty["capabilities"] == annotations
    assert plugin('[pods.netconf.anycast]\nvips = ["198.51.100.9"]\n')["anycast"]["vips"] == ["198.51.100.9"]
    pools = [{"name": "edge", "addresses": ["198.51.100.0/28"], "namespaces": ["dns"]}]
    own = plugin(
        "[pods.netconf]\ncapabilities = {anycast = true}\n"
        '[[pods.netconf.anycast.pools]]\nname = "edge"\naddresses = ["198.51.100.0/28"]\nnamespaces = ["dns"]\n'
    )
    assert (own["anycast"], own["capabilities"]) == ({"pools": pools}, {"anycast": True})
    with pytest.raises(ConfigError, match=r"pods\.netconf\.anycast: "):
        plugin("[pods.netconf]\nanycast = 7\n")


def test_a_conflist_that_the_plugin_would_refuse_is_not_rendered() -> None:
    whole = built(MESH + "[pods.netconf]\nmtu = 100\n")
    with pytest.raises(
        ConfigError, match=r"^cluster\.toml \(for a\): pods\.netconf\.mtu: 100 is below 1280, "
    ):
        render.conflist(whole, whole.nodes[0])
    with pytest.raises(ConfigError, match=r"^cluster\.toml: node: c has no subnets, so no pods; "):
        render.conflist(whole, whole.nodes[2])


def test_what_only_one_node_s_configuration_shows_names_the_node() -> None:
    with pytest.raises(ConfigError) as raised:
        of(MESH + '[[peer]]\naddress = "10.0.0.2"\nasn = 65000\n', "a")
    assert str(raised.value) == (
        'cluster.toml (for a): peer[1].address: "10.0.0.2" is there twice; keep one of them'
    )
