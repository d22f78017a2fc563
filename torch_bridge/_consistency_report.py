"""What a comparison of solvers says of a model, and its verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from torch_bridge._observed_order import SHORT, order_remark
from torch_bridge._paired_gap import PairedGap, samples_needed, share_interval

__all__ = ["SolverConsistencyReport"]

GAP = 0.005  # the largest difference in accuracy that still counts as none
CERTIFIED = 0.95  # the smallest share of samples with a bound within their margin


@dataclass(frozen=True)
class SolverConsistencyReport:
    """How a model depends on the solver that it was trained with.

    Parameters
    ----------
    task : {"classification", "regression"}
    samples : int
    rungs : tuple of int
        How many times as many steps each rung takes; the first is the model as it is.
    solvers : tuple of str
        The more powerful solvers: the finer rungs, and others.
    accuracy : tuple of float
        Of the model, then with each of `solvers`; empty for regression and without labels.
    gaps : tuple of PairedGap
        Of the model over each of `solvers`; empty like `accuracy`.
    flipped : int
        Samples whose class, or for regression whose value by more than the tolerance, changes under
        at least one of `solvers`.
    ratios : tuple of float
        For each sample 2 E / margin, or E / tolerance: below 1 a sample is certified. E bounds the
        distance of its output to that of ever finer steps: the sum of the changes from rung to
        rung, the last of them times 1 / (1 - r), and r the quotient of the last two, at least 2^-p
        for an order p. Infinite without a bound, where r >= 0.9.
    changes : tuple of float
        Median over samples of the change from each rung to the next.
    order : float or None
        Median observed order; None where it is hidden by rounding for nearly all samples, or where
        changes of the last rung are not finite.
    expected_order : float
    nonfinite : int
        Samples with an output that is not finite, under some solver.
    hidden : int, optional
        Samples that rounding alone leaves uncertified: their changes above its floor would certify
        them. Of those no dtype as narrow tells whether they are the flow's.
    tied : int, optional
        Samples whose largest scores are equal in all steps, so that they have no class.
    """

    task: str
    samples: int
    rungs: tuple[int, ...]
    solvers: tuple[str, ...]
    accuracy: tuple[float, ...]
    gaps: tuple[PairedGap, ...]
    flipped: int
    ratios: tuple[float, ...]
    changes: tuple[float, ...]
    order: float | None
    expected_order: float
    nonfinite: int
    hidden: int = 0
    tied: int = 0

    @property
    def gap(self) -> PairedGap | None:
        """The accuracy of the model over that of the best of the more powerful solvers."""
        return min(self.gaps, key=lambda gap: gap.difference) if self.gaps else None

    @property
    def flip_rate(self) -> float:
        """Share of samples that are `flipped`."""
        return self.flipped / self.samples

    @property
    def certified(self) -> float:
        """Share of samples with a ratio below 1."""
        return sum(ratio < 1 for ratio in self.ratios) / self.samples

    @property
    def largest_gap(self) -> tuple[float, float]:
        """Largest difference in accuracy to any of `solvers`, either way, and its upper bound.

        Without accuracies, those of the flip rate. Each interval is one of 95 %, and that is enough
        for all gaps to be small at once: it must be shown of each of them (an intersection-union
        test, Berger 1982).
        """
        if not self.gaps:
            return self.flip_rate, share_interval(self.flipped, self.samples)[1]
        bounds = [gap.interval() for gap in self.gaps]
        return (
            max(abs(gap.difference) for gap in self.gaps),
            max(max(-low, high) for low, high in bounds),
        )

    @property
    def verdict(self) -> str:
        """One of "flow", "map" and "undecided".

        "flow" if the upper bound of the largest gap is at most 0.005, at least 95 % of the samples
        are certified, the observed order is at most 1/2 below the solver's, and all is finite;
        "undecided" if only the bound is in the way, which more samples bring down, or the samples
        that are `hidden`, which a wider dtype tells; else "map".
        """
        difference, bound = self.largest_gap
        converges = self.order is None or self.order >= self.expected_order - SHORT
        share = self.hidden / self.samples
        if self.nonfinite or not converges or self.certified + share < CERTIFIED:
            return "map"
        if difference > GAP + share:
            return "map"
        return "flow" if self.certified >= CERTIFIED and bound <= GAP else "undecided"

    @property
    def rounding_remark(self) -> str:
        """Where samples that rounding hides keep the verdict from being "flow" or "map", so."""
        few = self.certified >= CERTIFIED and self.largest_gap[0] <= GAP
        if self.verdict != "undecided" or few:
            return ""
        if self.tied and self.tied >= self.hidden:
            return (
                f"the largest scores of {self.tied} samples are equal in all steps: they have no "
                "class, as where the weights of a head are zero"
            )
        return (
            f"rounding hides what the steps change: it alone leaves {self.hidden} samples "
            "uncertified; compare in a wider dtype, as model.double() with inputs in float64"
        )

    @property
    def order_remark(self) -> str:
        """What an observed order more than 1/2 below the solver's looks like: kinks, for example.

        Told from how changes fall, not from the right-hand side. Where rounding hides the order it
        says how to see it; empty where it is seen and not below, or not finite.
        """
        hidden = self.order is None and not self._is_finite
        return "" if hidden else order_remark(self.order, self.expected_order, self.changes)

    @property
    def _is_finite(self) -> bool:
        """Whether the last rung is, for most samples."""
        return isfinite(self.changes[-1])

    @property
    def samples_needed(self) -> int:
        """Samples from which on a model without any gap can be called the flow's.

        875 with accuracies, and 736 where only changes are counted.
        """
        return samples_needed(GAP, paired=bool(self.gaps))

    def __str__(self) -> str:
        """A few lines."""
        difference, bound = self.largest_gap
        name = "largest gap in accuracy" if self.gaps else "share that changes"
        hidden = "hidden by " + ("rounding" if self._is_finite else "outputs that are not finite")
        order = hidden if self.order is None else f"{self.order:.2f}"
        lines = [
            f"verdict: {self.verdict} ({self.samples} samples)",
            f"{name}: {100 * difference:.2f} %, at most {100 * bound:.2f} %",
            f"changed under a more powerful solver: {100 * self.flip_rate:.2f} %",
            f"certified: {100 * self.certified:.1f} %",
            f"observed order: {order}, of the solver {self.expected_order:g}",
        ]
        if self.order_remark:
            lines.append(self.order_remark)
        if self.nonfinite:
            lines.append(f"not finite: {self.nonfinite} samples")
        if self.rounding_remark:
            lines.append(self.rounding_remark)
        elif self.verdict == "undecided":
            lines.append(
                f"too few samples to be sure: {self.samples_needed} are the least, without any gap"
            )
        return "\n".join(lines)

    def to_json(self) -> str:
        """The fields as JSON, with null for infinite ratios."""
        fields = asdict(self)
        for name in ("ratios", "changes"):
            fields[name] = [x if isfinite(x) else None for x in fields[name]]
        return json.dumps(fields, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> SolverConsistencyReport:
        """The report from the `text` of `to_json`.

        Raises
        ------
        ValueError
            If the text is not a report.
        """
        try:
            fields = json.loads(text)
            fields["gaps"] = [PairedGap(**gap) for gap in fields["gaps"]]
            for name in ("ratios", "changes"):
                fields[name] = [inf if x is None else x for x in fields[name]]
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a report, as `to_json` writes them: {error}") from None

    def plot(self, axes: Sequence[Any] | None = None) -> Any:
        """Draw changes against steps, and the distribution of ratios; needs matplotlib.

        Parameters
        ----------
        axes : (2,) sequence of Axes, optional

        Returns
        -------
        Figure
        """
        from torch_bridge._consistency_plot import plot_consistency

        return plot_consistency(self, axes)
