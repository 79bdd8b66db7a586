"""HTML that is escaped by construction: a plain string never becomes markup. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Elements that have no end tag.
_VOID = frozenset({"meta"})


class Html(str):
    """Text that is markup already; only this module and constants of the package make it."""

    __slots__ = ()


def text(value: object) -> Html:
    """A value as it may stand in an element or an attribute. Pods name themselves: nothing unprintable stays."""
    if isinstance(value, Html):
        return value
    signs = str(value)
    if not signs.isprintable():
        signs = "".join(sign if sign.isprintable() else "\ufffd" for sign in signs)
    return Html(escape(signs, quote=True))


def el(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. Attributes: `class_` for class, `data_label` for data-label; None and False leave one out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text("" if value is True else value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID and not children:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{''.join(map(text, children))}</{name}>")


def join(parts: Iterable[object], between: object = "") -> Html:
    """All of them, one after the other."""
    return Html(text(between).join(map(text, parts)))


def table(caption: str, heads: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """A table whose first column names the row; on a narrow screen each cell says which column it is of."""
    labels = [str(head) if not isinstance(head, Html) else "" for head in heads]
    body = [
        el(
            "tr",
            *(
                el("td" if index else "th", cell, scope=None if index else "row", data_label=label)
                for index, (cell, label) in enumerate(zip(row, labels, strict=True))
            ),
        )
        for row in rows
    ]
    return el(
        "table",
        el("caption", caption),
        el("thead", el("tr", *(el("th", head, scope="col") for head in heads))),
        el("tbody", *body),
    )


def more(shown: int, total: int, thing: str) -> Html:
    """Says how many are not shown; nothing where all are."""
    return el("p", f"… and {total - shown:,} more {thing}", class_="more") if total > shown else Html("")
