"""A family of Runge-Kutta methods: one formula for symbols, numbers and arrays alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from numbers import Number, Rational, Real
from typing import Any

from odecore.errors import SingularParameterError
from odecore.exact import QuadraticNumber
from odecore.families._positivity import keeps_its_sign

__all__ = ["Family"]

Rows = tuple[tuple[Any, ...], ...]

ROUNDING = Fraction(1, 10**14)  # of a factor at parameters of size one that are not exact


def _vanishes(factor: Any) -> bool:
    if isinstance(factor, Rational | QuadraticNumber):
        return bool(factor == 0)
    return isinstance(factor, Real) and bool(abs(factor) <= ROUNDING)  # type: ignore[operator]


@dataclass(frozen=True)
class Family:
    """A Runge-Kutta family, rational in its parameters.

    Parameters
    ----------
    name : str
    parameters : tuple of str
        Different names, at least one, in the order in which `formula` takes them.
    order : int
        Claimed order of every member; `order_is_proved` decides the claim.
    formula : callable
        From parameters to `(A, b)`, with +, -, * and / only, so that it serves the generators of a
        field, Fractions and arrays alike. A has its strictly lower triangle as rows, or full rows.
    factors : callable
        From parameters to the tuple of factors of the excluded set, polynomials. A member exists
        where none of them vanishes.
    estimator : callable, optional
        From parameters to the weights of an embedded method.
    embedded_order : int, optional
        Claimed order of those.
    members : tuple, optional
        Named members: pairs of a name and the tuple of exact parameter values.

    Raises
    ------
    ValueError
        If `parameters` are no such tuple.

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
    estimator: Callable[..., tuple[Any, ...]] | None = None
    embedded_order: int | None = None
    members: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def __post_init__(self) -> None:
        names: Any = self.parameters
        texts = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
        if not (texts and names and len(set(names)) == len(names)):
            raise ValueError(
                "`parameters` of a family must be a tuple of different names, at least one, got "
                f"{names!r}; write one as ('u',), and a single method as a ButcherTableau"
            )

    @staticmethod
    def require(found: Any, /, *, instead: str = "") -> None:
        """Refuse what is no family, such as its name.

        Parameters
        ----------
        found : object
        instead : str, optional
            What does the same for one method.

        Raises
        ------
        TypeError
            If `found` is not a Family.
        """
        if not isinstance(found, Family):
            raise TypeError(
                f"`family` must be a Family, got {type(found).__name__}; "
                + (f"for one method use {instead}, and " if instead else "")
                + "take families from odecore.families, as odecore.families.RK4"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle the fields only: what is computed lazily is computed again."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self._sample[1])

    @cached_property
    def _sample(self) -> tuple[Rows, tuple[Any, ...]]:
        """The member at some rational point: an entry that is not zero there is not zero at all."""
        found = next(self._samples(), None)
        return self._symbolic if found is None else found

    def _samples(self) -> Iterator[tuple[Rows, tuple[Any, ...]]]:
        """Members at rational points: entries that differ there depend on the parameters."""
        for k in range(1, 9):
            point = [Fraction(k + i, 2 * k + 3 * i + 2) for i in range(len(self.parameters))]
            with suppress(ZeroDivisionError):  # on the excluded set
                yield self.formula(*point)

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
        """Coefficients (s, s), as rational functions and zeros."""
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

    @cached_property
    def shared_abscissae(self) -> tuple[Fraction | None, ...]:
        """Abscissae (s,) that all members share, and None for those that depend on the parameters.

        Two members that differ decide the latter; symbols are left for what they have in common.
        """
        members = [
            [sum(row, Fraction(0)) for row in rows] for rows, _ in islice(self._samples(), 2)
        ]
        if len(members) < 2:
            members = [list(self.c)]
        first, last = members[0], members[-1]
        rows = self._sample[0]
        return tuple(
            a if a == b and (not row or _is_constant(self.c[i])) else None
            for i, (a, b, row) in enumerate(zip(first, last, rows, strict=True))
        )

    @cached_property
    def b_hat(self) -> tuple[Any, ...] | None:
        """Weights (s,) of the embedded method, as rational functions, if there is one."""
        return None if self.estimator is None else self.estimator(*self.generators)

    @cached_property
    def is_explicit(self) -> bool:
        """Whether A is strictly lower triangular for all members."""
        above = [a for i, row in enumerate(self._sample[0]) for a in row[i:]]
        if not above or any(a != 0 for a in above):
            return not above
        return all(a == 0 for i, row in enumerate(self.A) for a in row[i:])

    @cached_property
    def last_stage_is_first(self) -> bool:
        """Whether the last stage of a step is the first of the next for all members (FSAL)."""
        rows, b = self._sample
        last = tuple(rows[-1]) + (0,) * (len(b) - len(rows[-1]))
        return len(b) > 1 and last == tuple(b) and self.A[-1] == self.b

    @cached_property
    def excluded(self) -> tuple[str, ...]:
        """The excluded set: where one of these polynomials in the parameters vanishes."""
        return tuple(str(_expression(factor)) for factor in self.factors(*self.generators))

    def values(self, arguments: dict[str, Any], /) -> tuple[Any, ...]:
        """Put named parameters in the family's order.

        Parameters
        ----------
        arguments : dict
            From the name of each parameter to its value.

        Raises
        ------
        TypeError
            If a parameter is missing or unknown.
        """
        if set(arguments) != set(self.parameters):
            raise TypeError(
                f"{self.name} has the parameters {', '.join(self.parameters)}; "
                f"got {', '.join(map(str, arguments)) or 'none'}"
            )
        return tuple(arguments[name] for name in self.parameters)

    def require_member(self, values: Sequence[Any], /) -> None:
        """Check that parameter values are off the excluded set.

        Exact values are decided exactly, others up to rounding; arrays are not read.

        Parameters
        ----------
        values : sequence
            In the order of `parameters`.

        Raises
        ------
        ValueError
            If there is not one value for each parameter.
        TypeError
            If a value is neither a real number nor something to calculate with, such as an array.
        SingularParameterError
            Naming the factors that vanish. Nothing is clamped: near such a point the member depends
            on the direction of approach, so the nearest valid value would be an arbitrary choice.
        """
        if len(values) != len(self.parameters):
            raise ValueError(
                f"{self.name} has the parameters {', '.join(self.parameters)}; got {len(values)} "
                "values"
            )
        for name, value in zip(self.parameters, values, strict=True):
            real = isinstance(value, Real) or not isinstance(value, Number | type)
            kind = getattr(getattr(value, "dtype", None), "kind", "f")  # of NumPy
            if not (real and hasattr(value, "__truediv__")) or kind in "cSUMm":
                raise TypeError(
                    f"`{name}` must be a real number or an array, got {value!r} of type "
                    f"{type(value).__name__}"
                )
        factors = self.factors(*values)
        bad = [i for i, factor in enumerate(factors) if _vanishes(factor)]
        if bad:
            point = ", ".join(f"{n} = {v}" for n, v in zip(self.parameters, values, strict=True))
            named = ", ".join(f"{self.excluded[i]} = 0" for i in bad)
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
        ValueError
            If the corners have not one coordinate for each parameter, or `low` is above `high`.
        TypeError
            If they are no sequences of finite real numbers.
        SingularParameterError
            If a factor vanishes in the box, or if its sign could not be proved there: the proof is
            by Bernstein coefficients, exact at once for a factor that is affine in each parameter,
            and by bisection of the box for others.
        """
        n = len(self.parameters)
        low, high = _corner(low), _corner(high)
        if not len(low) == len(high) == n or any(a > b for a, b in zip(low, high, strict=True)):
            raise ValueError(
                f"`low` and `high` must be corners of a box of {', '.join(self.parameters)}, with "
                f"{n} coordinates and low <= high; got {low} and {high}"
            )
        for factor in self.factors(*self.generators):
            if not keeps_its_sign(factor, low, high):
                box = ", ".join(
                    f"{parameter} in [{a}, {b}]"
                    for parameter, a, b in zip(self.parameters, low, high, strict=True)
                )
                raise SingularParameterError(
                    f"{self.name}: the factor {_expression(factor)} vanishes in the box {box}; "
                    "choose a smaller radius or another centre"
                )


def _corner(values: Any) -> list[Fraction]:
    """The coordinates of a corner of a box; TypeError if they are no finite real numbers."""
    try:
        return [
            Fraction(x) if isinstance(x, Rational) else Fraction(*x.as_integer_ratio())
            for x in values
        ]
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise TypeError(
            "`low` and `high` must be sequences of numbers, Fractions say, that are finite and "
            f"real, got {values!r}"
        ) from error


def _is_constant(x: Any) -> bool:
    """Whether a rational function is the same for all parameters."""
    return not hasattr(x, "diff") or all(x.diff(y) == 0 for y in x.field.gens)


def _expression(factor: Any) -> Any:
    return factor.as_expr() if hasattr(factor, "as_expr") else factor
