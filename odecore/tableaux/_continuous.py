"""Continuous extensions: dense output of a method's full order, for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from numbers import Real
from typing import Any

import numpy as np

from odecore.order import RootedTree, rooted_trees
from odecore.tableaux._coefficients import Coefficients

__all__ = ["CHORD", "ContinuousExtension", "continuous_extension", "hermite_extension"]

LARGEST_FREE = 6  # order of the conditions solved for weights on the stages: 37 trees
LARGEST_COMPARED = 9  # order of the errors that are compared: 286 trees
LARGE = 8  # errors of the polynomial, in those that choose the steps: 6 of tsit5, 72 of bosh5


@dataclass(frozen=True, eq=False)
class ContinuousExtension:
    """The polynomial y + h sum_i w_i(theta) v_i through a step, theta from 0 to 1.

    The basis v holds the slope of the chord (y_new - y)/h, f at the start of the step, the stages
    k_1, ..., k_s, f at the end of the step, and then the extra stages, in this order.

    Parameters
    ----------
    weights : (degree, size of the basis) array
        Row j - 1 holds the coefficients of theta^j.
    extra : tuple of (float, (degree, size of the basis) array)
        Each extra stage: theta at which f is evaluated, and the weights of the polynomial through
        what comes before it in the basis that gives the state there.
    order : int
        Local error O(h^(order + 1)), or that of the step where it is of a lower power.
    """

    weights: np.ndarray
    extra: tuple[tuple[float, np.ndarray], ...]
    order: int

    @property
    def needs_slopes(self) -> bool:
        """Whether anything but the chord is used."""
        return bool(self.weights.shape[1] > 1)

    @staticmethod
    def rows(weights: np.ndarray, theta: Any) -> np.ndarray:
        """The numbers w_i at each `theta` (n,), of the `weights` of an extension or extra stage."""
        found: np.ndarray = np.asarray(theta)[:, None] ** np.arange(1, len(weights) + 1) @ weights
        return found

    @staticmethod
    def at(weights: np.ndarray, theta: float) -> list[float]:
        """Those of `rows` for the `weights` at one `theta`."""
        found: list[float] = ContinuousExtension.rows(weights, [theta])[0].tolist()
        return found

    def on_stages(self, theta: Any, b: Sequence[tuple[int, float]], s: int) -> np.ndarray:
        """The numbers at each `theta` (n,) on the stages alone, (n, s).

        For a method of `s` stages, the last of which is f at the end of the step, with terms `b`,
        pairs (j, b_j), and for an extension without extra stages.
        """
        parts = np.zeros((s + 3, s))
        for j, weight in b:
            parts[0, j] = weight
        parts[1, 0] = parts[-1, -1] = 1
        parts[2:-1] = np.eye(s)
        return self.rows(self.weights, theta) @ parts[: self.weights.shape[1]]


#: Linear interpolation.
CHORD = ContinuousExtension(np.ones((1, 1)), (), 1)


def continuous_extension(
    method: Coefficients, /, *, amplification: Any = inf
) -> ContinuousExtension:
    """Find a continuous extension whose global error has the order of the method.

    That needs order p - 1 uniformly in theta, or 3 where p is smaller or unknown. The extension is
    continuously differentiable.

    Parameters
    ----------
    method : Coefficients
    amplification : float, optional
        Weights on the stages are taken only where their sizes add up to at most this for all theta:
        by it they amplify how the stages are rounded. It is 1134 at order 6 for dop853, too much in
        half precision, and 1.1 for cubic Hermite and what is made from it.

    Returns
    -------
    ContinuousExtension

    Raises
    ------
    TypeError
        If `method` is no Coefficients, such as a tableau, whose `coefficients` are, or
        `amplification` no number.

    Notes
    -----
    Where the stages suffice, their weights solve the order conditions of Hairer, Norsett, Wanner I,
    theorem II.6.1, and what freedom is left makes the conditions of the next order small. Where
    they do not, f is evaluated at points of the polynomial found so far, and each round raises the
    order by one (Enright, Jackson, Norsett, Thomsen 1986): from cubic Hermite to order p - 1 there
    are (p - 3)(p - 4)/2 evaluations, made only in steps that need the polynomial.

    Steps are chosen by the error of the embedded pair, and the polynomial's has at least that power
    of h: of a pair that goes on with its lower order, as fehlberg45, it has order p. Where it is
    more than 8 times as large, as for dormand_prince87, one more round is made, and two where it
    is more than 64 times as large, as for bosh5 and verner87.
    """
    if not isinstance(method, Coefficients):
        raise TypeError(
            f"`method` must be Coefficients, got {type(method).__name__}; take the `coefficients` "
            "of a ButcherTableau, or those of a family by odecore.tableaux.coefficients_at"
        )
    if not isinstance(amplification, Real):
        raise TypeError(f"`amplification` must be a real number, got {amplification!r}")
    wanted = max(3, (method.order or 4) - 1)
    numbers = tuple(x for row in (*method.A, method.b, method.c or ()) for x in row)
    if all(isinstance(x, float) for x in numbers):
        return _extension_of(method, wanted, float(amplification))
    return _raised(hermite_extension(len(method.b)), wanted)


@lru_cache(maxsize=256)
def _extension_of(method: Coefficients, wanted: int, amplification: float) -> ContinuousExtension:
    best = hermite_extension(len(method.b))
    for order in range(4, min(wanted, LARGEST_FREE) + 1):
        free = _free(method, order)
        if free is None or _amplification(free.weights) > amplification:
            break
        best = free
    found = _raised(best, max(wanted, _power(method) - 1))
    share = _share(method, found)
    return _raised(found, found.order + (share > LARGE) + (share > LARGE**2))


def _power(method: Coefficients) -> int:
    """The power of h of the error that chooses the steps; 0 where it is not known."""
    if method.error is None or not method.is_explicit:
        return 0
    A, error = _with_ends(method), np.array(method.error[: len(method.b)])
    for size in range(1, LARGEST_COMPARED + 1):
        g = _stage_weights(A, list(rooted_trees(size)))
        if np.abs(g[:, 1:-1] @ error).max() > 1e-9:
            return size
    return 0


def _share(method: Coefficients, extension: ContinuousExtension) -> float:
    """The first error term of the polynomial over that of the embedded pair."""
    s, order = len(method.b), extension.order + 1
    if method.error is None or order != _power(method):
        return 0.0  # the steps are chosen by another power of h
    trees = list(rooted_trees(order))
    A = _with_ends(method, len(extension.extra))

    def on_stages(weights: np.ndarray) -> np.ndarray:
        row = np.zeros(len(A))
        row[: len(weights) - 1] = weights[1:]
        row[1 : s + 1] += weights[0] * np.array(method.b)
        return row

    for i, (theta, weights) in enumerate(extension.extra, start=s + 2):
        A[i] = on_stages(np.array(extension.at(weights, theta)))
    g = _stage_weights(A, trees) / [[t.symmetry] for t in trees]
    pair = np.linalg.norm(g[:, 1 : s + 1] @ np.array(method.error[:s]))
    wanted = np.array([1 / (t.density * t.symmetry) for t in trees])
    errors = [
        g @ on_stages(np.array(extension.at(extension.weights, theta))) - theta**order * wanted
        for theta in np.linspace(0, 1, 33)
    ]
    return float(max(map(np.linalg.norm, errors)) / pair)


def _amplification(weights: np.ndarray) -> float:
    """Largest sum over i of abs(w_i(theta)), on a grid."""
    numbers = ContinuousExtension.rows(weights, np.linspace(0, 1, 65))
    return float(np.abs(numbers).sum(axis=1).max())


def hermite_extension(s: int, /) -> ContinuousExtension:
    """Cubic Hermite interpolation for a method of s stages, whatever its order.

    Parameters
    ----------
    s : int
        At least 1.

    Returns
    -------
    ContinuousExtension

    Raises
    ------
    ValueError
        If s is no whole number from 1.
    """
    if not isinstance(s, int | np.integer) or isinstance(s, bool) or s < 1:
        raise ValueError(f"`s` must be a number of stages, a whole one from 1, got {s!r}")
    weights = np.zeros((3, s + 3))
    weights[:, 0] = 0, 3, -2
    weights[:, 1] = 1, -2, 1
    weights[:, s + 2] = 0, -1, 1
    return ContinuousExtension(weights, (), 3)


def _raised(start: ContinuousExtension, wanted: int) -> ContinuousExtension:
    """Add rounds of extra stages until the order is reached."""
    size = start.weights.shape[1]
    end = size - 1 - len(start.extra)
    while start.order < wanted:
        points = _points(start.order - 2)
        extra = start.extra + tuple((theta, start.weights) for theta in points)
        degree = start.order + 1
        powers = np.arange(1, degree + 1)
        rows = [np.ones(degree)]  # the chord
        rows += [powers * theta ** (powers - 1.0) for theta in (0.0, 1.0, *points)]
        inverse = np.linalg.inv(np.array(rows))
        weights = np.zeros((degree, size + len(points)))
        weights[:, [0, 1, end, *range(size, size + len(points))]] = inverse
        start = ContinuousExtension(weights, extra, degree)
        size += len(points)
    return start


def _points(count: int) -> list[float]:
    """Where f is evaluated: unsymmetric, for the midpoint alone would make the system singular.

    With the exponent 1.5 the Lebesgue function stays below 1.2 for 1 to 10 points.
    """
    return [(k / (count + 1)) ** 1.5 for k in range(1, count + 1)]


def _free(method: Coefficients, order: int) -> ContinuousExtension | None:
    """Weights on the stages and f at the end that satisfy all conditions to an order, if any do."""
    A = _with_ends(method)
    n = len(A)
    trees = [t for size in range(1, order + 2) for t in rooted_trees(size)]
    g = _stage_weights(A, trees)
    inside = [i for i, t in enumerate(trees) if t.order <= order]
    after = [i for i, t in enumerate(trees) if t.order > order]
    eye = np.eye(n)
    for degree in (order, order + 1):
        hard, right, soft, aim = [], [], [], []
        for j in range(1, degree + 1):
            block = np.zeros(degree)
            block[j - 1] = 1
            goal = [float(t.order == j) / t.density for t in trees]
            hard += [np.kron(block, g[i]) for i in inside]
            right += [goal[i] for i in inside]
            soft += [np.kron(block, g[i]) for i in after]
            aim += [goal[i] for i in after]
        first, ones, powers = np.eye(degree)[0], np.ones(degree), np.arange(1.0, degree + 1)
        for ends in (first, ones, powers):  # the slope at the start, the value and slope at the end
            hard += [np.kron(ends, e) for e in eye]
        right += [*eye[0], 0.0, *method.b, 0.0, *eye[-1]]
        found = _constrained(np.array(hard), np.array(right), np.array(soft), np.array(aim))
        if found is not None:
            stages = found.reshape(degree, n)
            weights = np.concatenate([np.zeros((degree, 1)), stages], axis=1)
            return ContinuousExtension(weights, (), order)
    return None


def _with_ends(method: Coefficients, extra: int = 0) -> np.ndarray:
    """A with f at the start and at the end, which are stages like the others, and room for more."""
    A = np.zeros((len(method.b) + 2 + extra,) * 2)
    for i, row in enumerate((*method.A, method.b), start=1):
        A[i, 1 : len(row) + 1] = row
    return A


def _stage_weights(A: np.ndarray, trees: Sequence[RootedTree]) -> np.ndarray:
    """g_i(t) for each tree t and stage i."""
    known: dict[RootedTree, Any] = {}

    def g(tree: RootedTree) -> Any:
        if tree not in known:
            value = np.ones(len(A))
            for child in tree.children:
                value = value * (A @ g(child))
            known[tree] = value
        return known[tree]

    return np.array([g(t) for t in trees])


def _constrained(
    hard: np.ndarray, right: np.ndarray, soft: np.ndarray, aim: np.ndarray
) -> np.ndarray | None:
    """Least squares of soft x = aim among the solutions of hard x = right, if there is one."""
    u, sigma, vt = np.linalg.svd(hard, full_matrices=hard.shape[0] < hard.shape[1])
    rank = int(np.sum(sigma > 1e-10 * sigma[0]))
    x = vt[:rank].T @ ((u[:, :rank].T @ right) / sigma[:rank])
    if np.abs(hard @ x - right).max() > 1e-10:
        return None
    kernel = vt[rank:].T
    u, sigma, vt = np.linalg.svd(soft @ kernel, full_matrices=False)
    matters = sigma > 1e-8  # f at an end may be a stage too: their difference changes nothing
    free = (u.T @ (aim - soft @ x))[matters] / sigma[matters]
    found: np.ndarray = x + kernel @ (vt[matters].T @ free)
    return found
