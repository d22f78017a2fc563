"""Error estimators and dense output for families: what the stages and f(y1) allow, derived."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from odecore.exact import Polynomial
from odecore.families._bound import Bound
from odecore.families._family import Family, Rows
from odecore.families._four_stage import RK4, RK4B
from odecore.families._three_stage import RK3

__all__ = ["RK3_PAIR", "RK4B_PAIR", "RK4_PAIR", "cubic_dense_output"]


def _appended(family: Family, *values: Any) -> tuple[Rows, tuple[Any, ...]]:
    """The formula with f(y1) as last stage (FSAL); the family's parameters come first."""
    rows, b = family.formula(*values[: len(family.parameters)])
    return (*rows, b), (*b, 0 * values[0])


def _third_order_estimator(u: Any, v: Any, g: Any, h: Any) -> tuple[Any, ...]:
    """b_hat = b + d, d = (d1, d2, g, h) with sum d = 0 and sum d c = 0: two numbers are free."""
    _, b = RK3.formula(u, v)
    d2 = -(g * v + h) / u
    return (b[0] - d2 - g - h, b[1] + d2, b[2] + g, h)


def _third_order_factors(u: Any, v: Any, g: Any, h: Any) -> tuple[Any, ...]:
    return (*RK3.factors(u, v), g * g + h * h)  # at g = h = 0 b_hat is b


RK3_PAIR = Family(
    "RK3_PAIR",
    ("u", "v", "g", "h"),
    3,
    Bound(_appended, (RK3,)),
    _third_order_factors,
    estimator=_third_order_estimator,
    embedded_order=2,
    members=(("bosh3", (Fraction(1, 2), Fraction(3, 4), Fraction(-1, 9), Fraction(1, 8))),),
)


def _fourth_order_estimator(u: Any, v: Any, h: Any) -> tuple[Any, ...]:
    """b_hat = b + h e: the only order-3 estimators, none of them without f(y1).

    The four conditions of order 3 on e, with e_5 = 1, are solved by elimination: the conditions on
    sum e c^k give e2, e3 in terms of e4; sum e_i a_ij c_j = 0 is linear in e4.
    """
    rows, b = RK4.formula(u, v)
    # With e5 = 1: e2 u + e3 v + e4 = -1 and e2 u^2 + e3 v^2 + e4 = -1, so e4 = -1 - s where
    # e2 = s (1 - v)/(u (u - v)) and e3 = s (u - 1)/(v (u - v)) for the free number s.
    tall3 = rows[2][1] * u
    tall4 = rows[3][1] * u + rows[3][2] * v
    e3 = (u - 1) / (v * (u - v))  # times s
    s = (tall4 - (b[1] * u + b[2] * v + b[3])) / (e3 * tall3 - tall4)
    e2, e3, e4 = s * (1 - v) / (u * (u - v)), s * e3, -1 - s
    e1 = -(e2 + e3 + e4 + 1)
    return (*(w + h * e for w, e in zip(b, (e1, e2, e3, e4), strict=True)), h)


def _fourth_order_factors(u: Any, v: Any, h: Any) -> tuple[Any, ...]:
    return (*RK4.factors(u, v), h)


RK4_PAIR = Family(
    "RK4_PAIR",
    ("u", "v", "h"),
    4,
    Bound(_appended, (RK4,)),
    _fourth_order_factors,
    estimator=_fourth_order_estimator,
    embedded_order=3,
)


def _middle_repeated_estimator(w: Any, h: Any) -> tuple[Any, ...]:
    """b_hat = b + h (0, 0, 0, -1, 1)."""
    _, b = RK4B.formula(w)
    return (b[0], b[1], b[2], b[3] - h, h)


def _middle_repeated_factors(w: Any, h: Any) -> tuple[Any, ...]:
    return (w, h)


RK4B_PAIR = Family(
    "RK4B_PAIR",
    ("w", "h"),
    4,
    Bound(_appended, (RK4B,)),
    _middle_repeated_factors,
    estimator=_middle_repeated_estimator,
    embedded_order=3,
)


def cubic_dense_output(method: Any, /) -> tuple[Polynomial, ...]:
    """The unique interpolant of order 3 that four stages allow, for a family or one method.

    Parameters
    ----------
    method : object with `A` and `b`
        With four stages (a member of RK4 or of RK3_PAIR, or the family itself).

    Returns
    -------
    tuple of Polynomial
        b_i(theta), cubic, with coefficients in the method's field: y(t + theta h) = y + h sum_i
        b_i(theta) k_i + O(h^4).

    Raises
    ------
    TypeError
        If the method has no coefficients, such as a name.
    ValueError
        If the method has not four stages, `A` is not square, or the four conditions do not
        determine the weights.

    Notes
    -----
    Hairer, Norsett, Wanner I, section II.6: solve sum b_i = theta, sum b_i c_i = theta^2/2,
    sum b_i c_i^2 = theta^3/3, sum b_i a_ij c_j = theta^3/6, one power of theta after the other.
    """
    if not hasattr(method, "A"):
        raise TypeError(
            f"`method` must have coefficients `A`, got {type(method).__name__}; look a name up "
            "with odecore.tableaux.tableau"
        )
    A = [list(row) for row in method.A]
    s = len(A)
    if s != 4:
        raise ValueError(f"a unique cubic needs 4 stages, as many as conditions; got {s}")
    if any(len(row) != s for row in A):
        raise ValueError(
            f"`A` must have {s} rows of length {s}, as those of a ButcherTableau, got rows of "
            f"lengths {[len(row) for row in A]}"
        )
    c = [sum(row, Fraction(0)) for row in A]
    tall = [sum((a * x for a, x in zip(row, c, strict=True)), Fraction(0)) for row in A]
    zero = sum(c, Fraction(0)) * 0
    right = ((1, 0, 0), (0, Fraction(1, 2), 0), (0, 0, Fraction(1, 3)), (0, 0, Fraction(1, 6)))
    lefts: tuple[list[Any], ...] = ([1] * s, c, [x * x for x in c], tall)
    rows: list[list[Any]] = [
        [zero + x for x in (*left, *values)] for left, values in zip(lefts, right, strict=True)
    ]
    for k in range(s):
        pivot = next((i for i in range(k, s) if rows[i][k] != 0), None)
        if pivot is None:
            raise ValueError("the conditions of order 3 do not determine the weights")
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(s):
            if i != k and rows[i][k] != 0:
                rows[i] = [x - rows[i][k] * y for x, y in zip(rows[i], rows[k], strict=True)]
    return tuple(Polynomial((0, *row[s:])) for row in rows)
