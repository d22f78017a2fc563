"""Weights of interpolatory quadrature over any field."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial
from typing import Any

__all__ = ["interpolatory_weights"]


def interpolatory_weights(nodes: Sequence[Any], end: Any = 1, /) -> tuple[Any, ...]:
    """Weights of the quadrature on [0, end] that is exact for polynomials of degree < len(nodes).

    Parameters
    ----------
    nodes : sequence
        Distinct elements of any field, or arrays.
    end : optional
        Upper end of the interval, of the same field.

    Returns
    -------
    tuple
        b_i, the integral over [0, end] of the Lagrange polynomial of node i.
    """
    weights = []
    for i, node in enumerate(nodes):
        others = [other for j, other in enumerate(nodes) if j != i]
        polynomial: list[Any] = [1]  # coefficients of prod (x - other), lowest degree first
        scale: Any = 1
        for other in others:
            shifted = [0, *polynomial]
            lowered = [*(-other * coefficient for coefficient in polynomial), 0]
            polynomial = [a + b for a, b in zip(shifted, lowered, strict=True)]
            scale = scale * (node - other)
        # Integer multiples of 1/n! keep the arithmetic in the field, with no division of integers.
        common = factorial(len(polynomial))
        integral: Any = 0  # by Horner's rule: (... + a_1 end / 2 + a_0) end
        for k in reversed(range(len(polynomial))):
            integral = (integral + (common // (k + 1)) * polynomial[k]) * end
        weights.append(integral / (common * scale))
    return tuple(weights)
