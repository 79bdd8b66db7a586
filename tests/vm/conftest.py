"""What the tests inside of the virtual machine share, and how their outcomes get out of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.compare_rig import REFERENCE, Both, Side
from tests.system.plugin_node import Node
from tests.vm.init import REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """One line for each test, at once: what ran is known even where the machine does not end by itself."""
    if report.when == "call" or report.failed:
        line = {"test": report.nodeid, "passed": report.passed, "text": report.longreprtext}
        with Path(REPORT).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"seconds": round(report.duration, 1)}) + "\n")


@pytest.fixture(scope="session")
def plugin() -> Path:
    return Path(os.environ["ANYPOD_PREFIX"]) / "opt/cni/bin/anypod"


@pytest.fixture
def node(plugin: Path, tmp_path: Path) -> Iterator[Node]:
    """A bare node with the installed plugin and a state directory of its own."""
    made = Node(plugin, tmp_path / "state")
    made.up()
    try:
        yield made
    finally:
        made.down()


@pytest.fixture
def both(plugin: Path, tmp_path: Path) -> Iterator[Both]:
    """The distribution's reference plugins and ours, each with a bare node of its own."""
    plugins = (Path(REFERENCE) / "bridge", plugin)
    made = Both(*(Side.of(one, tmp_path / one.name) for one in plugins))
    try:
        made.reference.up()
        made.ours.up()
        yield made
    finally:
        made.reference.down()
        made.ours.down()
