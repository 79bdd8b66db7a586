"""The simulated cluster: its messages, its configuration, and what the model makes of measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.scale import designs, model, page, wire
from bench.scale.designs import Case
from bench.throughput.__main__ import MEASURES, rows
from bench.throughput.ways import ANYPOD, BRIDGE, OVERLAY, PLAIN
from speaker.config import cluster, render

if TYPE_CHECKING:
    from pathlib import Path


def test_updates_are_split_where_messages_end_and_their_prefixes_are_counted() -> None:
    many = tuple(f"10.{i // 256}.{i % 256}.0/24" for i in range(3000))
    sent = wire.update(wire.Told(many, "10.64.0.9"), internal=True) + wire.withdrawal(many[:5])
    buffer = bytearray(sent + wire.end_of_rib() + wire.message(wire.KEEPALIVE)[:-1])
    found = list(wire.split(buffer))
    assert len(buffer) == wire.HEADER - 1
    assert {kind for kind, _ in found} == {wire.UPDATE}
    assert max(len(body) for _, body in found) <= wire.LARGEST - wire.HEADER
    counts = [wire.prefixes(body) for _, body in found]
    assert (sum(told for told, _ in counts), sum(taken for _, taken in counts)) == (3000, 5)


@pytest.mark.parametrize("design", designs.DESIGNS)
def test_the_real_node_has_the_sessions_that_the_case_says(design: str, tmp_path: Path) -> None:
    case = Case(design, 30)
    file = tmp_path / "cluster.toml"
    file.write_text(designs.cluster_toml(case, "unix:///run/x.sock", str(tmp_path)))
    found = cluster.load(str(file))
    config = render.config_for(found, next(node for node in found.nodes if node.name == designs.NODE))
    assert {str(peer.address) for peer in config.peers} == {
        p["address"] for p in designs.crowd(case)["peers"]
    }
    assert len(config.peers) == case.sessions


def test_a_case_counts_prefixes_and_paths() -> None:
    assert (Case("rack", 200).prefixes, Case("rack", 200).paths) == (200, 400)
    assert (Case("full-mesh", 200, 10).prefixes, Case("full-mesh", 200, 10).paths) == (2200, 2200)
    assert Case("reflecting", 50).sent == 50


def test_the_model_finds_the_line_that_the_cases_are_on() -> None:
    quantity = model.QUANTITIES[0]
    cases = model.lined("full-mesh")
    exact = {case.key: 20 + 0.05 * case.sessions + 0.001 * case.paths for case in cases}
    weights = model.fitted(quantity, cases, exact)
    assert weights == pytest.approx([20, 0.05, 0.001])
    assert model.predicted(quantity, weights, Case("rack", 5000)) == pytest.approx(20 + 0.1 + 10)


def test_a_part_that_counts_for_less_than_nothing_is_left_out() -> None:
    quantity = model.QUANTITIES[0]
    cases = model.lined("full-mesh")
    noisy = {case.key: 20 + 0.05 * case.sessions - 0.0001 * case.paths for case in cases}
    assert model.fitted(quantity, cases, noisy)[2] == 0
    assert min(model.fitted(quantity, cases, noisy)) >= 0


def test_tables_say_so_where_nothing_was_measured() -> None:
    assert {table({}) for table in page.TABLES.values()} == {page.NOT_YET}


def test_throughput_compares_round_by_round() -> None:
    found = {ANYPOD: [1.0, 10.0, 4.0], PLAIN: [2.0, 20.0, 2.0], BRIDGE: [1.0] * 3, OVERLAY: [1.0] * 3}
    made = {row.key: row for row in rows(MEASURES[0], found)}
    assert made["pod-to-pod-tcp"].ratio == pytest.approx(0.5)
    assert made["pod-to-pod-tcp"].holds is False
    assert made["pod-to-pod-over-vxlan-tcp"].bound is None
