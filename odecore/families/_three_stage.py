"""RK3(u, v): the explicit methods with three stages, order 3 and abscissae 0, u, v."""

from __future__ import annotations

from typing import Any

from odecore.families._family import Family, Rows, interpolatory_weights

__all__ = ["RK3"]


def _formula(u: Any, v: Any) -> tuple[Rows, tuple[Any, ...]]:
    """Three quadrature conditions give b; the tall tree, b3 a32 u = 1/6, gives a32."""
    b1, b2, b3 = interpolatory_weights((0, u, v))
    a32 = 1 / (6 * b3 * u)
    return ((), (u,), (v - a32, a32)), (b1, b2, b3)


def _factors(u: Any, v: Any) -> tuple[Any, ...]:
    return (u, v, u - v, 3 * u - 2)


RK3 = Family("RK3", ("u", "v"), 3, _formula, _factors)
