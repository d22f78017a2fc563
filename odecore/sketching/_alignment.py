"""Sketch noise per mini-batch noise, as a function of two scale-free numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Any

from odecore._array import as_float, constant, namespace
from odecore.sketching._moments import matrices, moments_of, unit_scaled

__all__ = ["Alignment", "alignment"]


@dataclass(frozen=True)
class Alignment:
    """What the ratio p/(B - 1) variance/minibatch_variance depends on.

    Parameters
    ----------
    rows : int
        B.
    alpha : float
        ||X^T Y||^2/(||X||^2 ||Y||^2): how far the gradients of the rows add up, from 0 to 1.
    tau : float
        B sum_k ||x_k||^2 ||y_k||^2/(||X||^2 ||Y||^2): whether rows large in X are large in Y, from
        alpha to B; 1 for rows of equal length in X or in Y.
    eta : float
        Smallest by mean squared row norm, of X or of Y, whichever is larger. At most tau.

    Raises
    ------
    TypeError
        If they are no real numbers.
    ValueError
        If the numbers are not possible for two matrices, up to rounding.

    Notes
    -----
    The bound (1 + alpha)/alpha of arXiv 2201.13195 for the ratio is wrong, see the tests: rows
    with x_k y_k^T all equal have no mini-batch noise, at any alpha. What holds are the identities
    of the methods and, for eta > alpha, the bound (1 + alpha)/(eta - alpha).
    """

    rows: int
    alpha: float
    tau: float
    eta: float

    def __post_init__(self) -> None:
        for name in ("rows", "alpha", "tau", "eta"):
            if not isinstance(getattr(self, name), Real):
                raise TypeError(f"`{name}` must be a real number, got {getattr(self, name)!r}")
        rows, alpha, tau, eta = map(as_float, (self.rows, self.alpha, self.tau, self.eta))
        slack = 1e-3  # for moments in half or single precision
        possible = (
            rows >= 1
            and -slack <= alpha <= 1 + slack
            and alpha <= tau + slack
            and -slack <= eta <= tau + slack
            and tau <= rows * (1 + slack)
        )
        if not possible:
            raise ValueError(
                "two matrices with B rows have 0 <= alpha <= 1, alpha <= tau <= B and 0 <= eta <= "
                f"tau, got {self}; compute them by `alignment`"
            )

    @property
    def gaussian_ratio(self) -> float:
        """p/(B - 1) variance/minibatch_variance of a GaussianSketch: (1 + alpha)/(tau - alpha)."""
        return self._ratio(1 + self.alpha)

    @property
    def rademacher_ratio(self) -> float:
        """The same for RademacherSketch, CountSketch, SparseSignSketch, HadamardSketch(p, True).

        (1 + alpha - 2 tau/B)/(tau - alpha). For uniform rows with replacement the ratio is 1.
        """
        return self._ratio(1 + self.alpha - 2 * self.tau / self.rows)

    @property
    def ratio_bound(self) -> float:
        """(1 + alpha)/(eta - alpha), not below either ratio; infinite unless eta > alpha."""
        return (1 + self.alpha) / (self.eta - self.alpha) if self.eta > self.alpha else inf

    def _ratio(self, noise: float) -> float:
        gap = self.tau - self.alpha
        return noise / gap if gap > 0 else inf


def alignment(X: Any, Y: Any, /) -> Alignment:
    """Compute alpha, tau and eta of two matrices with the same rows.

    Parameters
    ----------
    X : (B, N) array
    Y : (B, M) array

    Returns
    -------
    Alignment
        Python floats, which do not depend on the scale of X or Y.

    Raises
    ------
    TypeError, ValueError
        As `variance`; ValueError also if X or Y is zero, where all of this is 0/0.
    """
    X, Y = matrices(constant(X), constant(Y))
    X, Y = unit_scaled(X)[0], unit_scaled(Y)[0]
    m, xp = moments_of(X, Y), namespace(X, Y)
    total = float(m.x * m.y)
    if total == 0:
        raise ValueError(
            "alpha and tau need X and Y with entries other than 0, got a zero matrix; its sketched "
            "products are exact"
        )
    evenness = (m.rows * float(xp.min(xp.sum(A * A, axis=1)) / xp.sum(A * A)) for A in (X, Y))
    tau = m.rows * float(m.rowwise) / total
    return Alignment(m.rows, float(m.product) / total, tau, max(evenness))
