"""Initial value problems that solvers are compared on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["PROBLEMS", "Problem"]


@dataclass(frozen=True)
class Problem:
    """A right-hand side in the arithmetic of any array library.

    Parameters
    ----------
    name : str
    field : callable
        From (t, entries of y) to the entries of y'.
    end : float
    y0 : tuple of float
    smallest : float, optional
        Size below which entries count as absolute; scales the absolute tolerance.
    stiff : bool, optional
        Whether implicit methods are compared.
    error : float, optional
        At which runs are compared in the table.
    """

    name: str
    field: Callable[..., tuple[Any, ...]]
    end: float
    y0: tuple[float, ...]
    smallest: float = 1.0
    stiff: bool = False
    error: float = 1e-6


def _arenstorf(t: Any, x: Any, y: Any, u: Any, v: Any) -> tuple[Any, ...]:
    """The restricted problem of three bodies, Hairer, Norsett, Wanner I, equation II.0.1."""
    moon = 0.012277471
    first, second = (x + moon) ** 2 + y**2, (x - 1 + moon) ** 2 + y**2
    a, b = (1 - moon) / first**1.5, moon / second**1.5
    return (
        u,
        v,
        x + 2 * v - a * (x + moon) - b * (x - 1 + moon),
        y - 2 * u - a * y - b * y,
    )


def _kepler(t: Any, x: Any, y: Any, u: Any, v: Any) -> tuple[Any, ...]:
    r = (x**2 + y**2) ** 1.5
    return u, v, -x / r, -y / r


PROBLEMS = (
    Problem(
        "Lotka-Volterra",
        lambda t, x, y: (1.5 * x - x * y, -3 * y + x * y),
        10.0,
        (10.0, 5.0),
    ),
    Problem(
        "Brusselator",
        lambda t, x, y: (1 + x**2 * y - 4 * x, 3 * x - x**2 * y),
        10.0,
        (1.5, 3.0),
    ),
    Problem("van der Pol", lambda t, x, y: (y, 5 * (1 - x**2) * y - x), 10.0, (2.0, 0.0)),
    Problem("Kepler", _kepler, 10.0, (0.4, 0.0, 0.0, 2.0)),
    Problem(
        "Arenstorf",
        _arenstorf,
        17.0652165601579625588917206249,
        (0.994, 0.0, 0.0, -2.00158510637908252240537862224),
        error=1e-2,  # errors grow by 1e4 in one revolution
    ),
    Problem(
        "Lorenz",
        lambda t, x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z),
        3.0,
        (1.0, 1.0, 1.0),
    ),
    Problem(
        "Robertson",
        lambda t, x, y, z: (
            -0.04 * x + 1e4 * y * z,
            0.04 * x - 1e4 * y * z - 3e7 * y**2,
            3e7 * y**2,
        ),
        40.0,
        (1.0, 0.0, 0.0),
        smallest=1e-4,
        stiff=True,
    ),
)
