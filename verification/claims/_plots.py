"""Figures of claims, as SVG text: a drawing library would take longer than most claims do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["curves", "rows"]

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, LINE = 460, 250, 66, 14, 46, 20
COLOURS = ("#0072b2", "#d55e00", "#00795a", "#9c4f86", "#57606a")
INK, SOFT = "#1b1f24", "#d0d7de"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Points = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class _Axis:
    """Numbers to pixels; `start` is where the smallest number is."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    @classmethod
    def around(cls, numbers: Sequence[float], start: float, end: float, log: bool) -> _Axis:
        """Of a range that holds all numbers that can be drawn, with some room."""
        found = [x for x in numbers if math.isfinite(x) and (x > 0 or not log)]
        scaled = [math.log10(x) for x in found] if log else found
        low, high = min(scaled, default=0.0), max(scaled, default=1.0)
        room = 0.06 * (high - low) or 0.5
        return cls(low - room, high + room, start, end, log)

    def __call__(self, x: float) -> float:
        if self.log:
            x = math.log10(x) if x > 0 else self.low
        share = (min(max(x, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Pixels and labels of five round numbers or so."""
        span = self.high - self.low
        if self.log and span >= 1.2:
            step = max(1, math.ceil(span / 5))
            powers = range(math.ceil(self.low / step) * step, math.floor(self.high) + 1, step)
            return [(self(10.0**k), f"10{str(k).translate(SUPERSCRIPT)}") for k in powers]
        low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
        unit = 10.0 ** math.floor(math.log10((high - low) / 5))
        step = next(k * unit for k in (1, 2, 5, 10) if k * unit >= (high - low) / 5.5)
        numbers = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
        return [(self(x), f"{x:.6g}") for x in numbers]


def curves(
    found: Mapping[str, Points],
    xlabel: str,
    ylabel: str,
    *,
    log: str = "y",
    limits: Mapping[str, float] | None = None,
    dots: bool = False,
) -> str:
    """Draw curves.

    Parameters
    ----------
    found : mapping of str to (x, y)
        By their names.
    xlabel, ylabel : str
    log : str, optional
        Names of the logarithmic axes, "x", "y", "xy" or "".
    limits : mapping of str to float, optional
        Ordinates of dashed lines, by their names; "" for a second one of the same meaning.
    dots : bool, optional
        Points without lines.

    Returns
    -------
    str
    """
    limits = limits or {}
    top = LINE * (len(found) + sum(map(bool, limits))) + 8
    floor = top + HEIGHT
    x = _Axis.around([a for xs, _ in found.values() for a in xs], LEFT, WIDTH - RIGHT, "x" in log)
    ordinates = [*(b for _, ys in found.values() for b in ys), *limits.values()]
    y = _Axis.around(ordinates, floor, top, "y" in log)
    parts = [*_grid(x, y, top, floor), _text(xlabel, (LEFT + WIDTH - RIGHT) / 2, floor + 40)]
    parts.append(
        f'<text transform="translate(16 {(top + floor) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(ylabel)}</text>'
    )
    for k, (name, (xs, ys)) in enumerate(found.items()):
        colour = COLOURS[k % len(COLOURS)]
        shown = [(a, b) for a, b in zip(xs, ys, strict=True) if math.isfinite(b)]
        at = [(x(a), y(b)) for a, b in shown if b > 0 or not y.log]
        if not dots:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        if dots or len(at) <= 40:
            parts += [_mark(k, a, b, colour) for a, b in at]
        parts += [_mark(k, LEFT + 8, LINE * k + 14, colour), _named(name, LEFT + 20, k)]
    for k, (name, height) in enumerate(limits.items(), start=len(found)):
        parts.append(_dashed(LEFT, WIDTH - RIGHT, y(height)))
        parts += _dashed_name(name, LEFT, k)
    return _svg(parts, floor + BOTTOM, f"{ylabel} against {xlabel}")


def rows(
    found: Mapping[str, tuple[float, float, float]],
    xlabel: str,
    *,
    log: bool = False,
    limits: Mapping[str, float] | None = None,
) -> str:
    """Draw a point with an interval for each name.

    Parameters
    ----------
    found : mapping of str to (value, low, high)
    xlabel : str
    log : bool, optional
    limits : mapping of str to float, optional
        Abscissae of dashed lines, by their names.

    Returns
    -------
    str
    """
    limits = limits or {}
    top, left = LINE * sum(map(bool, limits)) + 8, 24 + 8 * max(len(name) for name in found)
    floor = top + LINE * len(found) + 8
    numbers = [*(a for row in found.values() for a in row), *limits.values()]
    x = _Axis.around(numbers, left, WIDTH - RIGHT, log)
    parts = [*_grid(x, None, top, floor), _text(xlabel, WIDTH / 2, floor + 40)]
    for k, (name, (value, low, high)) in enumerate(found.items()):
        height = top + LINE * (k + 0.5) + 4
        parts.append(_text(name, left - 8, height + 5, "end"))
        parts.append(_stroke(x(low), x(high), height, height, COLOURS[0]))
        parts.append(_mark(0, x(value), height, COLOURS[0]))
    for k, (name, place) in enumerate(limits.items()):
        parts += [_dashed(x(place), x(place), top, floor), *_dashed_name(name, left, k)]
    return _svg(parts, floor + BOTTOM, xlabel)


def _grid(x: _Axis, y: _Axis | None, top: float, floor: float) -> list[str]:
    parts = []
    for place, text in x.ticks():
        parts += [_stroke(place, place, top, floor, SOFT), _text(text, place, floor + 18)]
    for place, text in y.ticks() if y else ():
        parts.append(_stroke(x.start, x.end, place, place, SOFT))
        parts.append(_text(text, x.start - 6, place + 5, "end"))
    return parts


def _text(text: str, x: float, y: float, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _named(text: str, x: float, line: int) -> str:
    return _text(text, x, LINE * line + 19, "start")


def _stroke(x: float, x_end: float, y: float, y_end: float, colour: str, more: str = "") -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x_end:.1f}" y1="{y:.1f}" y2="{y_end:.1f}" stroke="{colour}"'
        f"{more}/>"
    )


def _dashed(x: float, x_end: float, y: float, y_end: float | None = None) -> str:
    return _stroke(x, x_end, y, y if y_end is None else y_end, INK, ' stroke-dasharray="5 4"')


def _dashed_name(name: str, x: float, line: int) -> list[str]:
    return [_dashed(x, x + 16, LINE * line + 14), _named(name, x + 20, line)] if name else []


def _mark(k: int, x: float, y: float, colour: str) -> str:
    """A circle, a square or a triangle, so that colour is not needed."""
    corners = ((), ((-3, -3), (3, -3), (3, 3), (-3, 3)), ((0, -4), (4, 3), (-4, 3)))[k % 3]
    if not corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/>'
    path = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
    return f'<polygon points="{path}" fill="{colour}"/>'


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="14" fill="{INK}" stroke-width="1.5">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
