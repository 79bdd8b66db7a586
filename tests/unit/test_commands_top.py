"""What `top` says of changes, and that a screenful is one."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from speaker.cli import main
from speaker.commands.top import differences, heading, screen

PEER = {
    "peer": "192.0.2.1", "address": "192.0.2.1", "asn": 65000, "state": "established", "uptime": 5, "received": 1,
    "accepted": 1, "advertised": 1, "flaps": 0, "reason": "", "description": "",
}  # fmt: skip
VIP = {
    "vip": "198.51.100.1", "pool": "edge", "state": "announced", "reason": "", "serving": 1,
    "endpoints": [{"pod": "shop/web", "health": "up", "error": ""}],
}  # fmt: skip
NOW: dict[str, Any] = {
    "asn": 65001, "announced": 3, "learned": 4, "virtual_ips": 1, "routes": {"installed": 4, "refused": 0},
    "gobgpd": {"in_step": True, "trouble": ""}, "peers": [PEER], "missing_peers": {}, "vips": [VIP],
}  # fmt: skip


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (NOW, []),
        ("gone", ["the speaker does not answer"]),
        (NOW | {"peers": [PEER | {"state": "active"}]}, ["peer 192.0.2.1: established → active"]),
        (NOW | {"peers": []}, ["peer 192.0.2.1: gone"]),
        (
            NOW | {"vips": [VIP | {"state": "withdrawn", "reason": "none is healthy"}]},
            ["virtual IP 198.51.100.1: announced → withdrawn (none is healthy)"],
        ),
        (
            NOW
            | {"vips": [VIP | {"endpoints": [{"pod": "shop/web", "health": "down", "error": "refused"}]}]},
            ["endpoint 198.51.100.1 shop/web: up → down (refused)"],
        ),
        (NOW | {"learned": 0}, ["learned: 4 → 0 prefixes"]),
    ],
)
def test_changes_are_said(now: dict[str, Any] | str, told: list[str]) -> None:
    assert differences(NOW, now) == told


def test_a_speaker_that_comes_back_is_said_once() -> None:
    assert differences("gone", NOW) == ["the speaker answers"]
    assert differences("gone", "still gone") == []


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 15), (200, 60)])
def test_a_screenful_is_not_more(width: int, height: int) -> None:
    many = [PEER | {"peer": f"192.0.2.{number}"} for number in range(200)]
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(
            screen(NOW | {"peers": many}, [f"change {number}" for number in range(200)], width, height)
        )
    if width >= 200:
        assert len(captured.get().splitlines()) <= height
    assert "more" in captured.get()


def test_without_a_speaker_it_says_so_and_ends_with_1(tmp_path: Any) -> None:
    result = CliRunner().invoke(main, ["top", "--count", "1", "--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "does not answer" in result.output
    assert heading(NOW).startswith("AS 65001")
