"""Explicit methods with three stages: all of order 3, and those of order 2 with R(z) to choose."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from odecore.families._family import Family, Rows
from odecore.families._quadrature import interpolatory_weights

__all__ = ["RK2S3", "RK3", "RK3A", "RK3B"]

F = Fraction


def _formula(u: Any, v: Any) -> tuple[Rows, tuple[Any, ...]]:
    """Three quadrature conditions give b; the tall tree, b3 a32 u = 1/6, gives a32."""
    b = interpolatory_weights((0, u, v))
    a32 = 1 / (6 * b[2] * u)
    return ((), (u,), (v - a32, a32)), b


def _factors(u: Any, v: Any, *_: Any) -> tuple[Any, ...]:
    return (u, v, u - v, 3 * u - 2)


RK3 = Family(
    "RK3",
    ("u", "v"),
    3,
    _formula,
    _factors,
    members=(
        ("heun3", (F(1, 3), F(2, 3))),
        ("kutta3", (F(1, 2), F(1))),
        ("ralston3", (F(1, 2), F(3, 4))),
        ("ssp33", (F(1), F(1, 2))),
        ("wray3", (F(8, 15), F(2, 3))),
        ("williamson3", (F(1, 3), F(3, 4))),
    ),
)


def _equal_nodes(w: Any) -> tuple[Rows, tuple[Any, ...]]:
    """C = (0, 2/3, 2/3): quadrature fixes b1 and b2 + b3, the tall tree a32 = 1/(4 w)."""
    one = 4 * w / (4 * w)
    a32 = 1 / (4 * w)
    return ((), (2 * one / 3,), (2 * one / 3 - a32, a32)), (one / 4, 3 * one / 4 - w, w)


def _returning_node(w: Any) -> tuple[Rows, tuple[Any, ...]]:
    """C = (0, 2/3, 0): quadrature fixes b2 and b1 + b3, the tall tree a32 = 1/(4 w)."""
    one = 4 * w / (4 * w)
    a32 = 1 / (4 * w)
    return ((), (2 * one / 3,), (-a32, a32)), (one / 4 - w, 3 * one / 4, w)


def _nonzero(w: Any) -> tuple[Any, ...]:
    return (w,)


RK3A = Family("RK3A", ("w",), 3, _equal_nodes, _nonzero, members=(("nystrom3", (F(3, 8),)),))
RK3B = Family("RK3B", ("w",), 3, _returning_node, _nonzero)


def _free_tall_tree(u: Any, v: Any, d: Any) -> tuple[Rows, tuple[Any, ...]]:
    """R(z) = 1 + z + z^2/2 + d z^3 with quadrature of order 3; the tall tree is b3 a32 u = d."""
    b = interpolatory_weights((0, u, v))
    a32 = d / (b[2] * u)
    return ((), (u,), (v - a32, a32)), b


RK2S3 = Family("RK2S3", ("u", "v", "d"), 2, _free_tall_tree, _factors)
