"""Explicit methods with two stages: RK2(u) of order 2, and RK1S2(u, d) of order 1."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from odecore.families._family import Family, Rows

__all__ = ["RK1S2", "RK2"]


def _formula(u: Any) -> tuple[Rows, tuple[Any, ...]]:
    """Solve b1 + b2 = 1, b2 u = 1/2 with c = (0, u)."""
    b2 = 1 / (2 * u)
    return ((), (u,)), (1 - b2, b2)


def _factors(u: Any, *_: Any) -> tuple[Any, ...]:
    return (u,)


RK2 = Family(
    "RK2",
    ("u",),
    2,
    _formula,
    _factors,
    members=(
        ("midpoint", (Fraction(1, 2),)),
        ("ralston", (Fraction(2, 3),)),
        ("heun", (Fraction(1),)),
    ),
)


def _one_more_stage(u: Any, d: Any) -> tuple[Rows, tuple[Any, ...]]:
    """R(z) = 1 + z + d z^2 with d = b2 u; order 2 where d = 1/2."""
    b2 = d / u
    return ((), (u,)), (1 - b2, b2)


RK1S2 = Family("RK1S2", ("u", "d"), 1, _one_more_stage, _factors)
