"""One step of a Runge-Kutta method made again, and its transpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from odecore._array import combiner, constant, constant_like, namespace
from odecore.adjoint._linearization import Linearize, Pull, checked
from odecore.errors import NewtonFailedError
from odecore.solve import (
    Newton,
    Statistics,
    Status,
    Trajectory,
    explicit_step,
    implicit_step,
    one_sided,
    refusing_reuse,
    transposed_inverse,
    transposed_stages,
)
from odecore.tableaux import Coefficients

__all__ = ["ExplicitTranspose", "transpose_of", "transposed"]

Field = Callable[[Any, Any], Any]

MANY = 32  # products for one block of stages, after which the next steps form matrices


def transpose_of(
    linearize: Linearize,
    method: Coefficients,
    parameters: bool,
    newton: Newton | None,
    jumps: frozenset[float],
) -> ExplicitTranspose:
    """What makes steps of a method again and transposes them."""
    if method.is_explicit:
        bare = _without_idle_stages if method.has_arrays else _of_floats
        return ExplicitTranspose(linearize, bare(method), parameters, jumps)
    return ImplicitTranspose(linearize, method, parameters, jumps, newton)


def transposed(method: Coefficients, h: Any, a: Any, pulled: Callable[[int, Any], Any]) -> Any:
    """The cotangent before an explicit step, from that after it.

    Parameters
    ----------
    method : Coefficients
    h : float or 0-d array
    a : array
    pulled : callable
        `pulled(i, mu)` applies the transposed derivative of stage i, from the last to the first.
    """
    combine = combiner(a)
    found: dict[int, Any] = {}
    for i in reversed(range(len(method.b))):
        weights = [method.b[i], *(method.A[j][i] for j in found)]
        found[i] = pulled(i, combine(None, h, weights, [a, *found.values()]))
    for q in found.values():
        a = a + q
    return a


class ExplicitTranspose:
    """Steps of one explicit method, made again bit for bit, and their transposes.

    Parameters
    ----------
    linearize : callable
    method : Coefficients
    parameters : bool
        Whether `total` is wanted, the sum of the derivatives with respect to parameters.
    jumps : frozenset of float
        Ends of steps that the right-hand side is kept to the inside of.
    """

    def __init__(
        self,
        linearize: Linearize,
        method: Coefficients,
        parameters: bool,
        jumps: frozenset[float],
    ) -> None:
        self.linearize, self.parameters, self.jumps = checked(linearize), parameters, jumps
        self.method = method
        self.evaluations = self.passes = 0
        self.residuals = [0.0]
        self.total: tuple[Any, ...] = ()
        self.pulls: list[Pull] = []  # of the stages of the step made last

    def made(self, t: float, t_new: float, y: Any) -> Any:
        """The state after a step from y, made as in the forward solve."""
        self.pulls.clear()
        fun = self._inside(refusing_reuse(self._kept, y), t, t_new, y)
        return explicit_step(fun, t, y, t_new - t, self.method, t_new=t_new).y

    def undone(self, t: float, t_new: float, y: Any, a: Any) -> Any:
        """The cotangent before a step from y, from that after it."""
        self.made(t, t_new, y)
        return transposed(self.method, t_new - t, a, self._pulled)

    def _inside(self, fun: Field, t: float, t_new: float, y: Any) -> Field:
        """A right-hand side as the step from t to t_new saw it."""
        return one_sided(fun, t, t_new, y, after=t in self.jumps, before=t_new in self.jumps)

    def _kept(self, t: Any, y: Any) -> Any:
        value, pull = self.linearize(t, y)
        self.evaluations += 1
        self.pulls.append(pull)
        return constant(value)

    def _pulled(self, i: int, mu: Any) -> Any:
        """The transposed derivative of stage i, its part for the parameters added."""
        q, terms = self.pulls[i](mu, self.parameters)
        self.add(terms)
        return q

    def add(self, terms: tuple[Any, ...]) -> None:
        """Add derivatives with respect to parameters to `total`."""
        pairs = zip(self.total or terms, terms, strict=True)
        self.total = tuple(x + z if self.total else z for x, z in pairs)


class ImplicitTranspose(ExplicitTranspose):
    """The same for implicit methods; steps are made again to rounding.

    Parameters
    ----------
    linearize, method, parameters, jumps
    newton : Newton or None
        Of the forward solve.
    """

    def __init__(
        self,
        linearize: Linearize,
        method: Coefficients,
        parameters: bool,
        jumps: frozenset[float],
        newton: Newton | None,
    ) -> None:
        super().__init__(linearize, method, parameters, jumps)
        self.newton = newton or Newton()
        self.stages: tuple[Any, ...] = ()
        self.matrices = False  # once products were many
        self.jacobian: Any = None  # at the start of the step at hand, if it is needed
        self.inverses: dict[Any, Any] = {}  # with it, by the coupling of stages

    def made(self, t: float, t_new: float, y: Any) -> Any:
        """The state after a step from y."""

        def fun(t: Any, y: Any) -> Any:
            self.evaluations += 1
            return constant(self.linearize(t, y)[0])

        newton, kept = self.newton, self._inside(refusing_reuse(fun, y), t, t_new, y)
        if newton.jacobian is None and self._direct(y):
            newton = replace(newton, jacobian=self._jacobian)
        found = implicit_step(kept, t, y, t_new - t, self.method, newton=newton, t_new=t_new)
        if found.failure is not None:
            raise _failure(
                f"the stages of the step from t = {t!r} to {t_new!r} are not found to rounding",
                t,
                y,
            )
        self.stages = found.stages
        return found.y

    def undone(self, t: float, t_new: float, y: Any, a: Any, stages: Any = None) -> Any:
        """The cotangent before a step from y, from that after it, at stages that are known."""
        if stages is None:
            self.made(t, t_new, y)
        else:
            self.stages = tuple(stages[i, ...] for i in range(stages.shape[0]))
        method, combine, h = self.method, combiner(y), t_new - t
        assert method.c is not None  # valid once built
        self.pulls.clear()
        self.jacobian, self.inverses = None, {}
        keep = self._inside(self._kept, t, t_new, y)
        for row, c in zip(method.A, method.c, strict=True):
            time = t_new if c == 1.0 else t + c * h
            keep(time, combine(y, h, row, self.stages[: len(row)]))
        pulled: dict[int, Any] = {}
        for block in self._blocks():
            right = []
            for i in block:
                weights = [method.b[i], *(method.A[j][i] for j in pulled)]
                right.append(combine(None, h, weights, [a, *pulled.values()]))
            found = self._solved(block, right, t, t_new, y)
            pulled.update({i: self._pulled(i, mu) for i, mu in zip(block, found, strict=True)})
        for q in pulled.values():
            a = a + q
        return a

    def _blocks(self) -> list[list[int]]:
        """The stages that are solved for together, the last ones first."""
        stages = range(len(self.method.b))
        if self.method.is_diagonally_implicit:
            return [[i] for i in reversed(stages)]
        return [list(stages)]

    def _direct(self, y: Any) -> bool:
        """Whether the forward solve forms matrices, from the first."""
        real = namespace(y).isdtype(y.dtype, "real floating")
        entries = prod(y.shape[1:] if self.newton.samples else y.shape)
        return real and self.newton.direct(entries * len(self._blocks()[0]))

    def _solved(
        self, block: list[int], right: list[Any], t: float, t_new: float, y: Any
    ) -> list[Any]:
        r"""The solution of :math:`\mu_i - h \sum_j a_{ji} J_j^T \mu_j = r_i` in a block."""
        rows, h = self.method.A, t_new - t
        if all(rows[j][i] == 0.0 for j in block for i in block):
            return right
        coupling = [[h * rows[i][j] for j in block] for i in block]

        def pull_of(j: int) -> Callable[[Any], Any]:
            return lambda mu: self.pulls[j](mu, False)[0]

        pulls = [pull_of(j) for j in block]
        inverse = self._inverse(coupling, t, t_new, y) if self.matrices else None
        mu, residual, count = transposed_stages(t, y, coupling, pulls, right, inverse)
        self.matrices = self.matrices or (count > MANY and self._direct(y))
        self.passes += count
        self.residuals.append(residual)
        return [mu[k, ...] for k in range(len(block))]

    def _inverse(self, coupling: list[list[float]], t: float, t_new: float, y: Any) -> Any:
        """That of the transposed equations, with the Jacobian at the start of the step."""
        key = tuple(map(tuple, coupling))
        if self.jacobian is None:
            given = self.newton.jacobian or self._jacobian
            found = self._inside(given, t, t_new, y)(t, y)
            if found is None:
                self.newton, self.matrices = replace(self.newton, jacobian=None), False
                return None
            self.jacobian = constant_like(found, y)  # it may be of integers, or have a history
        if key not in self.inverses:
            self.inverses[key] = transposed_inverse(coupling, self.jacobian)
        return self.inverses[key]

    def _jacobian(self, t: Any, y: Any) -> Any:
        """df/dy of a real state, row by row, of all samples at once."""
        xp, m = namespace(y), y.shape[0] if self.newton.samples else 1
        _, pull = self.linearize(t, y)
        self.evaluations += 1
        zeros = xp.zeros_like(xp.reshape(y, (m, -1)))
        units = constant_like(np.eye(zeros.shape[1]), zeros)
        rows = [
            xp.reshape(pull(xp.reshape(zeros + units[k, :], y.shape), False)[0], zeros.shape)
            for k in range(zeros.shape[1])
        ]
        found = xp.stack(rows, axis=1)
        return found if self.newton.samples else found[0, ...]


def _failure(what: str, t: float, y: Any) -> NewtonFailedError:
    """What happened in a step from (t, y) of the backward pass."""
    start = Trajectory(np.array([t]), namespace(y).stack([y]), Status.NEWTON_FAILED, Statistics())
    return NewtonFailedError(
        f"in the backward pass {what}: take smaller steps, or the restored adjoint", start
    )


def _without_idle_stages(method: Coefficients) -> Coefficients:
    """The same map of states of an explicit method, without last stages it does not depend on."""
    assert method.c is not None  # valid once built
    b = tuple(map(constant, method.A[-1] if method.last_stage_is_first else method.b))
    n = len(b)
    while n > 1 and isinstance(b[n - 1], float) and b[n - 1] == 0.0:
        n -= 1
    rows = tuple(tuple(map(constant, row)) for row in method.A[:n])
    return Coefficients(rows, b[:n], c=tuple(map(constant, method.c[:n])))


_of_floats = lru_cache(maxsize=64)(_without_idle_stages)  # which takes as long as a small step
