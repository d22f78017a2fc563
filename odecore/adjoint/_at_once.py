"""The collocated adjoint of a panel as one pure function of arrays, which compilers take whole."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from odecore._array import constant_like, limits, on_host
from odecore._kept import kept_if_small
from odecore._krylov import gmres
from odecore.adjoint._linearization import Linearize
from odecore.interpolation import (
    chebyshev_coefficients,
    clenshaw_curtis_weights,
    integration_matrix,
)

__all__ = ["SMOOTH", "AtOnce", "Rules", "cross_at_once", "nested_weights", "unit_of"]


SMOOTH = 8.0  # distances of rules that fall by more are those of smooth integrands


class Rules(NamedTuple):
    """What is known of m Chebyshev points on [0, 1], as arrays like the states.

    Parameters
    ----------
    integration : (m, m) array
        From values to the integral from the last point.
    weights, difference, coarser : (m,) array
        Of Clenshaw-Curtis quadrature, what they differ by from those of every second point, and
        these from those of every fourth.
    coefficients : (m, m) array
        From values to Chebyshev coefficients.
    """

    integration: Any
    weights: Any
    difference: Any
    coarser: Any
    coefficients: Any

    @classmethod
    def like(cls, values: Any, /) -> Rules:
        """Of the nodes of states, the `values` (m, ...) of a panel."""
        return cls(*(constant_like(numbers, values) for numbers in _numbers(values.shape[0])))


@kept_if_small
def _numbers(m: int) -> tuple[np.ndarray, ...]:
    weights, second, fourth = (rule / 2 for rule in nested_weights(m))
    rules = weights, weights - second, second - fourth
    return integration_matrix(m, "last") / 2, *rules, chebyshev_coefficients(np.eye(m))


class AtOnce(NamedTuple):
    """A panel that was crossed.

    Parameters
    ----------
    start : array
        The adjoint at its start.
    parameters : (2,) tuple of tuples of arrays
        The panel's part of their gradient, and its distance to that from every second node.
    slopes : (2,) tuple of array
        f at both ends.
    checks : (7,) array
        The part of the first residual that is left, and how much of it may be; the residual
        relative to the adjoint; the last Chebyshev coefficients of the adjoint in units of the
        tolerance, and its error; that of the parameters' part if their integrand is smooth, and
        if its rules approach each other as those of the adjoint do.
    passes : int
    """

    start: Any
    parameters: tuple[tuple[Any, ...], tuple[Any, ...]]
    slopes: tuple[Any, Any]
    checks: Any
    passes: int

    def is_solved(self) -> bool:
        """Whether the equation is solved to the tolerance, or as far as rounding allows."""
        left, limit, share, *_ = on_host(self.checks).tolist()
        return bool(left <= limit or share <= 50 * float(limits(self.checks).eps))


def cross_at_once(
    linearize: Linearize,
    parameters: bool,
    t: Any,
    values: Any,
    end: Any,
    length: Any,
    tolerances: tuple[Any, Any],
    rules: Rules,
    passes: int,
    xp: Any,
) -> AtOnce:
    """Solve a panel's adjoint equation by a number of GMRES passes; no value is read.

    Parameters
    ----------
    linearize : callable
        `linearize(t, y)` at nodes, as for `collocated`.
    parameters : bool
        Whether their gradient is wanted.
    t, values : (m,), (m, ...) array
        Times and states of the nodes.
    end : array
        The adjoint at the end of the panel.
    length : float or 0-d array
    tolerances : (2,) tuple
        rtol and atol.
    rules : Rules
        Of as many nodes.
    passes : int
    xp : namespace
        Of the arrays; looked up outside of what is compiled.

    Returns
    -------
    AtOnce
        Of this many passes, whether they were enough or not.
    """
    m, norm = values.shape[0], xp.linalg.vector_norm
    value, pull = linearize(t, values)

    def integrated(a: Any) -> Any:
        return length * xp.tensordot(rules.integration, pull(a, False)[0], axes=1)

    constant = xp.stack([end] * m)
    right = integrated(constant)
    unit = unit_of(constant, right, *tolerances, xp)
    scaled = right / unit
    more, left, _ = gmres(lambda a: a - integrated(a * unit) / unit, scaled, 0.0, passes, False)
    a = constant + unit * more
    size, first = norm(constant), norm(scaled)
    share = left * norm(right) / xp.where(size > 0, size, xp.ones_like(size))
    most = prod(right.shape) ** 0.5 / 10
    limit = xp.where(first > most, most / xp.where(first > 0, first, 1.0), xp.ones_like(first))
    coefficients = abs(xp.tensordot(rules.coefficients, a, axes=1))
    last, largest = coefficients[-(2 if m >= 5 else 1) :, ...], xp.max(coefficients)
    units = _tolerance(xp.max(abs(a), axis=0), *tolerances, xp)
    squares = xp.reshape((last / units) ** 2, (last.shape[0], -1))
    decay = (xp.max(xp.sum(squares, axis=1)) / prod(end.shape)) ** 0.5
    tail = xp.max(last) / xp.where(largest > 0, largest, xp.ones_like(largest))
    column = (-1, *[1] * len(end.shape))
    rows, total = pull(length * (xp.reshape(rules.weights, column) * a), parameters)
    error, fall = _error(rows, a, rules, xp)
    gap: Any = ()
    estimate = rough = xp.zeros_like(share)
    if total:
        gap = pull(length * (xp.reshape(rules.difference, column) * a), True)[1]
        size, e = (sum(xp.sum(abs(x) ** 2) for x in part) ** 0.5 for part in (total, gap))
        e = xp.astype(e / xp.where(size > 0, size, xp.ones_like(size)), share.dtype)
        estimate, rough = e**1.5, e * fall
    checks = xp.stack([left, limit, share, decay, xp.maximum(tail, error), estimate, rough])
    return AtOnce(a[0, ...], (total, gap), (value[0, ...], value[-1, ...]), checks, passes)


def _error(rows: Any, a: Any, rules: Rules, xp: Any) -> tuple[Any, Any]:
    """The relative error of the adjoint at the start, and by what the distances of its rules fall:
    at kinks, from what the nodes add to its integral; 0 where there are none.
    """
    norm, m = xp.linalg.vector_norm, a.shape[0]
    largest = xp.max(norm(xp.reshape(a, (m, -1)), axis=1))
    largest = xp.where(largest > 0, largest, xp.ones_like(largest))
    first, second = (
        norm(xp.tensordot(rule / rules.weights, rows, axes=1)) / largest
        for rule in (rules.difference, rules.coarser)
    )
    fall = xp.where(first < second, first / xp.where(second > 0, second, 1.0), 1.0)
    # As `fall_at_kinks` says.
    kinks = (first > second / SMOOTH) & (first > 100 * float(limits(a).eps))
    fall = xp.where(kinks, fall, 0.0)
    return first * fall, fall


def unit_of(constant: Any, right: Any, rtol: Any, atol: Any, xp: Any) -> Any:
    """The tolerance of each entry of the adjoint, from its end and the first pass.

    Entries may differ by orders of magnitude, as those of the samples of a batch do; those that are
    zero at the end have the size that they reach, of which the first pass is a large guess.
    """
    reached = xp.max(abs(constant + right), axis=0)
    return _tolerance(xp.maximum(abs(constant[-1, ...]), 1e-3 * reached), rtol, atol, xp)


def _tolerance(size: Any, rtol: Any, atol: Any, xp: Any) -> Any:
    unit = atol + rtol * size
    return xp.where(unit > 0, unit, float(limits(unit).smallest_normal))


@kept_if_small
def nested_weights(m: int, /) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (m,) on [-1, 1] of the quadrature at all points, at every second, and, if they are
    nested, at every fourth; otherwise zeros.
    """
    second, fourth = _coarse_weights(m), np.zeros(m)
    if m % 4 == 1:
        fourth[::2] = _coarse_weights((m + 1) // 2)
    return clenshaw_curtis_weights(m), second, fourth


def _coarse_weights(m: int) -> np.ndarray:
    """Weights (m,) on [-1, 1] of the quadrature at every second point, and the last."""
    coarse = np.zeros(m)
    if m % 2:
        coarse[::2] = clenshaw_curtis_weights((m + 1) // 2)
    else:
        some = np.r_[0:m:2, m - 1]
        points = np.cos(np.pi * (m - 1 - some) / (m - 1))
        powers = np.polynomial.chebyshev.chebvander(points, len(some) - 1)
        j = np.arange(0, len(some), 2)
        moments = np.zeros(len(some))
        moments[j] = 2 / (1 - j.astype(float) ** 2)
        coarse[some] = np.linalg.solve(powers.T, moments)
    return coarse
