"""The tables of docs/scale.md, from results.json. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.scale import model
from bench.scale.designs import FULL_MESH, RACK, REFLECTING, REFLECTORS, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NOT_YET = "Not measured yet."
MEASURED = (
    *(Case(design, nodes) for design in (FULL_MESH, RACK, REFLECTORS, REFLECTING) for nodes in model.SIZES),
    Case(REFLECTORS, 200, 10),
)
COLUMNS = {
    "established": "sessions up, s",
    "routes": "last route, s",
    "gobgpd-start-cpu": "gobgpd until then, CPU s",
    "speaker-start-cpu": "speaker, CPU s",
    "gobgpd-memory": "gobgpd, MiB",
    "speaker-memory": "speaker, MiB",
    "gobgpd-idle": "gobgpd idle, %",
    "speaker-idle": "speaker idle, %",
    "withdrawn": "withdrawn, ms",
    "announced": "announced, ms",
}
ASKED = {
    "check": "`speaker check`, CPU s",
    "check-memory": "its memory, MiB",
    "status": "status, ms",
    "status-size": "KiB",
    "metrics": "metrics, ms",
    "metrics-size": "KiB",
    "updates-heard": "UPDATEs heard by all peers",
}


def values(held: Mapping[str, Any]) -> dict[str, float]:
    """What was measured, by the key of a row without "scale-"."""
    rows = held.get("topics", {}).get("scale", {}).get("rows", {})
    return {key.removeprefix("scale-"): row["ours"] for key, row in rows.items()}


def measured(held: Mapping[str, Any]) -> str:
    """The cases that the model stands on."""
    return _cases(held, MEASURED, COLUMNS)


def asked(held: Mapping[str, Any]) -> str:
    """What commands and questions cost."""
    return _cases(held, (*MEASURED, *model.CHECKED), ASKED)


def weights(held: Mapping[str, Any]) -> str:
    """The model's numbers."""
    found = values(held)
    lines = []
    for design, where in ((FULL_MESH, ""), (REFLECTING, ", on a reflector")):
        for quantity in model.QUANTITIES:
            own = _line(quantity, design, found)
            if not own:
                return NOT_YET
            terms = [
                _term(name, weight) for weight, (name, _) in zip(own, quantity.parts, strict=True) if weight
            ]
            lines.append([quantity.what + where, quantity.unit, " + ".join(terms)])
    return _table(["what", "unit", "is"], lines)


def _term(name: str, weight: float) -> str:
    if not name:
        return _number(weight)
    size = 1_000_000 if "times" in name else 1000
    return f"{_number(size * weight)} × {name} / {size:,}"


def checked(held: Mapping[str, Any]) -> str:
    """Larger cases that were measured beside what the model says of them."""
    found = values(held)
    lines = []
    for case in model.CHECKED:
        if f"{case.key}-routes" not in found:
            continue
        line = [case.design, f"{case.nodes:,}", _number(found[f"{case.key}-routes"])]
        for quantity in model.QUANTITIES:
            own = _line(quantity, case.design, found)
            if not own:
                return NOT_YET
            said = _number(model.predicted(quantity, own, case))
            line.append(f"{said} → {_number(found[f'{case.key}-{quantity.key}'])}")
        line.append(_number(found[f"{case.key}-withdrawn"]))
        lines.append(line)
    heads = ["design", "other nodes", "last route, s", *_heads(), "withdrawn, ms"]
    return _table(heads, lines) if lines else NOT_YET


def extrapolated(held: Mapping[str, Any]) -> str:
    """What the model says of 1,000 and 5,000 nodes."""
    found = values(held)
    lines = []
    for nodes in (1000, 5000):
        for design in (FULL_MESH, RACK, REFLECTORS, REFLECTING):
            cluster = model.Cluster(design, nodes)
            case = cluster.case
            sizes = (nodes, cluster.sessions, case.sessions, case.paths, cluster.routes)
            line = [design, *(f"{size:,}" for size in sizes)]
            for quantity in model.QUANTITIES:
                own = _line(quantity, design, found)
                if not own:
                    return NOT_YET
                line.append(_number(model.predicted(quantity, own, case)))
            lines.append(line)
    return _table(
        ["design", "nodes", "sessions, all", "of a node", "paths", "kernel routes", *_heads()], lines
    )


def _heads() -> list[str]:
    return [f"{quantity.what}, {quantity.unit}" for quantity in model.QUANTITIES]


def _line(quantity: model.Quantity, design: str, found: Mapping[str, float]) -> list[float]:
    """The weights for a design; none where a case is missing."""
    cases = model.lined(design)
    own = {case.key: found[key] for case in cases if (key := f"{case.key}-{quantity.key}") in found}
    return model.fitted(quantity, cases, own) if len(own) == len(cases) else []


def _cases(held: Mapping[str, Any], cases: Sequence[Case], columns: Mapping[str, str]) -> str:
    found = values(held)
    lines = [
        [case.design, f"{case.nodes:,}", f"{case.sessions:,}", f"{case.paths:,}"]
        + [_number(found[f"{case.key}-{key}"]) for key in columns]
        for case in cases
        if f"{case.key}-routes" in found
    ]
    heads = ["design", "other nodes", "sessions", "paths", *columns.values()]
    return _table(heads, lines) if lines else NOT_YET


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *lines])


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "scale_measured": measured,
    "scale_asked": asked,
    "scale_model": weights,
    "scale_checked": checked,
    "scale_extrapolated": extrapolated,
}
