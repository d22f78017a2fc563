"""Newton's method for the stages of an implicit step: Jacobians, linear solves, convergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import device

from odecore._array import limits, namespace

__all__ = ["Newton", "finite_difference_jacobian", "iterate"]

LARGE = 400  # unknowns from which on matrices are not formed


@dataclass(frozen=True)
class Newton:
    """How the equations of implicit stages are solved.

    Parameters
    ----------
    jacobian : callable, optional
        `jacobian(t, y)`, df/dy as an (n, n) array for states of n entries in their flat order, or
        as (2n, 2n) for complex ones, real parts before imaginary parts. By default differences
        are taken; an array library that differentiates does better, say with ``jax.jacfwd``.
    linear_solver : {"direct", "krylov"}, optional
        With matrices, or with GMRES and products (df/dy) v from differences of `fun`. By default
        direct up to 400 unknowns.
    tolerance : float, optional
        Error of the stages in units of the step's tolerance, in adaptive steps. In given steps
        Newton's method goes on until rounding.
    max_iterations : int, optional

    Raises
    ------
    ValueError
        If a number is not positive, or for another linear solver.
    """

    jacobian: Callable[[Any, Any], Any] | None = None
    linear_solver: str | None = None
    tolerance: float = 0.01
    max_iterations: int = 30

    def __post_init__(self) -> None:
        if self.linear_solver not in (None, "direct", "krylov"):
            raise ValueError(
                f"`linear_solver` must be 'direct' or 'krylov', got {self.linear_solver!r}"
            )
        if not self.tolerance > 0 or self.max_iterations < 1:
            raise ValueError(
                "`tolerance` and `max_iterations` must be positive, got "
                f"{self.tolerance} and {self.max_iterations}"
            )

    def direct(self, unknowns: int) -> bool:
        """Whether matrices are formed."""
        return self.linear_solver == "direct" or (self.linear_solver is None and unknowns <= LARGE)


def finite_difference_jacobian(
    fun: Callable[[Any, Any], Any], t: Any, y: Any, value: Any
) -> tuple[Any, int]:
    """df/dy of a real flat state (n,), one column for each evaluation."""
    xp = namespace(y)
    root = float(limits(y).eps) ** 0.5
    eye = xp.eye(y.shape[0], dtype=y.dtype, device=device(y))
    columns = []
    for j in range(y.shape[0]):
        step = root * max(abs(float(y[j])), 1e-3 * float(xp.max(xp.abs(y))), 1e-6)
        columns.append((fun(t, y + step * eye[j, ...]) - value) / step)
    return xp.stack(columns, axis=1), y.shape[0]


def iterate(
    correction: Callable[[Any], Any],
    size: Callable[[Any], float],
    start: Any,
    limit: float,
    floor: float,
    max_iterations: int,
) -> tuple[Any, int, bool | None]:
    """Newton's method: x <- x + correction(x), until the next correction would be small.

    Parameters
    ----------
    correction : callable
        Of arrays like `start`.
    size : callable
        Norm of a correction.
    start : array
    limit : float
        Size of the error at which x is good; the error is estimated by the rate of convergence
        (Hairer and Wanner II, section IV.8).
    floor : float
        Size at which corrections are rounding.
    max_iterations : int

    Returns
    -------
    x : array
    int
        Iterations.
    bool or None
        Whether it converged; None where a correction was not finite.
    """
    x, last = start, 0.0
    for k in range(1, max_iterations + 1):
        change = correction(x)
        length = size(change)
        if not length < float("inf"):
            return x, k, None
        x = x + change
        if length <= floor:
            return x, k, True
        if k > 1:
            rate = length / last
            if rate >= 1:
                return x, k, length <= 100 * floor
            if rate / (1 - rate) * length <= limit:
                return x, k, True
        last = length
    return x, max_iterations, False
