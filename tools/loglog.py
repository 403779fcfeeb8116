"""Draw a plot with two logarithmic axes as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

Line = list[tuple[float, float]]

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 64, 36, 48
COLOURS = ("#999", "#06c", "#c50", "#292")


class Axis:
    """A logarithmic axis over whole decades, from pixel `start` to pixel `end`."""

    def __init__(self, values: list[float], start: int, end: int) -> None:
        self.first = math.floor(math.log10(min(values)))
        self.last = max(self.first + 1, math.ceil(math.log10(max(values))))
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        part = (math.log10(value) - self.first) / (self.last - self.first)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Return the powers of ten on the axis."""
        return [10.0**power for power in range(self.first, self.last + 1)]


def write_text(x: float, y: float, text: str, anchor: str = "middle", fill: str = "#333") -> str:
    """Return a text element."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'


def draw_axes(x: Axis, y: Axis) -> Iterator[str]:
    """Yield the grid and the numbers beside it."""
    for tick in x.ticks():
        at = x.place(tick)
        yield f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>'
        yield write_text(at, HEIGHT - BOTTOM + 16, f"{tick:,.0f}")
    for tick in y.ticks():
        at = y.place(tick)
        yield f'<path d="M{LEFT} {at}H{WIDTH - RIGHT}" stroke="#e4e4e4"/>'
        yield write_text(LEFT - 6, at + 4, f"{tick:,g}", "end")


def place_labels(heights: list[float]) -> list[float]:
    """Return heights for labels of one line each that do not overlap."""
    result = [0.0] * len(heights)
    previous = -math.inf
    for number in sorted(range(len(heights)), key=heights.__getitem__):
        result[number] = previous = max(heights[number], previous + 13)
    return result


def draw(title: str, x_label: str, lines: Mapping[str, Line]) -> str:
    """Return an SVG image of some lines, each with its name at its end; all values must be above 0."""
    x = Axis([point[0] for line in lines.values() for point in line], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for line in lines.values() for point in line], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="13" fill="#333">{escape(title)}</text>',
        *draw_axes(x, y),
        write_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label),
    ]
    heights = place_labels([y.place(line[-1][1]) for line in lines.values()])
    for (name, line), height, colour in zip(lines.items(), heights, COLOURS, strict=False):
        points = [(x.place(a), y.place(b)) for a, b in line]
        path = " ".join(f"{a},{b}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in points]
        parts.append(write_text(points[-1][0] + 8, height + 4, name, "start", colour))
    return "\n".join([*parts, "</svg>", ""])
