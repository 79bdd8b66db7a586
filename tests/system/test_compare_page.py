"""docs/compatibility.md shows exactly the differences that the comparisons know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.compare_known import KNOWN, LATER

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"


def rows(heading: str) -> list[str]:
    """The rows of the table below a heading, without its head."""
    _, _, below = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    section = below.partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def test_the_page_lists_every_known_difference_and_no_other() -> None:
    assert sorted(rows("Known differences")) == sorted(one.row() for one in KNOWN.values())


def test_the_page_lists_what_later_versions_know() -> None:
    assert rows("What later versions know") == [one.row() for one in LATER]


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_difference_is_seen_by_a_comparison(name: str) -> None:
    """A comparison that names a difference fails when it does not see it."""
    files = [*HERE.glob("test_compare_*.py"), HERE / "compare_known.py"]
    named = sum(file.read_text(encoding="utf-8").count(f'"{name}"') for file in files)
    # Once as the table's key, and once at least by a test or in a set that tests name.
    assert named >= 2
