"""Transposes of many recorded steps at once, of states with few entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np
from array_api_compat import device

from odecore._array import as_float, constant_like, limits, namespace
from odecore.adjoint._linearization import Linearize, checked
from odecore.adjoint._step_record import StepRecord
from odecore.tableaux import Coefficients

__all__ = ["Undone", "steps_at_once"]

EXPLICIT, IMPLICIT = 32, 64  # entries of a state up to which it is faster, if steps are not few
NODES = 512  # stages at once, about
NUMBERS = 2**22  # in all of their Jacobians, about
ROUNDING = 1e3  # in units of the last place of what two ways to one product may differ by


@dataclass(frozen=True, eq=False)
class Undone:
    """Steps that were transposed together, for `discrete`.

    Parameters
    ----------
    a : array
        The cotangent before them, with what is given there.
    parameters : tuple of array
    count : int
        How many steps.
    passes : int, optional
        Transposed passes for the equations of implicit stages.
    residual : float, optional
        That of these equations.
    """

    a: Any
    parameters: tuple[Any, ...]
    count: int
    passes: int = 0
    residual: float = 0.0


def steps_at_once(
    linearize_nodes: Linearize, /, *, parameters: bool = True
) -> Callable[..., Undone | None]:
    """What `discrete` takes as its `kernel`: many steps by a few batched calls.

    With the Jacobians of all stages of all steps, from a transposed pass for each entry of the
    state, the transpose of a step is a matrix; between the steps there are products with these
    alone, and the gradient of the parameters is one more pass through all stages. In implicit
    methods samples along the first axis of the state that do not see each other, as one more pass
    shows, have matrices of their own, from a pass for each entry of one sample.

    Parameters
    ----------
    linearize_nodes : callable
        `linearize_nodes(t, y)`, for times (m,) and states (m, ...) at once, returns f and
        `pull(a, parameters)`, with the parameters' part summed over the nodes.
    parameters : bool, optional
        Whether their gradient is wanted.

    Returns
    -------
    callable
        `kernel(method, record, end, a, cotangents)`, which gives an `Undone`, or None where steps
        one by one are faster (states of more than 32 entries, for implicit methods 64, of one
        sample, or few steps), and for what only they can do: complex states and half precision,
        implicit stages that are not recorded, or whose equations are not solved to the root of the
        rounding, and derivatives that are not finite, in one sample of several perhaps.
    """
    linearize = checked(linearize_nodes)
    together = False  # whether samples were seen to see each other

    def kernel(
        method: Coefficients, record: StepRecord, end: int, a: Any, cotangents: dict[int, Any]
    ) -> Undone | None:
        nonlocal together
        while True:  # once more where samples see each other; a call of itself would be a cycle
            samples = 1 if together else _samples(method, record.states[0])
            shape = samples, prod(a.shape) // samples
            first = max(0, end - _most(method, shape))
            if not _pays(method, record, end - first, shape[1]):
                return None
            steps = _Steps(linearize, method, record, first, end, shape)
            if steps.are_apart():
                break
            together = True
        found = steps.maps()
        if found is None:
            return None
        maps, stages, residual = found
        xp, after = namespace(a), []
        column = xp.reshape(a, (*shape, 1))
        for k in reversed(range(end - first)):
            after.append(column)
            column = xp.matmul(maps[k, ...], column)
            if first + k in cotangents:
                column = column + xp.reshape(cotangents[first + k], column.shape)
        terms = ()
        if parameters:
            mu = xp.matmul(stages, xp.stack(after[::-1]))[..., 0]
            terms = steps.pull(mu, True)[1]
        return Undone(xp.reshape(column, a.shape), terms, end - first, steps.passes, residual)

    return kernel


def _samples(method: Coefficients, y: Any) -> int:
    """How many samples there may be."""
    return y.shape[0] if not method.is_explicit and len(y.shape) > 1 and prod(y.shape) else 1


def _most(method: Coefficients, shape: tuple[int, int]) -> int:
    """How many steps at once."""
    nodes = min(NODES, NUMBERS // max(1, shape[0] * shape[1] ** 2))
    return max(1, nodes // len(method.b))


def _pays(method: Coefficients, record: StepRecord, count: int, entries: int) -> bool:
    """Whether so many steps are faster at once, and can be."""
    y = record.states[0]
    real: bool = namespace(y).isdtype(y.dtype, "real floating") and limits(y).bits >= 32
    if method.is_explicit:
        most = min(EXPLICIT, 1.6 * count - 8)
    else:
        most = min(IMPLICIT, 8 * count) if record.stages else 0
    return real and not method.has_arrays and 0 < entries <= most


class _Steps:
    """The steps from one index of a record to another, linearized at all their stages.

    `samples` are how many, and the entries of one: all stages have (s, steps, *samples) numbers.
    """

    def __init__(
        self,
        linearize: Linearize,
        method: Coefficients,
        record: StepRecord,
        first: int,
        end: int,
        samples: tuple[int, int],
    ) -> None:
        self.method = method
        self.s, self.m = len(method.b), end - first
        y = namespace(record.states[0]).stack(list(record.states[first:end]))
        self.xp, self.shape = namespace(y), y.shape[1:]
        times = np.array(record.times[first : end + 1])
        self.h = constant_like(np.diff(times), y)
        self.y = self.xp.reshape(y, (self.m, *samples))
        self.J: Any = None  # transposed, once it is needed
        self.passes = 0
        assert method.c is not None  # valid once built
        at = [times[1:] if c == 1.0 else times[:-1] + float(c) * np.diff(times) for c in method.c]
        if record.stages:
            known = self.xp.stack(list(record.stages[first:end]))
            k = [self.xp.reshape(known[:, i, ...], self.y.shape) for i in range(self.s)]
            states = [self.stage(i, k) for i in range(self.s)]
            self.pulls = [self.linearized(linearize, np.concatenate(at), states)[1]]
            return
        k, self.pulls = [], []
        for i in range(self.s):
            value, pull = self.linearized(linearize, at[i], [self.stage(i, k)])
            k.append(self.xp.reshape(value, self.y.shape))
            self.pulls.append(pull)

    def stage(self, i: int, k: list[Any]) -> Any:
        """The states of stage i, from slopes."""
        moved = self.combined(self.method.A[i], k)
        return self.y if moved is None else self.y + self.h[:, None, None] * moved

    def combined(self, weights: Any, k: Any) -> Any:
        """The sum of arrays by weights that are not zero; None where all are."""
        terms = [w * x for w, x in zip(weights, k, strict=False) if w != 0.0]
        return sum(terms[1:], terms[0]) if terms else None

    def linearized(self, linearize: Linearize, times: np.ndarray, states: list[Any]) -> Any:
        """At these times (nodes,) and states."""
        nodes = self.xp.reshape(self.xp.stack(states), (-1, *self.shape))
        return linearize(constant_like(times, nodes), nodes)

    def pull(self, mu: Any, parameters: bool) -> tuple[Any, tuple[Any, ...]]:
        """The transposed derivatives at all stages, and the parameters'."""
        each = self.s // len(self.pulls)
        found, total = [], ()
        for i, pull in enumerate(self.pulls):
            part = self.xp.reshape(mu[i * each : (i + 1) * each, ...], (-1, *self.shape))
            q, terms = pull(part, parameters)
            found.append(self.xp.reshape(q, (each, *mu.shape[1:])))
            total = tuple(x + z for x, z in zip(total, terms, strict=True)) if total else terms
        return self.xp.stack([q[k, ...] for q in found for k in range(each)]), total

    def are_apart(self) -> bool:
        """Whether samples do not see each other; with the derivatives of all."""
        xp, n = self.xp, self.y.shape[-1]
        eye = xp.eye(n, dtype=self.y.dtype, device=device(self.y))
        zero = xp.zeros((self.s, *self.y.shape), dtype=self.y.dtype, device=device(self.y))
        self.J = xp.stack([self.pull(zero + eye[k, :], False)[0] for k in range(n)], axis=-1)
        self.passes = n
        if self.y.shape[1] == 1:
            return True
        weights = np.random.default_rng(0).standard_normal(zero.shape)
        found = constant_like(weights, zero)
        gap = self.pull(found, False)[0] - xp.matmul(self.J, found[..., None])[..., 0]
        size = xp.linalg.vector_norm(self.J * found[..., None, :], axis=(-2, -1))
        far = xp.linalg.vector_norm(gap, axis=-1) > ROUNDING * float(limits(zero).eps) * size
        return not bool(xp.any(far))

    def maps(self) -> tuple[Any, Any, float] | None:
        """The transposed maps (steps, *samples, n) of the steps, those to the stages, and what the
        equations of the stages leave; None where that is too much.
        """
        xp, method, h, J = self.xp, self.method, self.h[:, None, None, None], self.J
        eye = xp.eye(J.shape[-1], dtype=J.dtype, device=device(J))
        if method.is_explicit or method.is_diagonally_implicit:
            mu = self.one_by_one(J, h, eye)
        else:
            mu = self.together(J, h, eye)
        if mu is None:
            return None
        q = xp.matmul(J, mu)
        maps = eye + xp.sum(q, axis=0)
        if not isfinite(as_float(xp.sum(maps))):  # where 0 NaN would spread to all entries
            return None
        if method.is_explicit:
            self.passes = 0
            return maps, mu, 0.0
        residual = self.left(mu, q, h, eye)
        return (maps, mu, residual) if residual <= float(limits(mu).eps) ** 0.5 else None

    def one_by_one(self, J: Any, h: Any, eye: Any) -> Any:
        """The maps to the stages of an explicit or diagonally implicit method, the last first."""
        xp, A, b = self.xp, self.method.A, self.method.b
        mu: list[Any] = []  # in reverse, as q
        q: list[Any] = []
        for i in reversed(range(self.s)):
            later = [A[j][i] for j in reversed(range(i + 1, self.s))]
            moved = self.combined(later, q)
            right = h * (b[i] * eye if moved is None else b[i] * eye + moved)
            own = A[i][i] if len(A[i]) > i else 0.0
            if own != 0.0:
                right = _solved(eye - own * h * J[i, ...], right)
                if right is None:
                    return None
            mu.append(right)
            q.append(xp.matmul(J[i, ...], right))
        return xp.stack(mu[::-1])

    def together(self, J: Any, h: Any, eye: Any) -> Any:
        """The maps to the stages of a fully implicit method."""
        xp, s, A = self.xp, self.s, self.method.A
        rows = [
            xp.concat([float(i == j) * eye - A[j][i] * h * J[j, ...] for j in range(s)], axis=-1)
            for i in range(s)
        ]
        right = xp.concat([b * h * eye for b in self.method.b], axis=-2)
        found = _solved(xp.concat(rows, axis=-2), right)
        if found is None:
            return None
        n = eye.shape[0]
        return xp.stack([found[..., i * n : (i + 1) * n, :] for i in range(s)])

    def left(self, mu: Any, q: Any, h: Any, eye: Any) -> float:
        """The largest residual of the equations of a step, relative to their right-hand side."""
        xp, A, b = self.xp, self.method.A, self.method.b
        sums = []
        for i in range(self.s):
            column = [A[j][i] if len(A[j]) > i else 0.0 for j in range(self.s)]
            moved = self.combined(column, [q[j, ...] for j in range(self.s)])
            right = b[i] * eye if moved is None else b[i] * eye + moved
            sums.append(mu[i, ...] - h * right)
        size = xp.sqrt(xp.sum(xp.stack(sums) ** 2, axis=(0, 3, 4)))
        whole = xp.abs(self.h) * float(sum(float(w) ** 2 for w in b) * eye.shape[0]) ** 0.5
        return as_float(xp.max(size / whole[:, None]))


def _solved(matrices: Any, right: Any) -> Any:
    """The solutions of many linear systems; None where a library says that there is none."""
    try:
        return namespace(right).linalg.solve(matrices, right)
    except Exception:  # each library has its own class for singular matrices
        return None
