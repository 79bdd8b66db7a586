"""What `status`, `peers`, `routes`, `vips` and `allocations` make of what they see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cni.allocation import Allocation, Vip
from speaker.cli import main
from speaker.commands.allocations import fits, usage
from speaker.commands.direct import Gobgpd
from speaker.commands.peers import rows_of
from speaker.commands.record import State, Usage
from speaker.commands.routes import paths
from speaker.commands.status import Facts, overview
from speaker.commands.vips import each_endpoint, is_well, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

PEER = {
    "peer": "192.0.2.1", "address": "192.0.2.1", "asn": 65000, "description": "rack", "state": "established",
    "uptime": 90, "flaps": 0, "reason": "", "received": 3, "accepted": 3, "advertised": 2,
}  # fmt: skip
WAITING = {"loaded": 0, "refused": "", "waiting": {"bgp": "systemctl restart anypod-gobgpd anypod-speaker"}}
DOCUMENT: dict[str, Any] = {
    "asn": 65001,
    "router_id": "192.0.2.2",
    "gobgpd": {"api": "unix:///x", "connected": True, "in_step": True, "trouble": "", "lost": 0},
    "configuration": {"loaded": 0.0, "refused": ""},
    "peers": [PEER],
    "missing_peers": {},
    "announced": 2,
    "learned": 3,
    "routes": {"installed": 3, "refused": 0, "unreachable": 0, "beyond_maximum": 0, "stale": 0},
    "virtual_ips": 0,
    "vips": [],
    "drains": [],
}
STATE = State([], {}, [], [Usage("pods", "10.0.0.1-10.0.0.2", 2, 2)])


def allocation() -> Allocation:
    made = Allocation(
        "pods", "c1234567890abcdef", "eth0", "/run/netns/x", "anyp1", ("10.1.0.5/24", "fd00::5/64")
    )
    made.pod = "shop/web"
    made.vips = (Vip("198.51.100.1", "10.1.0.5", 7, 1, "", "edge"),)
    return made


def parts(
    document: dict[str, Any] | str, gobgpd: Gobgpd | None = None, state: State | str = ""
) -> dict[str, Any]:
    return {
        one.part: (one.state, one.detail) for one in overview(Facts(document, gobgpd, state or STATE, (3, 0)))
    }


def test_a_node_at_its_best() -> None:
    found = parts(DOCUMENT, state=State([], {}, [], []))
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["peers"][1] == "1 of 1 established"
    assert found["learned"][1] == "3 prefixes, 3 installed"


@pytest.mark.parametrize(
    ("change", "part", "state", "word"),
    [
        ({"peers": [PEER | {"state": "active"}]}, "peers", "error", "down: 192.0.2.1"),
        ({"missing_peers": {"eth9": "no such link"}}, "peers", "error", "down: eth9"),
        ({"peers": []}, "peers", "warning", "none is configured"),
        ({"configuration": {"loaded": 0, "refused": "bgp.asn: no"}}, "speaker", "error", "bgp.asn: no"),
        ({"late": True}, "gobgpd", "warning", "does not answer within 2 s"),
        ({"configuration": WAITING}, "speaker", "warning", "bgp is changed by a restart only"),
        ({"gobgpd": DOCUMENT["gobgpd"] | {"in_step": False, "trouble": "port taken"}}, "gobgpd", "error", "port taken"),
        ({"routes": DOCUMENT["routes"] | {"refused": 2}}, "learned", "warning", "2 refused by the kernel"),
        (
            {"vips": [{"vip": "198.51.100.1", "state": "withdrawn", "reason": "none is healthy"}]},
            "virtual IPs",
            "error",
            "not served: 198.51.100.1",
        ),
        (
            {"drains": [{"scope": "node", "name": "", "phase": "leaving", "done": False}]},
            "drains",
            "warning",
            "this node leaving",
        ),
    ],
)  # fmt: skip
def test_what_is_not_well_is_said(change: dict[str, Any], part: str, state: str, word: str) -> None:
    found = parts(DOCUMENT | change)[part]
    assert found[0] == state
    assert word in found[1]


def test_without_a_speaker_the_rest_is_told() -> None:
    found = parts("no socket", Gobgpd("unix:///x", trouble="nobody listens"))
    assert found["speaker"] == ("error", "does not answer: no socket")
    assert found["gobgpd"] == ("error", "unix:///x: nobody listens")
    assert found["kernel"] == ("ok", "3 learned routes, 0 of virtual IPs")
    assert found["pods"] == ("warning", "0 attachments; full: pods 10.0.0.1-10.0.0.2")


def test_peers_that_gobgpd_lacks_stand_behind_the_others() -> None:
    rows = rows_of(DOCUMENT | {"missing_peers": {"eth9": ""}})
    assert [(row["peer"], row["state"], row["trouble"]) for row in rows] == [
        ("192.0.2.1", "established", ""),
        ("eth9", "missing", "gobgpd does not have it"),
    ]


def test_a_learned_prefix_has_a_line_for_each_path() -> None:
    rows = paths([{"prefix": "10.0.0.0/8", "state": "installed", "paths": [{"peer": "a"}, {"peer": "b"}]}])
    assert [(row["prefix"], row["peer"]) for row in rows] == [("10.0.0.0/8", "a"), ("10.0.0.0/8", "b")]


@pytest.mark.parametrize(
    "which", ["shop/web", "web", "c1234567890abcdef", "c12", "10.1.0.5", "fd00:0::5", "198.51.100.1"]
)
def test_an_attachment_is_found_by_what_people_know_of_it(which: str) -> None:
    assert fits(allocation(), which)


@pytest.mark.parametrize("which", ["shop", "we", "x12", "10.1.0.6", "fd00::", "2"])
def test_and_by_nothing_else(which: str) -> None:
    assert not fits(allocation(), which)


def test_virtual_ips_without_a_speaker() -> None:
    (row,) = recorded([allocation()])
    assert (row["vip"], row["state"], row["endpoints"][0]["pod"]) == ("198.51.100.1", "unknown", "shop/web")
    (endpoint,) = each_endpoint([row])
    assert (endpoint["vip"], endpoint["health"]) == ("198.51.100.1", "unknown")
    assert not is_well(row)
    assert is_well(row | {"state": "withdrawn", "reason": "drained"})


def test_ranges() -> None:
    (row,) = usage(STATE)
    assert (row["used"], row["free"], row["size"]) == (2, 0, 2)


def run(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--state-dir", str(directory)])


def test_an_empty_node_is_no_error_of_allocations(tmp_path: Path) -> None:
    result = run(tmp_path, "allocations")
    assert (result.exit_code, result.output) == (0, "none\n")
    assert json.loads(run(tmp_path, "allocations", "-o", "json").output) == []
    assert run(tmp_path, "allocations", "web").exit_code == 1


def test_without_a_speaker_each_says_so_in_a_line_and_ends_with_1(tmp_path: Path) -> None:
    config = tmp_path / "speaker.toml"
    config.write_text(f'[bgp]\nasn = 1\nrouter-id = "10.0.0.1"\n[gobgpd]\napi = "unix://{tmp_path}/none"\n')
    for words in (["status"], ["peers"], ["routes", "learned"]):
        result = run(tmp_path, *words, "--config", str(config))
        assert result.exit_code == 1
        assert "does not answer" in result.output
        assert "Traceback" not in result.output


def test_an_error_that_nobody_foresaw_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr("speaker.commands.record.read", fail)
    plain = run(tmp_path, "allocations")
    assert (plain.exit_code, plain.output) == (
        1,
        "anypod: RuntimeError: one; run it again with --debug, and report that\n",
    )
    for words in (["allocations", "--debug"], ["--debug", "allocations"]):
        told = run(tmp_path, *words)
        assert told.exit_code == 1
        assert "Traceback" in told.output
