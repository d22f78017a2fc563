"""Steps of an explicit method made again and transposed, as one pure function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odecore.adjoint._linearization import Linearize, Pull
from odecore.adjoint._transposed_step import transposed
from odecore.solve import explicit_step
from odecore.tableaux import Coefficients

__all__ = ["transposed_run"]


def transposed_run(
    while_loop: Callable[..., Any],
    linearize: Linearize,
    method: Coefficients,
    times: Any,
    count: Any,
    states: Any,
    a: Any,
    total: tuple[Any, ...],
    xp: Any,
    cotangents: Any = None,
) -> tuple[Any, tuple[Any, ...]]:
    """Go back over the first steps between times (n + 1,), with the transpose of each.

    Parameters
    ----------
    while_loop : callable
        `while_loop(condition, body, carried)` of tuples, as ``jax.lax.while_loop``.
    linearize : callable
        As for `discrete`.
    method : Coefficients
        Of an explicit method.
    times : (n + 1,) array
    count : (1,) array of int64
        How many steps there are.
    states : (n, ...) array
        Those before the steps; from `count` on they are not read.
    a : array
        The cotangent after the last step.
    total : tuple of array
        To which the derivatives with respect to parameters are added; empty if none are wanted.
    xp : namespace
        Of the arrays.
    cotangents : (n, ...) array, optional
        Those of the states, to be added on the way.

    Returns
    -------
    a : array
        The cotangent before the first step.
    total : tuple of array
    """

    def runs(carried: Any) -> Any:
        return xp.reshape(carried[0] > 0, ())

    def undo(carried: Any) -> Any:
        k, a, *total = carried
        t, t_new = (xp.reshape(xp.take(times, i, axis=0), ()) for i in (k - 1, k))
        y = xp.reshape(xp.take(states, k - 1, axis=0), a.shape)
        pulls: list[Pull] = []

        def kept(t: Any, y: Any) -> Any:
            value, pull = linearize(t, y)
            pulls.append(pull)
            return value

        def pulled(i: int, mu: Any) -> Any:
            nonlocal total
            q, terms = pulls[i](mu, bool(total))
            total = [x + z for x, z in zip(total, terms, strict=True)]
            return q

        explicit_step(kept, t, y, t_new - t, method, t_new=t_new)
        a = transposed(method, xp.astype(t_new - t, abs(a).dtype), a, pulled)
        if cotangents is not None:
            a = a + xp.reshape(xp.take(cotangents, k - 1, axis=0), a.shape)
        return k - 1, a, *total

    _, a, *found = while_loop(runs, undo, (count + 0, a + 0, *(x + 0 for x in total)))
    return a, tuple(found)
