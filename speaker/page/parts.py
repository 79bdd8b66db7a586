"""What the parts of the page are made of: states, numbers and texts of bounded length. Pure."""

from __future__ import annotations

from speaker.commands.output import NOTHING
from speaker.page.html import Html, el

# Of troubles, refusals and drains the first are shown.
LISTED = 12
# Signs of a reason, which may be a whole answer of a server.
LONGEST = 240

_GOOD = {"established", "announced", "up", "serving"}
_BAD = {"withdrawn", "down", "missing", "gone"}


def tag(word: str) -> Html:
    """A state, with a sign and a colour that say how good it is."""
    kind, sign = ("ok", "✓") if word in _GOOD else ("bad", "✗") if word in _BAD else ("warn", "!")
    return el("span", f"{sign} {word}", class_=f"tag {kind}")


def cut(text: object) -> str:
    """A text of bounded length."""
    said = str(text)
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def small(text: str) -> list[Html]:
    """A line below, where there is something to say."""
    return [el("small", cut(text))] if text else []


def number(value: int | None) -> Html:
    """How many."""
    return el("span", NOTHING if value is None else f"{value:,}", class_="num")
