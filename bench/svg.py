"""Drawings of a few marks: text, lines, dots, and scales between numbers and places. Pure.

A page that shows the file as an image hands it the reader's choice of light or dark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

# Blue and orange are told apart by every kind of sight. `ours` and `peer` are series; `good` and `bad` verdicts.
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.label { font-size: 12px; }
.small { font-size: 11px; fill: #59636e; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.axis { stroke: #818b98; stroke-width: 1; }
.target { stroke: #1f2328; stroke-width: 2; }
.ours { fill: #0969da; stroke: #0969da; }
.peer { fill: #bc4c00; stroke: #bc4c00; }
.good { fill: #0969da; stroke: #0969da; }
.bad { fill: #bc4c00; stroke: #bc4c00; }
.none { fill: #818b98; stroke: #818b98; }
path { fill: none !important; }
text.ours, text.peer, text.good, text.bad { stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .small { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .target { stroke: #f0f6fc; }
  .ours, .good { fill: #4493f8; stroke: #4493f8; }
  .peer, .bad { fill: #f0883e; stroke: #f0883e; }
}
"""


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` as places from `start` to `end`, by their logarithm if so wanted."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The place of a number; one beyond an end is drawn at the end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (self.end - self.start) * (value - low) / (high - low)


@dataclass
class Drawing:
    """Marks in the order they are drawn in."""

    width: int
    height: int
    title: str
    _marks: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, look: str = "", anchor: str = "start") -> None:
        """Words; `anchor` is "start", "middle" or "end"."""
        self._marks.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{look}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def line(self, x: float, y: float, to_x: float, to_y: float, look: str, width: float = 1) -> None:
        """A straight one."""
        self._marks.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" class="{look}"'
            f' style="stroke-width:{width:g}"/>'
        )

    def curve(self, points: list[tuple[float, float]], look: str) -> None:
        """Straight between the points, with a dot on each."""
        way = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._marks.append(f'<path d="M{way}" class="{look}" style="stroke-width:2"/>')
        for x, y in points:
            self.dot(x, y, look, 4)

    def dot(self, x: float, y: float, look: str, radius: float) -> None:
        """A filled circle."""
        self._marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{look}" style="stroke:none"/>'
        )

    def cloud(self, points: list[tuple[float, float]], look: str, radius: float, opacity: float) -> None:
        """Many dots, each seen through the others."""
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>' for x, y in points)
        self._marks.append(f'<g class="{look}" style="stroke:none;fill-opacity:{opacity:g}">{dots}</g>')

    def svg(self) -> str:
        """The file."""
        size = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{STYLE}</style>",
                *self._marks,
                "</svg>\n",
            ]
        )
