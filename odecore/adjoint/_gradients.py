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
    statistics : Statistics
        Evaluations counts vector-Jacobian products, those for the parameters included.
    """

    y0: Any
    parameters: tuple[Any, ...]
    statistics: Statistics
