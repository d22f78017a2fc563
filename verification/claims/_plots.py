"""Figures of claims, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

__all__ = ["semilog"]


def semilog(
    x: Sequence[float], lines: Mapping[str, Sequence[float]], xlabel: str, ylabel: str
) -> str:
    """Lines over x, on a logarithmic ordinate."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {"font.size": 11, "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "odecore"}
    with rc_context(style):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        ax = figure.add_subplot()
        for (name, values), marker in zip(lines.items(), "os^vD", strict=False):
            ax.semilogy(x, values, marker=marker, label=name)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
