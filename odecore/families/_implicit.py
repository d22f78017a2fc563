"""Implicit families: SDIRK2(gamma, c), two-stage collocation (c1, c2), the theta method."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from odecore.exact import QuadraticNumber
from odecore.families._family import Family, Rows
from odecore.families._quadrature import interpolatory_weights

__all__ = ["COLLOCATION2", "SDIRK2", "THETA"]

F = Fraction


def _sdirk2(gamma: Any, c: Any) -> tuple[Rows, tuple[Any, ...]]:
    """b1 + b2 = 1 and b1 gamma + b2 c = 1/2, with abscissae gamma and c.

    R(z) depends on gamma alone, as trace and determinant of A do.
    """
    b2 = (1 - 2 * gamma) / (2 * (c - gamma))
    return ((gamma, 0 * gamma), (c - gamma, gamma)), (1 - b2, b2)


def _sdirk2_factors(gamma: Any, c: Any) -> tuple[Any, ...]:
    return (c - gamma,)


SDIRK2 = Family(
    "SDIRK2",
    ("gamma", "c"),
    2,
    _sdirk2,
    _sdirk2_factors,
    members=(
        ("alexander2", (QuadraticNumber(1, F(-1, 2), 2), F(1))),
        (
            "crouzeix3",
            (QuadraticNumber(F(1, 2), F(1, 6), 3), QuadraticNumber(F(1, 2), F(-1, 6), 3)),
        ),
        ("qin_zhang", (F(1, 4), F(3, 4))),
    ),
)


def _collocation(c1: Any, c2: Any) -> tuple[Rows, tuple[Any, ...]]:
    """a_ij is the integral of the j-th Lagrange polynomial over [0, c_i], b_j over [0, 1]."""
    nodes = (c1, c2)
    rows = tuple(interpolatory_weights(nodes, end) for end in nodes)
    return rows, interpolatory_weights(nodes)


def _collocation_factors(c1: Any, c2: Any) -> tuple[Any, ...]:
    return (c1 - c2,)


COLLOCATION2 = Family(
    "COLLOCATION2",
    ("c1", "c2"),
    2,
    _collocation,
    _collocation_factors,
    members=(
        ("trapezoidal", (F(0), F(1))),
        ("radau_iia2", (F(1, 3), F(1))),
        ("gauss2", (QuadraticNumber(F(1, 2), F(-1, 6), 3), QuadraticNumber(F(1, 2), F(1, 6), 3))),
    ),
)


def _theta(theta: Any) -> tuple[Rows, tuple[Any, ...]]:
    b = (1 - theta, theta)
    return ((0 * theta, 0 * theta), b), b


def _theta_factors(theta: Any) -> tuple[Any, ...]:
    return ()


THETA = Family(
    "THETA", ("theta",), 1, _theta, _theta_factors, members=(("trapezoidal", (F(1, 2),)),)
)
