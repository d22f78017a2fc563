"""The picture of a consistency report."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_bridge._consistency_report import SolverConsistencyReport

__all__ = ["plot_consistency"]

LARGEST = 100.0  # ratios beyond are drawn there


def plot_consistency(report: SolverConsistencyReport, axes: Sequence[Any] | None) -> Any:
    """Draw changes against steps with the solver's order, and the ratios that must be below 1."""
    import matplotlib.pyplot as plt

    if axes is None:
        axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")[1]
    left, right = axes
    rungs = report.rungs[:-1]
    shown = [(r, c) for r, c in zip(rungs, report.changes, strict=True) if c > 0 and isfinite(c)]
    if shown:
        left.loglog(*zip(*shown, strict=True), "o-", label="median change")
        first = shown[0]
        slope = [first[1] * (r / first[0]) ** -report.expected_order for r, _ in shown]
        label = f"order {report.expected_order:g}"
        left.loglog([r for r, _ in shown], slope, "--", color="gray", label=label)
        left.legend()
    left.set_xticks(rungs, [str(r) for r in rungs])
    left.minorticks_off()
    left.set_xlabel("times as many steps")
    left.set_ylabel("change at the next rung")
    ratios = sorted(min(ratio, LARGEST) for ratio in report.ratios)
    right.semilogx(ratios, [(k + 1) / len(ratios) for k in range(len(ratios))])
    right.axvline(1, linestyle="--", color="gray")
    right.set_xlabel("bound / margin (certified below 1)")
    right.set_ylabel("share of samples")
    right.set_title(f"verdict: {report.verdict}")
    return right.figure
