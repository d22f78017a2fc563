"""Newton's method for the stages of an implicit step: Jacobians, linear solves, convergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from array_api_compat import device, is_array_api_obj

from odecore._array import constant, constant_like, is_like, limits, namespace
from odecore._flags import require_flags
from odecore.solve._kinds import require_callable, require_count, require_number

__all__ = [
    "Newton", "NoMatrixError", "approach", "checked_jacobian", "finite_difference_jacobian",
    "iterate", "typical_sizes",
]  # fmt: skip

LARGE = 400  # unknowns above which matrices are not formed at first
LARGEST = 4000  # and above which they are not formed unasked: each would have 128 MB
LEAST = 2.0**-12  # share of a correction below which there is no way down


@dataclass(frozen=True)
class Newton:
    """How the equations of implicit stages are solved.

    Parameters
    ----------
    jacobian : callable, optional
        `jacobian(t, y)`, df/dy as an (n, n) array for states of n entries in their flat order, or
        as (2n, 2n) for complex ones, real parts before imaginary parts. By default differences
        are taken; an array library that differentiates does better, say with ``jax.jacfwd``.
        Of real states (m, ...) of m samples that do not see each other it may be (m, n/m, n/m), a
        block for each: then no larger matrices are formed. Where it is None, a step goes on without
        a `jacobian`.
    linear_solver : {"direct", "krylov"}, optional
        With matrices, or with restarted GMRES and products (df/dy) v, which are differences of
        `fun` where there is no `jacobian`. By default direct with a `jacobian`, and without one up
        to 400 unknowns: the entries of the state times the stages that are solved for together.
        Once GMRES stagnates, or a step costs more than four evaluations for each unknown, the solve
        goes on with matrices, for states of up to 4000 entries; that needs several arrays of
        entries^2 numbers. Stages of fully implicit methods are decoupled then, by the eigenvalues
        of the method's matrix.
    tolerance : float, optional
        Error of the stages in units of the step's tolerance, in adaptive steps. In given steps
        Newton's method goes on until rounding.
    max_iterations : int, optional
        At least 2, of each attempt: with the Jacobian at the start of the step, with new ones, and
        in given steps, which can not be made smaller, with corrections cut short until they shrink.
    differentiate : callable, optional
        How gradients pass stages that are solved for without matrices, in an array library that
        records them; `torch_bridge` gives its own. `differentiate(fun, times, states, stages,
        transposed)` returns the `stages`, where the gradients g of all go to the values of `fun`
        at times and states as `transposed(pulls, g)`; its pulls v -> (df/dy)^T v are at these
        states.
    samples : bool, optional
        Whether the state is real and its first axis counts samples that do not see each other:
        differences for a Jacobian are then taken in all of them at once, and unknowns are counted
        for one. Where samples do see each other iterations are more, or do not converge, and
        gradients through the steps are wrong.

    Raises
    ------
    ValueError, TypeError
        If a number is not positive, a function not callable with these arguments, or for another
        linear solver.
    """

    jacobian: Callable[[Any, Any], Any] | None = None
    linear_solver: str | None = None
    tolerance: float = 0.01
    max_iterations: int = 30
    differentiate: Callable[..., list[Any]] | None = None
    samples: bool = False

    def __post_init__(self) -> None:
        named = isinstance(self.linear_solver, str) and self.linear_solver in ("direct", "krylov")
        if not (self.linear_solver is None or named):
            raise ValueError(
                f"`linear_solver` must be 'direct' or 'krylov', got {self.linear_solver!r}"
            )
        require_callable("jacobian", self.jacobian, "jacobian(t, y), giving a matrix", 2)
        require_callable("differentiate", self.differentiate, "differentiate(fun, times, ...)")
        require_flags(samples=self.samples)
        require_number("tolerance", self.tolerance)
        require_count("max_iterations", self.max_iterations)
        if not self.tolerance > 0 or self.max_iterations < 2:
            raise ValueError(
                "`tolerance` must be positive, and `max_iterations` at least 2, as two corrections "
                f"show whether they shrink; got {self.tolerance} and {self.max_iterations}"
            )

    def direct(self, unknowns: int) -> bool:
        """Whether matrices are formed for so many `unknowns`."""
        if self.linear_solver is None:
            return self.jacobian is not None or unknowns <= LARGE
        return self.linear_solver == "direct"

    def may_change(self, unknowns: int) -> bool:
        """Whether matrices may follow where products turn out dear for so many `unknowns`."""
        return self.linear_solver is None and unknowns <= LARGEST


class NoMatrixError(Exception):
    """A given `jacobian` is None."""


def checked_jacobian(found: Any, flat: Any, state: Any) -> Any:
    """What a given `jacobian` has returned, as an array like the `flat` real state (n,).

    It is (n, n), or (m, n/m, n/m) where there is a `state` (m, ...) of samples.
    """
    if found is None:
        raise NoMatrixError
    found, n = constant(found), flat.shape[0]
    if not is_array_api_obj(found):
        raise TypeError(
            f"`jacobian` must return an array of shape ({n}, {n}), got {type(found).__name__}"
        )
    shapes: list[tuple[int, ...]] = [(n, n)]
    if state is not None and state.shape:
        m = state.shape[0]
        shapes.append((m, n // m, n // m))
    if tuple(found.shape) not in shapes:
        raise ValueError(
            f"`jacobian` must return an array of shape {' or '.join(map(str, shapes))} for a state "
            f"of {n} entries, got {tuple(found.shape)}"
        )
    if namespace(found).isdtype(found.dtype, "complex floating"):
        raise TypeError(
            f"`jacobian` must return real numbers, got {found.dtype}: for a complex state df/dy "
            "has real parts before imaginary parts, in its rows and columns"
        )
    fits = is_like(found, flat) and found.dtype == flat.dtype
    return found if fits else constant_like(found, flat)


def finite_difference_jacobian(
    fun: Callable[[Any, Any], Any], t: Any, y: Any, value: Any, h: float, samples: int | None = None
) -> tuple[Any, int]:
    """df/dy of a real flat state (n,), one column for each evaluation, of all samples at once.

    `value` is f(t, y), and h the step for which the derivative is wanted. It is (n, n), or for m
    `samples` (m, n/m, n/m).
    """
    xp, m = namespace(y), samples or 1
    steps = float(limits(y).eps) ** 0.5 * typical_sizes(y, h * value)
    steps = xp.reshape(steps, (m, -1))
    n = steps.shape[1]
    eye = xp.eye(n, dtype=y.dtype, device=device(y))
    columns = []
    for j in range(n):
        moved = fun(t, y + xp.reshape(steps * eye[j, :], (-1,))) - value
        columns.append(xp.reshape(moved, (m, n)) / steps[:, j : j + 1])
    found = xp.stack(columns, axis=2)
    return (found[0, ...] if samples is None else found), n


def typical_sizes(y: Any, move: Any) -> Any:
    """Sizes of the entries of a flat state (n,) in the course of a step, none of them zero.

    An entry that is zero, or nearly, has a part of the size of `move`, which is h f(t, y): only a
    part, as the slope of a stiff problem is much too large. One that does not move either has a
    part of the size of the others, and only for a state that is zero and rests there is a number
    made up.
    """
    xp, info = namespace(y), limits(y)
    size, reach = xp.abs(y), xp.abs(move)
    top = xp.max(size)
    reach = xp.where(top > 0, xp.minimum(reach, top), reach)
    size = xp.maximum(size, 1e-3 * reach)
    least = float(info.smallest_normal) / float(info.eps) ** 0.5
    others = max(1e-3 * float(xp.max(size)) or 1e-6, least)
    return xp.where(size > least, size, xp.full_like(size, others))


def iterate(
    correction: Callable[[Any], Any],
    sizes: Callable[[Any, Any], tuple[float, float]],
    start: Any,
    limit: float,
    floor: float,
    stuck: float,
    max_iterations: int,
) -> tuple[Any, int, bool | None]:
    """Newton's method: x <- x + correction(x), until the next correction would be small.

    Parameters
    ----------
    correction : callable
        Of arrays like `start`.
    sizes : callable
        Two norms of a correction, as `sizes(x, correction)`: the iterations have converged in the
        first, and diverge where neither shrinks and the first is above the limit.
    start : array
    limit : float
        Size of the error at which x is good; the error is estimated by the rate of convergence
        (Hairer and Wanner II, section IV.8).
    floor : float
        Size at which corrections are rounding.
    stuck : float
        Size at which corrections that no longer shrink are rounding.
    max_iterations : int

    Returns
    -------
    x : array
    int
        Iterations.
    bool or None
        Whether it converged; None where a correction was not finite.
    """
    x, last, last_whole = start, 0.0, 0.0
    for k in range(1, max_iterations + 1):
        change = correction(x)
        length, whole = sizes(x, change)
        if not length < float("inf"):
            return x, k, None
        x = x + change
        if length <= floor:
            return x, k, True
        if k > 1:
            rate = length / last
            if rate < 1 and rate / (1 - rate) * length <= limit:
                return x, k, True
            if rate >= 1 and (length <= stuck or (length > limit and whole >= last_whole)):
                return x, k, length <= stuck
        last, last_whole = length, whole
    return x, max_iterations, False


def approach(
    linear: Callable[[Any], Callable[[Any], Any]],
    residual: Callable[[Any], Any],
    start: Any,
    units: Any,
    max_iterations: int,
) -> tuple[Any, int]:
    """Come so close to a zero of `residual` that Newton's method contracts.

    Corrections are cut short until the next one, with the same matrix, is smaller: the test of
    natural monotonicity (Deuflhard, Newton Methods for Nonlinear Problems, section 3.3).

    Parameters
    ----------
    linear : callable
        Of x, the function that solves for the correction of a residual with the derivative at x.
    residual : callable
    start, units : array
        The units are those in which corrections are compared.
    max_iterations : int

    Returns
    -------
    x : array
        The last one, also where it is not close.
    int
        Iterations.
    """
    xp = namespace(start)

    def size(change: Any) -> float:
        return float(xp.max(xp.abs(change / units)))

    x, r, share = start, residual(start), 1.0
    for k in range(1, max_iterations + 1):
        solve = linear(x)
        change = solve(r)
        length, left = size(change), float("inf")
        if not length < float("inf"):
            return x, k
        share = min(2.0, 4 * share)  # twice the first one tried
        while not left <= (1 - share / 4) * length:
            share /= 2
            if share < LEAST:
                return x, k
            after = x + share * change
            r = residual(after)
            left = size(solve(r))
        x = after
        if share == 1 and left <= length / 4:
            break
    return x, k
