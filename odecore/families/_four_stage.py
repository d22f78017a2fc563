"""RK4(u, v): the explicit methods with four stages, order 4 and abscissae 0, u, v, 1."""

from __future__ import annotations

from typing import Any

from odecore.families._family import Family, Rows, interpolatory_weights

__all__ = ["RK4"]


def _formula(u: Any, v: Any) -> tuple[Rows, tuple[Any, ...]]:
    """Solve the eight order conditions in an order that makes each step linear.

    Every explicit method with s = p = 4 has c4 = 1 and satisfies the simplifying assumption D(1),
    sum_i b_i a_ij = b_j (1 - c_j) (Butcher; Hairer, Norsett, Wanner I, lemma II.1.4). So:
    quadrature gives b; D(1) for j = 3 gives a43; the tall tree b4 a43 a32 u = 1/24 gives a32;
    D(1) for j = 2 gives a42.
    """
    b1, b2, b3, b4 = interpolatory_weights((0, u, v, 1))
    a43 = b3 * (1 - v) / b4
    a32 = 1 / (24 * b4 * a43 * u)
    a42 = (b2 * (1 - u) - b3 * a32) / b4
    rows = ((), (u,), (v - a32, a32), (1 - a42 - a43, a42, a43))
    return rows, (b1, b2, b3, b4)


def _factors(u: Any, v: Any) -> tuple[Any, ...]:
    return (u, u - 1, 2 * u - 1, v, v - 1, u - v, 6 * u * v - 4 * u - 4 * v + 3)


RK4 = Family("RK4", ("u", "v"), 4, _formula, _factors)
