"""The result of a backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odecore._array import limits, namespace
from odecore.adjoint._quadrature import norm_of
from odecore.solve import Statistics

__all__ = ["Gradients"]


@dataclass(frozen=True, eq=False)
class Gradients:
    """Derivatives of a loss that depends on the states at the output times.

    Parameters
    ----------
    y0 : array
        With respect to the initial state.
    parameters : tuple of arrays
        With respect to the parameters, in the order of `pull`; empty if they were not asked for.
    times : tuple of 0-d arrays
        With respect to the output times, those of the flow: dL/dt_i is the product of dL/dy_i and
        f(t_i, y_i), and for the first time minus that of the adjoint and f(t_0, y_0). Empty where f
        was not evaluated there.
    tail : 0-d array or float
        Relative error of the adjoint, the largest over the panels: the size of its last Chebyshev
        coefficients, and where f has kinks, which these do not show, what the collocated adjoint's
        integral is wrong by: seen where the distances of the rules of all, of half and of a quarter
        of the nodes fall by less than 8 from one to the next. Where it is not small, the nodes do
        not resolve the adjoint and the gradient is no better. Of the trajectory the `tail` of its
        panels tells the same.
    quadrature : 0-d array or float
        Estimate of the relative error of the integral that gives `parameters`: e^(3/2), with e its
        relative distance to the one from every second node, as for smooth integrands, of which
        halving the spacing squares the error. In adaptive steps and for the collocated adjoint,
        where e is above ten tolerances, kinks are looked for as for `tail`.
    residual : 0-d array or float
        Largest relative residual of the collocated adjoint equation, or of the transposed stages of
        implicit steps; zero where there was neither.
    statistics : Statistics
        Evaluations counts points at which f was linearized; `newton` counts transposed passes over
        all nodes of a panel, or over the stages of implicit steps.
    """

    y0: Any
    parameters: tuple[Any, ...]
    tail: Any
    statistics: Statistics
    times: tuple[Any, ...] = ()
    quadrature: Any = 0.0
    residual: Any = 0.0

    def is_rounding(self, y0: Any, parameters: Sequence[Any]) -> bool:
        """Whether the gradient of the parameters is zero but for rounding, at this `y0`.

        Rounding y0 changes the loss by eps times the norms of dL/dy0 and y0, a change of the
        parameters by their own size by the product of the norms of dL/dtheta and theta, the
        `parameters` in the order of their gradients. Those that are all zero have no size.
        """
        xp = namespace(y0)
        size, change = norm_of(parameters, xp), norm_of(self.parameters, xp)
        unit = 100 * float(limits(y0).eps) * norm_of([self.y0], xp) * norm_of([y0], xp)
        return bool(size > 0 and change * size <= unit)
