"""The alerts as Prometheus itself takes them: valid, quiet on a node that is well, and heard when it is not."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "examples/prometheus/anypod-alerts.yml"
NODE = 'job="anypod",instance="n1"'
PEER = f'{NODE},peer="10.0.0.1",asn="65000"'
VIP = f'{NODE},vip="198.51.100.10",pool="web"'
WELL = {
    f"up{{{NODE}}}": "1",
    f"anypod_gobgpd_up{{{NODE}}}": "1",
    f"anypod_gobgpd_losses_total{{{NODE}}}": "0",
    f"anypod_config_ok{{{NODE}}}": "1",
    f"anypod_in_step{{{NODE}}}": "1",
    f"anypod_peer_up{{{PEER}}}": "1",
    f"anypod_peer_flaps_total{{{PEER}}}": "0",
    f"anypod_peers_refused{{{NODE}}}": "0",
    f"anypod_peers_password_differs{{{NODE}}}": "0",
    f"anypod_routes_in_step{{{NODE}}}": "1",
    f"anypod_routes_refused{{{NODE}}}": "0",
    f"anypod_routes_beyond_maximum{{{NODE}}}": "0",
    f"anypod_next_hops_unreachable{{{NODE}}}": "0",
    f"anypod_routes_stale{{{NODE}}}": "0",
    f'anypod_vip_state{{{VIP},state="announced"}}': "1",
    f'anypod_vip_state{{{VIP},state="depreferred"}}': "0",
    f"anypod_vip_endpoints{{{VIP}}}": "2",
    f"anypod_vip_endpoints_serving{{{VIP}}}": "2",
    f"anypod_endpoints_unreachable{{{NODE}}}": "0",
    f"anypod_drains{{{NODE}}}": "0",
}
ALL = {
    "AnypodSpeakerDown",
    "AnypodGobgpdDown",
    "AnypodGobgpdRestarts",
    "AnypodConfigRefused",
    "AnypodOutOfStep",
    "AnypodNoPeer",
    "AnypodPeerDown",
    "AnypodPeerFlaps",
    "AnypodPeerRefused",
    "AnypodPasswordDiffers",
    "AnypodRoutesOutOfStep",
    "AnypodRoutesRefused",
    "AnypodRoutesBeyondMaximum",
    "AnypodNextHopsUnreachable",
    "AnypodRoutesStale",
    "AnypodVipAnnouncedNowhere",
    "AnypodVipNotServed",
    "AnypodEndpointUnreachable",
    "AnypodDrainForgotten",
}
# What differs from a node that is well, and what is heard then.
CASES: list[tuple[dict[str, str], set[str]]] = [
    ({}, set()),
    ({f"up{{{NODE}}}": "0"}, {"AnypodSpeakerDown"}),
    ({f"anypod_gobgpd_up{{{NODE}}}": "0", f"anypod_in_step{{{NODE}}}": "0"}, {"AnypodGobgpdDown"}),
    ({f"anypod_gobgpd_losses_total{{{NODE}}}": "0+1x480"}, {"AnypodGobgpdRestarts"}),
    ({f"anypod_config_ok{{{NODE}}}": "0"}, {"AnypodConfigRefused"}),
    ({f"anypod_in_step{{{NODE}}}": "0"}, {"AnypodOutOfStep"}),
    ({f"anypod_peer_up{{{PEER}}}": "0"}, {"AnypodPeerDown", "AnypodNoPeer"}),
    (
        {f"anypod_peer_up{{{PEER}}}": "0", f'anypod_peer_up{{{NODE},peer="10.0.0.2",asn="65000"}}': "1"},
        {"AnypodPeerDown"},
    ),
    ({f"anypod_peer_flaps_total{{{PEER}}}": "0+1x480"}, {"AnypodPeerFlaps"}),
    ({f"anypod_peers_refused{{{NODE}}}": "1"}, {"AnypodPeerRefused"}),
    ({f"anypod_peers_password_differs{{{NODE}}}": "1"}, {"AnypodPasswordDiffers"}),
    ({f"anypod_routes_in_step{{{NODE}}}": "0"}, {"AnypodRoutesOutOfStep"}),
    ({f"anypod_routes_refused{{{NODE}}}": "3"}, {"AnypodRoutesRefused"}),
    ({f"anypod_routes_beyond_maximum{{{NODE}}}": "3"}, {"AnypodRoutesBeyondMaximum"}),
    ({f"anypod_next_hops_unreachable{{{NODE}}}": "1"}, {"AnypodNextHopsUnreachable"}),
    ({f"anypod_routes_stale{{{NODE}}}": "9"}, {"AnypodRoutesStale"}),
    (
        {
            f'anypod_vip_state{{{VIP},state="announced"}}': "0",
            f"anypod_vip_endpoints_serving{{{VIP}}}": "0",
        },
        {"AnypodVipAnnouncedNowhere", "AnypodVipNotServed"},
    ),
    (
        {
            f'anypod_vip_state{{{VIP},state="announced"}}': "0",
            f'anypod_vip_state{{{VIP},state="depreferred"}}': "1",
        },
        set(),
    ),
    ({f"anypod_endpoints_unreachable{{{NODE}}}": "1"}, {"AnypodEndpointUnreachable"}),
    ({f"anypod_drains{{{NODE}}}": "1"}, {"AnypodDrainForgotten"}),
]


def promtool(*argv: str) -> tuple[int, str]:
    done = subprocess.run(["promtool", *argv], check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def heard(directory: Path, differs: dict[str, str]) -> set[str]:
    """Which alerts fire after seven hours of it."""
    held = WELL | differs
    series = [
        {"series": name, "values": value if "x" in value else f"{value}x480"} for name, value in held.items()
    ]
    # Each is claimed to be silent; promtool names those that are not.
    claims = [{"eval_time": "7h", "alertname": alert, "exp_alerts": []} for alert in sorted(ALL)]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": claims}
    file = directory / "test.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    status, told = promtool("test", "rules", str(file))
    fired = set(re.findall(r"alertname: (\w+)", told))
    assert bool(status) == bool(fired), told
    return fired


def test_prometheus_takes_the_rules() -> None:
    status, told = promtool("check", "rules", str(ALERTS))
    assert status == 0, told
    assert f"{len(ALL)} rules found" in told


@pytest.mark.parametrize(("differs", "expected"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_each_alert_is_heard_for_what_it_is_for(
    tmp_path: Path, differs: dict[str, str], expected: set[str]
) -> None:
    assert heard(tmp_path, differs) == expected


def test_no_alert_is_without_a_case() -> None:
    assert set().union(*(expected for _, expected in CASES)) == ALL


def test_prometheus_takes_the_dashboards_queries(tmp_path: Path) -> None:
    panels = json.loads((ROOT / "examples/grafana/anypod.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    # Grafana fills these in.
    filled = [one.replace("$__rate_interval", "5m") for one in asked]
    rules = [{"record": f"dashboard:query{number}", "expr": text} for number, text in enumerate(filled)]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    status, told = promtool("check", "rules", str(file))
    assert status == 0, told
    assert f"{len(rules)} rules found" in told
