"""Mutated netconfs and environments: an answer that a runtime can read, and never a leftover.

20,000 cases in a run. Of each, the netconf, the environment or the state directory is mutated, or all of them:
values, keys, text and bytes. Most cases are served by a fork of a process that has the plugin's modules loaded
(zygote_main.py: the same interpreter, the same flags, the installed modules; 3 ms instead of 300 for a netconf that
was not seen before); every fiftieth is run by the executable itself. They see the machine read-only but for a
folder, and no processes but their own.

A failing case is printed whole. ANYPOD_FUZZ_SEED and ANYPOD_FUZZ_CASES (`first-last`) repeat it.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.system.crowd import WORKERS, spread
from tests.system.fuzz_rig import Fuzzer
from tests.system.plugin_node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.installed import Installation

pytestmark = pytest.mark.timeout(1200)
SECONDS = 1100
CASES = "0-19999"


@pytest.fixture
def fuzzers(installation: Installation, tmp_path: Path) -> Iterator[list[Fuzzer]]:
    seed = int(os.environ.get("ANYPOD_FUZZ_SEED") or int.from_bytes(os.urandom(4), "big"))
    made: list[Fuzzer] = []
    try:
        for number in range(WORKERS):
            home = tmp_path / f"home{number}"
            home.mkdir()
            node = Node(installation.plugin, home / "state")
            made.append(Fuzzer(node, home, seed))
            node.up()
            node.pod()
            node.pod()
        yield made
    finally:
        for fuzzer in made:
            fuzzer.node.down()


def test_no_input_gets_a_traceback_a_silent_failure_or_a_leftover(fuzzers: list[Fuzzer]) -> None:
    first, _, last = (os.environ.get("ANYPOD_FUZZ_CASES") or CASES).partition("-")
    numbers = range(int(first), int(last or first) + 1)
    print(f"seed {fuzzers[0].seed}, cases {numbers[0]}-{numbers[-1]}")
    counts = sum(spread(Fuzzer.work, fuzzers, numbers, SECONDS), Counter[str]())
    print(dict(counts))
    if len(numbers) >= 20_000:
        assert min(counts["ADD succeeded"], counts["ADD failed"], counts["DEL succeeded"]) > 500
        assert counts["run by the executable"] > 300
