"""The demo's figures, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from torch_bridge import SolverConsistencyReport
from verification._interval import Estimate
from verification.demo._measure import Decreases, ErrorMap, NodeErrors, SketchNoise

__all__ = [
    "draw_consistency",
    "draw_curves",
    "draw_decreases",
    "draw_differences",
    "draw_error_map",
    "draw_node_errors",
    "draw_normalization",
    "draw_sketch_noise",
]

STYLE = {
    "font.size": 11,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "odecore",  # the same figure gives the same bytes
    "axes.prop_cycle": "cycler('color', ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', "
    "'#e69f00', '#7f7f7f', '#000000'])",
}
NAMED = {"3/8 rule": (1 / 3, 2 / 3), "Ralston": (0.4, 7 / 8 - 3 * 5**0.5 / 16)}


def draw_error_map(found: ErrorMap) -> str:
    """Error over the (u, v) plane, with the excluded set and named members."""
    with rc_context(STYLE | {"axes.grid": False}):
        figure, ax = _axes(7.2, 5.6)
        low, high = np.nanpercentile(np.log10(found.error), [0, 90])
        image = ax.pcolormesh(
            found.u,
            found.v,
            np.nan_to_num(np.clip(np.log10(found.error), low, high), nan=high),
            shading="nearest",
            cmap="viridis_r",
            rasterized=True,
        )
        figure.colorbar(image, label="log10 of the root mean square error", extend="max")
        ends = np.array([found.u[0], found.u[-1]])
        for line in (0.5, 1.0):
            ax.axvline(line, color="white", lw=1.2)
        ax.axhline(1.0, color="white", lw=1.2)
        ax.plot(ends, ends, color="white", lw=1.2, label="excluded set")
        u = np.linspace(*ends, 400)
        with np.errstate(divide="ignore"):
            curve = (4 * u - 3) / (6 * u - 4)
        inside = (curve > ends[0]) & (curve < ends[1])
        ax.plot(u, np.where(inside, curve, np.nan), color="white", lw=1.2)
        for name, (a, b) in NAMED.items():
            ax.plot(a, b, "o", color="#d55e00", mec="white", ms=8)
            ax.annotate(
                name, (a, b), xytext=(-8, 8), textcoords="offset points", ha="right",
                color="white", weight="bold",
            )  # fmt: skip
        best = np.unravel_index(np.nanargmin(found.error), found.error.shape)
        star = {"color": "#f0e442", "mec": "black", "ms": 15, "ls": "none", "label": "least error"}
        ax.plot(found.u[best[1]], found.v[best[0]], "*", **star)
        ax.legend(loc="upper right", facecolor="#404040", labelcolor="white", fontsize=9)
        ax.set(xlabel="u", ylabel="v", xlim=ends, ylim=ends)
        ax.set_title("RK4(u, v), 4 steps, on the trained block")
        return _svg(figure)


def draw_node_errors(found: NodeErrors) -> str:
    """Gradient error over node counts: geometric, then the solver's order."""
    with rc_context(STYLE):
        figure, ax = _axes(7.2, 4.4)
        for (name, errors), marker in zip(found.errors.items(), "os^", strict=True):
            ax.semilogy(found.nodes, errors, marker=marker, label=f"solver of {name}")
        ax.set(xlabel="Chebyshev nodes", ylabel="relative gradient error")
        ax.set_title("Restored adjoint, one step from node to node")
        ax.legend(frameon=False)
        return _svg(figure)


def draw_sketch_noise(found: SketchNoise) -> str:
    """Measured variance against formula."""
    with rc_context(STYLE):
        figure, ax = _axes(7.2, 4.6)
        styles = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"))
        for name, (color, marker) in zip(found.exact, styles, strict=True):
            ax.plot(found.sizes, found.exact[name], color=color, label=f"{name}: formula")
            mean, error = np.array(found.measured[name]).T
            ax.errorbar(
                found.sizes, mean, yerr=3 * error, fmt=marker, color=color, capsize=3, ms=6,
                label=f"{name}: measured, 3 standard errors",
            )  # fmt: skip
        lower = 1 - found.published[0] / found.exact["Gaussian"][0]
        ax.plot(
            found.sizes,
            found.published,
            ":",
            color="black",
            label=f"Gaussian: published lemma, {lower:.1%} lower here",
        )
        ax.axhline(
            found.minibatch, color="#7f7f7f", ls="--", label="noise of the mini-batch itself"
        )
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(found.sizes, [str(p) for p in found.sizes])
        ax.set(xlabel="sketch size p (of 256 rows)", ylabel="variance / squared norm")
        ax.set_title("Sketched weight gradient of a trained layer")
        ax.legend(frameon=False, fontsize=9)
        return _svg(figure)


def draw_decreases(found: Decreases) -> str:
    """Measured relative decrease of one loss against the other."""
    with rc_context(STYLE):
        figure, ax = _axes(7.2, 4.8)
        both = np.concatenate([found.equiangular, found.summed])
        low, high = min(0.0, both.min()) - 0.03, both.max() + 0.05
        ax.plot([low, high], [low, high], color="#7f7f7f", lw=1, label="equal decrease")
        ax.axvline(0, color="black", lw=0.8)
        ax.plot(*found.summed.T, "s", ms=5, color="#d55e00", alpha=0.7, label="sum of the losses")
        ax.plot(*found.equiangular.T, "o", ms=5, color="#0072b2", label="equiangular direction")
        ax.set(
            xlabel="decrease of the left digit's loss",
            ylabel="decrease of the right digit's loss",
            xlim=(low, high),
            ylim=(low, high),
        )
        ax.set_title(f"One small step, right loss scaled by {found.kappa:g}\n(per gradient norm)")
        ax.legend(frameon=False)
        return _svg(figure)


def draw_consistency(report: SolverConsistencyReport) -> str:
    """Changes over ever finer steps, and which samples they leave in doubt."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.6), layout="constrained")
        report.plot(figure.subplots(1, 2))
        return _svg(figure)


def draw_curves(curves: Mapping[str, Sequence[float]]) -> str:
    """Test accuracy over epochs, the mean over seeds."""
    with rc_context(STYLE):
        figure, ax = _axes(7.2, 4.8)
        styles = ("-", "--", "-.", ":")
        for k, (name, curve) in enumerate(curves.items()):
            ax.plot(
                range(1, len(curve) + 1),
                100 * np.asarray(curve),
                styles[k // 8 % 4],
                label=name,
                lw=2.4 if name == "plain" else 1.5,
            )
        highest = 100 * max(map(max, curves.values()))
        ax.set(xlabel="epoch", ylabel="test accuracy, %", ylim=(max(0, highest - 16), highest + 1))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_title("Test accuracy while training")
        ax.legend(frameon=False, fontsize=9, ncols=2, loc="lower right")
        return _svg(figure)


def draw_differences(kinds: Mapping[str, Mapping[str, Estimate]], base: str) -> str:
    """Differences to a baseline with their intervals, a panel for each kind."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.2), layout="constrained")
        for ax, (kind, found) in zip(
            figure.subplots(1, 2, sharey=True), kinds.items(), strict=True
        ):
            shown = {name: d for name, d in found.items() if name != base}
            means = [100 * d.mean for d in shown.values()]
            widths = [100 * (d.half_width or 0) for d in shown.values()]
            ax.axvline(0, color="black", lw=0.8)
            ax.errorbar(means, range(len(shown)), xerr=widths, fmt="o", capsize=4)
            ax.set_yticks(range(len(shown)), list(shown))
            ax.set_ylim(len(shown) - 0.5, -0.5)
            ax.set(xlabel=f"points against {base}", title=f"{kind} accuracy")
        return _svg(figure)


def draw_normalization(
    means: Mapping[str, Mapping[str, Estimate]], tests: Sequence[str], own: str
) -> str:
    """Accuracy by normalization: over the solvers of the test, and by whose statistics."""
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        for k, (name, found) in enumerate(means.items()):
            shift = 0.06 * (k - (len(means) - 1) / 2)
            for ax, chosen in ((left, tests), (right, (tests[0], own))):
                shown = [found[test] for test in chosen]
                ax.errorbar(
                    [i + shift for i in range(len(shown))],
                    [100 * one.mean for one in shown],
                    yerr=[100 * (one.half_width or 0) for one in shown],
                    marker="o", capsize=3, label=name,
                )  # fmt: skip
        left.set_xticks(range(len(tests)), tests)
        right.set_xticks([0, 1], ["running statistics", "own batches"])
        right.set_xlim(-0.4, 1.4)
        left.set(ylabel="test accuracy, %", ylim=(0, 102), xlabel="solver in the test")
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        return _svg(figure)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, dpi=150)
    return text.getvalue()
