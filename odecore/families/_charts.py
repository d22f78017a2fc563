"""Charts: families blown up at a point where the member depends on the direction of approach."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from numbers import Real
from typing import Any

from odecore.errors import SingularParameterError
from odecore.exact import QuadraticNumber
from odecore.families._bound import Bound
from odecore.families._family import Family, Rows

__all__ = ["chart", "charts"]

F = Fraction
LARGEST = 160  # bits of coordinates: factors of denominators take seconds then
Terms = tuple[tuple[tuple[tuple[int, ...], int], ...], int]  # powers and numerators; denominator
# Where the limit along v = v0 + m (u - u0) exists: each reaches one of the degenerate families.
# With the named members there: first those at u = u0, which (u, v) does not reach.
_POINTS: dict[str, dict[tuple[Fraction, Fraction], tuple[tuple[str, tuple[Any, ...]], ...]]] = {
    "RK3": {
        (F(2, 3), F(2, 3)): (("nystrom3", (F(2, 3), F(-1))),),
        (F(2, 3), F(0)): (("heun3", (F(1, 3), F(-2))),),
    },
    "RK4": {
        (F(1, 2), F(0)): (("three_eighths", (F(1, 3), F(-4))),),
        (F(1, 2), F(1, 2)): (
            ("classic", (F(1, 2), F(-1))),
            ("gill", (F(1, 2), QuadraticNumber(-3, 2, 2))),
        ),
        (F(1), F(1, 2)): (("three_eighths", (F(1, 3), F(-1, 4))),),
    },
}


def charts(family: Family, /) -> tuple[Family, ...]:
    """All charts of RK3 or RK4: three- and four-stage methods that (u, v) itself does not reach.

    Parameters
    ----------
    family : Family
        RK3 or RK4.

    Returns
    -------
    tuple of Family
        What `chart` gives at its points, in the order named there.

    Raises
    ------
    ValueError
        For any other family.
    TypeError
        If `family` is none.
    """
    Family.require(family)
    if family.name not in _POINTS:
        raise ValueError(f"only {' and '.join(_POINTS)} have charts, got {family.name}")
    return tuple(chart(family, *point) for point in _POINTS[family.name])


def chart(family: Family, u0: Fraction, v0: Fraction, /) -> Family:
    """The family in coordinates (u, m), v = v0 + m (u - u0), regular at u = u0.

    Parameters
    ----------
    family : Family
        RK3 or RK4.
    u0, v0 : Fraction
        A point of the excluded set where a limit exists along every line: for RK3 (2/3, 2/3) and
        (2/3, 0); for RK4 (1/2, 0), (1/2, 1/2), where (u, m) = (1/2, -1) is the classic method, and
        (1, 1/2).

    Returns
    -------
    Family
        Its coefficients are those of `family` with the common factors cancelled in Q(u, m), so that
        at u = u0 they are the limits. The excluded set is that of the denominators that remain.

    Raises
    ------
    SingularParameterError
        If no limit exists at (u0, v0): a denominator still vanishes there for every m.
    ValueError
        If the family has not two parameters u, v, or u0 or v0 is no quotient of integers of at
        most 160 bits.
    TypeError
        If u0 or v0 is no finite number.

    Notes
    -----
    At such a point the value depends on the direction m of approach; clamping (u, v) to the nearest
    valid point would pick an arbitrary member.
    """
    Family.require(family)
    if family.parameters != ("u", "v"):
        raise ValueError(f"charts need a family in u, v; {family.name} has {family.parameters}")
    return _chart(family, _coordinate("u0", u0), _coordinate("v0", v0))


def _coordinate(label: str, value: Any) -> Fraction:
    number: Any = value if isinstance(value, Real) else None
    try:
        found = Fraction(*number.as_integer_ratio())
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise TypeError(
            f"`{label}` must be a finite number, a Fraction say, got {value!r}"
        ) from error
    bits = max(found.numerator.bit_length(), found.denominator.bit_length())
    if bits > LARGEST:
        raise ValueError(
            f"`{label}` must be a quotient of integers of at most {LARGEST} bits, got one of {bits}"
        )
    return found


@cache
def _chart(family: Family, u0: Fraction, v0: Fraction) -> Family:
    from sympy import QQ
    from sympy.polys.fields import field

    _, u, m = field(["u", "m"], QQ)
    start = u * 0
    rows, b = family.formula(u, start + _rational(v0) + m * (u - _rational(u0)))
    flat = [
        entry if hasattr(entry, "denom") else start + entry for row in (*rows, b) for entry in row
    ]
    for entry in flat:
        if not any(entry.denom.evaluate([(entry.denom.ring.gens[0], _rational(u0))]).terms()):
            raise SingularParameterError(
                f"{family.name} has no chart at ({u0}, {v0}): the coefficients have no limit "
                "there, whatever the direction of approach"
            )
    excluded = _irreducible(flat)
    entries = tuple((_polynomial(entry.numer), _polynomial(entry.denom)) for entry in flat)
    formula = Bound(_formula, (entries, len(b)))
    factors = Bound(_factors, (tuple(map(_polynomial, excluded)),))
    name = f"{family.name} chart at ({u0}, {v0})"
    members = _POINTS.get(family.name, {}).get((u0, v0), ())
    return Family(name, ("u", "m"), family.order, formula, factors, members=members)


def _rational(value: Fraction) -> Any:
    from sympy import QQ

    return QQ(value.numerator, value.denominator)


def _irreducible(entries: list[Any]) -> list[Any]:
    """The distinct irreducible factors of all denominators."""
    found: list[Any] = []
    for entry in entries:
        found += [f for f, _ in entry.denom.factor_list()[1] if f not in found]
    return found


def _formula(
    entries: tuple[tuple[Terms, Terms], ...], s: int, u: Any, m: Any
) -> tuple[Rows, tuple[Any, ...]]:
    values = [_value(above, u, m) / _value(below, u, m) for above, below in entries]
    starts = [i * (i - 1) // 2 for i in range(s + 1)]
    rows = tuple(tuple(values[starts[i] : starts[i + 1]]) for i in range(s))
    return rows, tuple(values[starts[s] :])


def _factors(polynomials: tuple[Terms, ...], u: Any, m: Any) -> tuple[Any, ...]:
    return tuple(_value(polynomial, u, m) for polynomial in polynomials)


def _polynomial(polynomial: Any) -> Terms:
    """A SymPy ring element with integers only, so that arrays may enter it."""
    common, cleared = polynomial.clear_denoms()
    return tuple((tuple(powers), int(c)) for powers, c in cleared.terms()), int(common)


def _value(polynomial: Terms, *values: Any) -> Any:
    terms, common = polynomial
    total: Any = values[0] * 0
    for powers, coefficient in terms:
        term: Any = coefficient
        for value, power in zip(values, powers, strict=True):
            for _ in range(power):
                term = term * value
        total = total + term
    return total / common
