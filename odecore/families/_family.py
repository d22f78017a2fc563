"""A family of explicit Runge-Kutta methods: one formula for symbols, numbers and arrays alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from numbers import Rational, Real
from typing import Any

from odecore.errors import SingularParameterError

__all__ = ["Family", "interpolatory_weights"]

Rows = tuple[tuple[Any, ...], ...]

ROUNDING = Fraction(1, 10**14)  # of a factor at parameters of size one that are not exact


def _vanishes(factor: Any) -> bool:
    if isinstance(factor, Rational):
        return factor == 0
    return isinstance(factor, Real) and bool(abs(factor) <= ROUNDING)  # type: ignore[operator]


@dataclass(frozen=True)
class Family:
    """A Runge-Kutta family, rational in its parameters.

    Parameters
    ----------
    name : str
    parameters : tuple of str
        Names of the parameters, in the order in which `formula` takes them.
    order : int
        Claimed order of every member; `order_is_proved` decides the claim.
    formula : callable
        From parameters to `(A, b)`, with +, -, * and / only, so that it serves the generators of a
        field, Fractions and arrays alike. A has its strictly lower triangle as rows.
    factors : callable
        From parameters to the tuple of factors of the excluded set. A member exists where none of
        them vanishes. Each is affine in each parameter by itself, so that over a box its range is
        attained at the corners.

    Examples
    --------
    >>> from odecore.families import RK2
    >>> RK2.b
    ((2*u - 1)/(2*u), 1/(2*u))
    """

    name: str
    parameters: tuple[str, ...]
    order: int
    formula: Callable[..., tuple[Rows, tuple[Any, ...]]]
    factors: Callable[..., tuple[Any, ...]]

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the fields only: what is computed lazily is computed again."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.b)

    @cached_property
    def generators(self) -> tuple[Any, ...]:
        """The parameters as elements of the field of rational functions over the rationals."""
        from sympy import QQ  # heavy: loaded when symbols are asked for
        from sympy.polys.fields import field

        return tuple(field(list(self.parameters), QQ)[1:])

    @cached_property
    def _symbolic(self) -> tuple[Rows, tuple[Any, ...]]:
        return self.formula(*self.generators)

    @property
    def A(self) -> Rows:
        """Strictly lower triangular coefficients (s, s), as rational functions and zeros."""
        rows, b = self._symbolic
        return tuple(tuple(row) + (Fraction(0),) * (len(b) - len(row)) for row in rows)

    @property
    def b(self) -> tuple[Any, ...]:
        """Weights (s,), as rational functions."""
        return self._symbolic[1]

    @property
    def c(self) -> tuple[Any, ...]:
        """Abscissae (s,): the row sums of A."""
        return tuple(sum(row, Fraction(0)) for row in self.A)

    def values(self, arguments: dict[str, Any], /) -> tuple[Any, ...]:
        """Put named parameters in the family's order.

        Raises
        ------
        TypeError
            If a parameter is missing or unknown.
        """
        if set(arguments) != set(self.parameters):
            raise TypeError(
                f"{self.name} has the parameters {', '.join(self.parameters)}; "
                f"got {', '.join(arguments) or 'none'}"
            )
        return tuple(arguments[name] for name in self.parameters)

    def require_member(self, values: Sequence[Any], /) -> None:
        """Check that parameter values are off the excluded set.

        Exact values are decided exactly, others up to rounding; arrays are not read.

        Raises
        ------
        SingularParameterError
            Naming the factors that vanish. Nothing is clamped: near such a point the member depends
            on the direction of approach, so the nearest valid value would be an arbitrary choice.
        """
        factors = self.factors(*values)
        bad = [i for i, factor in enumerate(factors) if _vanishes(factor)]
        if bad:
            symbolic = self.factors(*self.generators)
            point = ", ".join(f"{n} = {v}" for n, v in zip(self.parameters, values, strict=True))
            named = ", ".join(f"{symbolic[i].as_expr()} = 0" for i in bad)
            raise SingularParameterError(
                f"{self.name} has no member at {point}: {named}; choose parameters off this set"
            )

    def require_box(self, low: Sequence[Any], high: Sequence[Any], /) -> None:
        """Check exactly that no factor vanishes anywhere in a closed box of parameters.

        Parameters
        ----------
        low, high : sequences of Fraction
            Opposite corners, `low <= high` in each parameter.

        Raises
        ------
        SingularParameterError
            If a factor changes sign or vanishes at a corner. The factors are affine in each
            parameter, hence their extremes over the box are at its corners and this is a proof.
        """
        corners: list[tuple[Any, ...]] = [()]
        for ends in zip(low, high, strict=True):
            corners = [(*corner, end) for corner in corners for end in ends]
        at_corners = zip(*(self.factors(*corner) for corner in corners), strict=True)
        symbolic = self.factors(*self.generators)
        for factor, values in zip(symbolic, at_corners, strict=True):
            if min(values) <= 0 <= max(values):
                box = ", ".join(
                    f"{name} in [{a}, {b}]"
                    for name, a, b in zip(self.parameters, low, high, strict=True)
                )
                raise SingularParameterError(
                    f"{self.name}: the factor {factor.as_expr()} vanishes in the box {box}; "
                    "choose a smaller radius or another centre"
                )


def interpolatory_weights(nodes: Sequence[Any], /) -> tuple[Any, ...]:
    """Weights of the quadrature on [0, 1] that is exact for polynomials of degree < len(nodes).

    Parameters
    ----------
    nodes : sequence
        Distinct elements of any field, or arrays.

    Returns
    -------
    tuple
        b_i, the integral over [0, 1] of the Lagrange polynomial of node i.
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
        common = 1
        for k in range(2, len(polynomial) + 1):
            common *= k
        integral = sum((common // (k + 1)) * a for k, a in enumerate(polynomial))
        weights.append(integral / (common * scale))
    return tuple(weights)
