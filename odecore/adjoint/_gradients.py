"""The result of a backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odecore.solve import Statistics

__all__ = ["Gradients"]


@dataclass(frozen=True)
class Gradients:
    """Derivatives of a loss that depends on the states at the output times.

    Parameters
    ----------
    y0 : array
        With respect to the initial state.
    parameters : tuple of arrays
        With respect to the parameters, in the order of `vjp_parameters`; empty without it.
    tail : 0-d array
        Largest relative size of the last Chebyshev coefficients of the adjoint and of the
        quadrature's integrand (one projection of each group of parameters), over the panels:
        where it is not small, the nodes do not resolve them and the gradient is no better.
    statistics : Statistics
        Evaluations counts vector-Jacobian products, those for the parameters included.
    """

    y0: Any
    parameters: tuple[Any, ...]
    tail: Any
    statistics: Statistics
