"""The dashboard and the alerts name metrics that the speaker has, and lay out as they should."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ALERTS = (ROOT / "examples/prometheus/anypod-alerts.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads((ROOT / "examples/grafana/anypod.json").read_text())
DOCUMENTED = set(re.findall(r"^\| `(anypod_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    named = {name for text in expressions() for name in re.findall(r"anypod_\w+", text)}
    assert named
    assert named <= DOCUMENTED


def test_the_alerts_ask_for_metrics_that_there_are() -> None:
    named = set(re.findall(r"anypod_\w+", ALERTS))
    assert named
    assert named <= DOCUMENTED


def test_every_metric_is_watched_by_one_of_them() -> None:
    text = ALERTS + json.dumps(DASHBOARD)
    ages = {name for name in DOCUMENTED if name.endswith("_seconds")}
    counts = {"anypod_peers_configured", "anypod_prefixes_learned", "anypod_peer_received_prefixes"}
    assert {name for name in DOCUMENTED if name not in text} <= ages | counts


@pytest.mark.parametrize("panel", [one for one in DASHBOARD["panels"] if one["type"] != "row"])
def test_a_panel_is_of_the_chosen_nodes(panel: dict[str, Any]) -> None:
    assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])
    assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_do_not_lie_over_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_commands_that_alerts_name_are_there() -> None:
    from speaker.cli import ELSEWHERE, main

    named = set(re.findall(r"`anypod (\w+)", ALERTS))
    assert named
    assert named <= {*ELSEWHERE, *main.commands}
