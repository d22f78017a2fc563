"""Initial value problems with exact solutions: nonlinear, coupled and non-autonomous."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PROBLEMS", "InitialValueProblem"]


@dataclass(frozen=True)
class InitialValueProblem:
    """y' = f(t, y) on an interval, with its solution.

    Parameters
    ----------
    name : str
    f : callable
        (t, y) to an array like y.
    exact : callable
        t to y(t), an array of shape (n,); complex if f is.
    t_span : (float, float)
    """

    name: str
    f: Callable[[Any, Any], Any]
    exact: Callable[[float], Any]
    t_span: tuple[float, float]

    @property
    def y0(self) -> Any:
        """State at the beginning."""
        return self.exact(self.t_span[0])

    def __repr__(self) -> str:
        return f"InitialValueProblem({self.name!r}, t_span={self.t_span})"


def _riccati(t: Any, y: Any) -> Any:
    return -2 * t * y**2


def _coupled(t: Any, y: Any) -> Any:
    return np.array([y[0] * y[1], -np.sin(t) - (y[1] - np.cos(t)) * y[0]], dtype=y.dtype)


def _rotation(t: Any, y: Any) -> Any:
    # A rotation whose speed depends on time and on the kept radius.
    speed = (1 + np.cos(t)) * (y[0] ** 2 + y[1] ** 2)
    return np.array([-speed * y[1], speed * y[0]], dtype=y.dtype)


def _riccati_solution(t: float) -> Any:
    return np.array([1 / (1 + t * t)])


def _coupled_solution(t: float) -> Any:
    return np.array([np.exp(np.sin(t)), np.cos(t)])


def _rotation_solution(t: float) -> Any:
    return np.array([np.cos(t + np.sin(t)), np.sin(t + np.sin(t))])


# Functions of the module, so that they can be pickled.
PROBLEMS: tuple[InitialValueProblem, ...] = (
    InitialValueProblem("riccati", _riccati, _riccati_solution, (0.0, 1.3)),
    InitialValueProblem("coupled", _coupled, _coupled_solution, (0.2, 1.7)),
    InitialValueProblem("rotation", _rotation, _rotation_solution, (0.0, 1.5)),
)
