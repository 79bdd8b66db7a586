"""Every lettered rule of the conformance suite has a test."""

from __future__ import annotations

import re
from pathlib import Path

RULES = {"A": 11, "C": 8, "D": 8, "E": 9, "G": 7, "K": 5, "O": 7, "S": 5}


def test_every_rule_has_a_test() -> None:
    """E is for the environment, C for the configuration, O for output, and the verbs: A, D, K (CHECK), S, G."""
    found = set()
    for file in Path(__file__).parent.glob("test_conformance_*.py"):
        found |= set(re.findall(r"^def test_([A-Z]\d+)_", file.read_text(encoding="utf-8"), re.MULTILINE))
    assert found == {f"{letter}{number}" for letter, last in RULES.items() for number in range(1, last + 1)}
