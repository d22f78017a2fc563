"""Explicit methods with four stages: all of order 4, and those of order 3 with R(z) to choose."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from odecore.exact import QuadraticNumber
from odecore.families._family import Family, Rows

__all__ = ["RK3S4", "RK4", "RK4A", "RK4B", "RK4C"]

F = Fraction


def _stages(u: Any, v: Any, b: tuple[Any, ...]) -> Rows:
    """Solve for A in an order that makes each step linear.

    Every explicit method with s = p = 4 has c4 = 1 and satisfies the simplifying assumption D(1),
    sum_i b_i a_ij = b_j (1 - c_j) (Butcher; Hairer, Norsett, Wanner I, lemma II.1.4). So:
    D(1) for j = 3 gives a43; the tall tree b4 a43 a32 u = 1/24 gives a32; D(1) for j = 2 gives a42.
    """
    _, b2, b3, b4 = b
    a43 = b3 * (1 - v) / b4
    a32 = 1 / (24 * b4 * a43 * u)
    a42 = (b2 * (1 - u) - b3 * a32) / b4
    return ((), (u,), (v - a32, a32), (1 - a42 - a43, a42, a43))


def _weights(u: Any, v: Any) -> tuple[Any, ...]:
    """The quadrature of nodes 0, u, v, 1, of order 4; see `interpolatory_weights`."""
    d = 12 * (v - u)
    return (
        (6 * u * v - 2 * (u + v) + 1) / (12 * u * v),
        (2 * v - 1) / (u * (1 - u) * d),
        (1 - 2 * u) / (v * (1 - v) * d),
        (6 * u * v - 4 * (u + v) + 3) / (12 * (1 - u) * (1 - v)),
    )


def _formula(u: Any, v: Any) -> tuple[Rows, tuple[Any, ...]]:
    """Quadrature gives b."""
    b = _weights(u, v)
    return _stages(u, v, b), b


def _factors(u: Any, v: Any, *_: Any) -> tuple[Any, ...]:
    return (u, u - 1, 2 * u - 1, v, v - 1, u - v, 6 * u * v - 4 * u - 4 * v + 3)


RK4 = Family(
    "RK4",
    ("u", "v"),
    4,
    _formula,
    _factors,
    members=(
        ("three_eighths", (F(1, 3), F(2, 3))),
        ("ralston4", (F(2, 5), QuadraticNumber(F(7, 8), F(-3, 16), 5))),
    ),
)


def _sixth(w: Any) -> Any:
    """The number 1/6 of w's field, or array library."""
    return (w / w) / 6


def _first_repeated(w: Any) -> tuple[Rows, tuple[Any, ...]]:
    """C = (0, 1/2, 0, 1): Simpson's weights, with b1 + b3 = 1/6 shared out by w = b3."""
    sixth = _sixth(w)
    b = (sixth - w, 4 * sixth, w, sixth)
    return _stages(3 * sixth, 0 * sixth, b), b


def _middle_repeated(w: Any) -> tuple[Rows, tuple[Any, ...]]:
    """C = (0, 1/2, 1/2, 1): Simpson's weights, with b2 + b3 = 2/3 shared out by w = b3."""
    sixth = _sixth(w)
    b = (sixth, 4 * sixth - w, w, sixth)
    return _stages(3 * sixth, 3 * sixth, b), b


def _last_repeated(w: Any) -> tuple[Rows, tuple[Any, ...]]:
    """C = (0, 1, 1/2, 1): Simpson's weights, with b2 + b4 = 1/6 shared out by w = b4."""
    sixth = _sixth(w)
    b = (sixth, sixth - w, 4 * sixth, w)
    return _stages(6 * sixth, 3 * sixth, b), b


def _nonzero(w: Any) -> tuple[Any, ...]:
    return (w,)


RK4A = Family("RK4A", ("w",), 4, _first_repeated, _nonzero)
RK4B = Family(
    "RK4B",
    ("w",),
    4,
    _middle_repeated,
    _nonzero,
    members=(("classic", (F(1, 3),)), ("gill", (QuadraticNumber(F(1, 3), F(1, 6), 2),))),
)
RK4C = Family("RK4C", ("w",), 4, _last_repeated, _nonzero)


def _free_tall_tree(u: Any, v: Any, d: Any) -> tuple[Rows, tuple[Any, ...]]:
    """R(z) = 1 + z + z^2/2 + z^3/6 + d z^4 with quadrature of order 4.

    D(1) for j = 3 gives a43; the tall tree b4 a43 a32 u = d gives a32; the condition of order 3,
    sum b_i a_ij c_j = 1/6, gives a42. At d = 1/24 this is RK4(u, v).
    """
    b = _weights(u, v)
    _, _b2, b3, b4 = b
    a43 = b3 * (1 - v) / b4
    a32 = d / (b4 * a43 * u)
    a42 = (1 - 6 * b3 * a32 * u - 6 * b4 * a43 * v) / (6 * b4 * u)
    return ((), (u,), (v - a32, a32), (1 - a42 - a43, a42, a43)), b


RK3S4 = Family("RK3S4", ("u", "v", "d"), 3, _free_tall_tree, _factors)
