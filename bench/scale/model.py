"""What grows with what: lines through the measured cases, and what they say of larger clusters. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.scale.designs import FULL_MESH, RACK, REFLECTING, REFLECTORS, ROUTERS, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SIZES = (10, 50, 200)


def lined(design: str) -> tuple[Case, ...]:
    """The cases that the lines for a design go through; larger ones only check them.

    Full mesh, or a reflector, has many sessions; the others have many paths over two.
    """
    many = REFLECTING if design == REFLECTING else FULL_MESH
    small = (Case(one, nodes) for one in (many, RACK, REFLECTORS) for nodes in SIZES)
    return (*small, Case(REFLECTORS, 200, 10))


CHECKED = (
    Case(FULL_MESH, 1000),
    Case(RACK, 1000),
    Case(RACK, 5000),
    Case(REFLECTORS, 1000),
    Case(REFLECTORS, 5000),
)
# A virtual IP that ten nodes serve is ten paths for whoever hears all of them.
VIPS, SERVED_BY = 1000, 10


@dataclass(frozen=True)
class Quantity:
    """Something that was measured, and what it is a sum of."""

    key: str
    what: str
    unit: str
    parts: tuple[tuple[str, Callable[[Case], float]], ...]


BASE = ("", lambda _: 1.0)
PER_SESSION = ("sessions", lambda case: float(case.sessions))
PER_PATH = ("paths", lambda case: float(case.paths))
PER_PREFIX = ("prefixes", lambda case: float(case.prefixes))
PER_PAIR = ("sessions times paths", lambda case: float(case.sessions * case.paths))

QUANTITIES = (
    Quantity("gobgpd-memory", "gobgpd, resident", "MiB", (BASE, PER_SESSION, PER_PATH)),
    Quantity("speaker-memory", "speaker, resident", "MiB", (BASE, PER_SESSION, PER_PREFIX)),
    Quantity("gobgpd-idle", "gobgpd, idle", "% of a core", (BASE, PER_SESSION, PER_PATH)),
    Quantity("speaker-idle", "speaker, idle", "% of a core", (BASE, PER_SESSION, PER_PREFIX)),
    Quantity("gobgpd-start-cpu", "gobgpd, until all is learned", "s of CPU", (BASE, PER_SESSION, PER_PAIR)),
    Quantity(
        "speaker-start-cpu", "speaker, until all is learned", "s of CPU", (BASE, PER_SESSION, PER_PREFIX)
    ),
)


def fitted(quantity: Quantity, cases: Sequence[Case], measured: Mapping[str, float]) -> list[float]:
    """Least squares: how much each part of a quantity counts. `measured` by keys of cases. None below zero."""
    parts = list(quantity.parts)
    while True:
        lines = [[part(case) for _, part in parts] for case in cases]
        weights = solved(lines, [measured[case.key] for case in cases])
        negative = [part for part, weight in zip(parts, weights, strict=True) if weight < 0]
        if not negative:
            found = dict(zip((name for name, _ in parts), weights, strict=True))
            return [found.get(name, 0.0) for name, _ in quantity.parts]
        # Noise, where a part counts for nothing.
        parts.remove(negative[-1])


def solved(lines: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Weights w for which lines * w is nearest to values (normal equations, Gauss)."""
    size = len(lines[0])
    matrix = [
        [sum(line[i] * line[j] for line in lines) for j in range(size)]
        + [sum(line[i] * value for line, value in zip(lines, values, strict=True))]
        for i in range(size)
    ]
    for i in range(size):
        pivot = max(range(i, size), key=lambda row, column=i: abs(matrix[row][column]))  # type: ignore[misc]
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        for row in range(size):
            if row != i:
                factor = matrix[row][i] / matrix[i][i]
                matrix[row] = [a - factor * b for a, b in zip(matrix[row], matrix[i], strict=True)]
    return [matrix[i][size] / matrix[i][i] for i in range(size)]


def predicted(quantity: Quantity, weights: Sequence[float], case: Case) -> float:
    """What the line says of a case."""
    return sum(weight * part(case) for weight, (_, part) in zip(weights, quantity.parts, strict=True))


@dataclass(frozen=True)
class Cluster:
    """A design with so many nodes, and VIPS virtual IPs, each on SERVED_BY of them."""

    design: str
    nodes: int

    @property
    def case(self) -> Case:
        """As one node sees it."""
        return Case(self.design, self.nodes - 1, round(VIPS * SERVED_BY / self.nodes))

    @property
    def sessions(self) -> int:
        """Of the whole cluster, without those of racks among themselves."""
        if self.design == FULL_MESH:
            return self.nodes * (self.nodes - 1) // 2
        return len(ROUTERS) * self.nodes

    @property
    def routes(self) -> int:
        """Prefixes in a node's kernel: the others' subnets, and the virtual IPs once each."""
        return self.nodes - 1 + VIPS
