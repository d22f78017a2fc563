"""Why a method converges more slowly than its order says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, isnan, log2
from statistics import median

__all__ = ["SHORT", "observed_order", "order_remark"]

SHARE_SEEN = 0.5  # of samples whose order must show for their median to stand for all
SHORT = 0.5  # below its order by which a method has not shown it
RISING = 0.5  # from the first to the last rungs, beyond what scatters
#: A jump of derivative number q - 1 leaves order q; above which observed order q is told.
JUMPS = (
    (2.5, 3, "its second derivative jumps (as of ELU)"),
    (1.25, 2, "its first derivative jumps (as of ReLU, abs, clamp, max)"),
    (0.7, 1, "it jumps itself (as sign, round, comparisons)"),
)


def observed_order(orders: Sequence[Sequence[float]], expected: float) -> float | None:
    """Median order of samples on the last rungs that show it; None where rounding hides it.

    Parameters
    ----------
    orders : sequence of sequence of float
        Of each two consecutive changes, then of each sample; NaN where rounding may hide it.
    expected : float

    Notes
    -----
    The rungs are the same for all samples, so that none is taken for its order. Where rounding
    hides the last ones, an order that is short on earlier ones counts only if it has not risen
    by more than 1/2 from those before: else, and on the first, it may not have shown itself yet.
    (An order that is off by e because of the next term of the error, e halving at each rung, has
    risen by e.)
    """
    last = len(orders) - 1
    for k in range(last, -1, -1):
        seen = [j for j, order in enumerate(orders[k]) if not isnan(order)]
        if len(seen) <= SHARE_SEEN * len(orders[k]):
            continue
        order = median(orders[k][j] for j in seen)
        if k == last or order >= expected - SHORT:
            return order
        before = [orders[k - 1][j] for j in seen if not isnan(orders[k - 1][j])] if k else []
        return order if before and order - median(before) <= RISING else None
    return None


def order_remark(order: float | None, expected: float, changes: Sequence[float]) -> str:
    """What an observed order below the solver's looks like, or where to see a hidden one.

    Empty where it is seen and not below.

    Parameters
    ----------
    order : float or None
        Observed; None where rounding hides it.
    expected : float
    changes : sequence of float
        From each rung to the next: an order that rises along them has not shown itself yet.

    Notes
    -----
    Across a jump of derivative number k of the right-hand side one step has an error of O(h^(k+1)),
    so that any method of higher order converges with order k + 1 (Hairer, Norsett, Wanner, Solving
    ODEs I, II.6). This is told from the numbers alone, and another reason may give the same.
    """
    if order is None:
        return (
            "an order below the solver's, as kinks (ReLU) leave it, would not show: to see it take "
            "a wider dtype, as model.double() with inputs in float64, or fewer steps"
        )
    if order >= expected - SHORT:
        return ""
    shown = [change for change in changes if change > 0 and isfinite(change)]
    slopes = [log2(a / b) for a, b in pairwise(shown)]
    if len(slopes) > 1 and slopes[-1] - slopes[0] > RISING:
        rungs = ", ".join(f"{slope:.1f}" for slope in slopes)
        return (
            f"the order still rises along the rungs ({rungs}): its steps are too large to show it"
        )
    for least, q, what in JUMPS:
        if order >= least and q < expected:
            return (
                f"order {q} is what a right-hand side leaves where {what}: if yours does, the "
                f"model may be a flow's all the same; give order={q} to judge it so"
            )
    return (
        "changes fall more slowly than any order explains: is the right-hand side a function of t "
        "and y alone (see check_rhs)?"
    )
