"""RK2(u): all explicit methods with two stages and order 2."""

from __future__ import annotations

from typing import Any

from odecore.families._family import Family, Rows

__all__ = ["RK2"]


def _formula(u: Any) -> tuple[Rows, tuple[Any, ...]]:
    """Solve b1 + b2 = 1, b2 u = 1/2 with c = (0, u)."""
    b2 = 1 / (2 * u)
    return ((), (u,)), (1 - b2, b2)


def _factors(u: Any) -> tuple[Any, ...]:
    return (u,)


RK2 = Family("RK2", ("u",), 2, _formula, _factors)
