"""The pages: every link leads to a file and a heading that are there, and the README lists every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# [words][label], and where the label leads.
REFERENCE = re.compile(r"\[[^\]]*\]\[([^\]]+)\]")
DEFINITION = re.compile(r"^\[([^\]]+)\]: (\S+)$", re.MULTILINE)
CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def text(page: Path) -> str:
    """The page without its blocks of code."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ +(.*?) *$", text(page), re.MULTILINE)
    plain = (LINK.sub(lambda link: link[0].partition("]")[0].lstrip("!["), heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in plain}


def lost(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    labels = dict(DEFINITION.findall(text(page)))
    used = set(REFERENCE.findall(text(page)))
    found = sorted(used ^ labels.keys())
    for link in [*LINK.findall(text(page)), *labels.values()]:
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert lost(page) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n```\n[code](no.md)\n```\n"
        "[a](#one-two) [b](#three) [c](no.md) [d](http://example.org) [e](page.md#one-two)\n"
        "[f][known] [g][unknown]\n\n[known]: https://example.org/\n[unused]: https://example.org/\n"
    )
    assert lost(page) == ["unknown", "unused", "#three", "no.md", "http://example.org"]


def test_the_readme_lists_every_page() -> None:
    table = text(ROOT / "README.md").partition("\n## Documentation\n")[2]
    listed = {link.partition("#")[0] for link in LINK.findall(table)}
    assert {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} - listed == set()
