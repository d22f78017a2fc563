"""Why a method converges more slowly than its order says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, log2

__all__ = ["SHORT", "order_remark"]

SHORT = 0.5  # below its order by which a method has not shown it
RISING = 0.5  # from the first to the last rungs, beyond what scatters
#: A jump of derivative number q - 1 leaves order q; above which observed order q is told.
JUMPS = (
    (2.5, 3, "its second derivative jumps (as of ELU)"),
    (1.25, 2, "its first derivative jumps (as of ReLU, abs, clamp, max)"),
    (0.7, 1, "it jumps itself (as sign, round, comparisons)"),
)


def order_remark(order: float | None, expected: float, changes: Sequence[float]) -> str:
    """What an observed order below the solver's looks like; empty where it is not below.

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
    if order is None or order >= expected - SHORT:
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
