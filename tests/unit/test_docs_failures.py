"""Tests that the pages name are there, and docs/failure-modes.md names one in each row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "docs/failure-modes.md").read_text(encoding="utf-8").splitlines()
NAMED = re.compile(r"`((?:unit|system)/test_\w+\.py)::(test_\w+)`")
# Rows of tables, without heads and the lines below those.
ROWS = [
    line
    for line, below in zip(LINES, [*LINES[1:], ""], strict=True)
    if line.startswith("| ") and not below.startswith("|---")
]


def test_rows_are_found() -> None:
    assert len(ROWS) > 50
    assert all(row.count("|") == 5 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_what_is_claimed_is_shown_by_a_test(row: str) -> None:
    shown = row.split("|")[4]
    assert NAMED.search(shown)
    # Nothing else stands in that cell: a name that is not read here would not be looked up.
    assert NAMED.sub("", shown).strip(", ") == ""


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    missing = []
    for file, name in NAMED.findall(page.read_text(encoding="utf-8")):
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        if not re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE):
            missing.append(f"{file}::{name}")
    assert missing == []
