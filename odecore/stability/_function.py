"""The stability function R(z) = P(z)/Q(z), with exact coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import factorial
from numbers import Real
from typing import Any

import numpy as np

from odecore._array import as_float
from odecore.exact import Polynomial
from odecore.families import Family
from odecore.stability._rounding import determinant_radius, rounded_entries, without_rounding
from odecore.tableaux import ButcherTableau

__all__ = ["StabilityFunction", "stability_function"]

Coefficients = tuple[Any, ...]

FAR = 1000  # in s^2, where no powers of z cancel any more


@dataclass(frozen=True)
class StabilityFunction:
    """A rational function with exact coefficients, lowest degree first.

    Parameters
    ----------
    numerator, denominator : tuple of exact numbers, or rational functions for a family
        Polynomials P and Q without trailing zeros; Q(0) = 1.
    stages : pair of arrays, optional
        A and b of an explicit method in floats.
    radii : pair of Polynomial, optional
        How far each coefficient of P and Q may be off, for a method known as decimals.
    """

    numerator: Coefficients
    denominator: Coefficients
    stages: tuple[Any, Any] | None = field(default=None, compare=False, repr=False)
    radii: tuple[Polynomial, Polynomial] | None = field(default=None, compare=False, repr=False)

    def __call__(self, z: Any, /) -> Any:
        """Evaluate R at a number or, elementwise, at a real or complex array; inf at a pole.

        Where `stages` are known it is by a step for y' = zy: on a long real interval the powers of
        z cancel to nothing, the stages do not. Far outside of all intervals it is by powers, and
        what is beyond the largest number is infinite, a complex number in its direction. An exact
        number is rounded to a float.
        """
        if not all(isinstance(a, Real) for a in (*self.numerator, *self.denominator)):
            raise TypeError(
                "R of a family is a function of its parameters too; take that of a member, which "
                "odecore.tableaux.tableau_at gives"
            )
        z = _numbers(z)
        if self.stages is not None:
            return _by_steps(*self.stages, self.numerator, z)
        return _quotient(self.numerator, self.denominator, z)

    def reduced(self) -> tuple[Polynomial, Polynomial]:
        """P and Q without common factors, as polynomials; exact numbers only."""
        P, Q = Polynomial(self.numerator), Polynomial(self.denominator)
        common = P.gcd(Q)
        if common.degree > 0:
            P, Q = divmod(P, common)[0], divmod(Q, common)[0]
        return P / Q(0), Q / Q(0)


def stability_function(method: ButcherTableau | Family, /) -> StabilityFunction:
    """Exact stability function of an explicit or implicit method.

    Parameters
    ----------
    method : ButcherTableau or Family

    Returns
    -------
    StabilityFunction
        R(z) = det(I - zA + z 1 b^T) / det(I - zA); one step for y' = lambda y multiplies y by
        R(h lambda). Common factors of P and Q are kept. For a method that is known as decimals the
        coefficients that are no larger than what rounding can make them are zero, and `radii` tells
        this size; for an explicit one those up to its order are 1/k!, as they are for the method
        meant: else rounding would destroy its imaginary interval.

    Raises
    ------
    TypeError
        If `method` is neither a tableau nor a family.

    Notes
    -----
    Hairer, Wanner, Solving Ordinary Differential Equations II, proposition IV.3.2. The
    determinants come from the Faddeev-LeVerrier recurrence, exact over the rationals.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> [str(c) for c in stability_function(tableau("classic")).numerator]
    ['1', '1', '1/2', '1/6', '1/24']
    """
    if not isinstance(method, ButcherTableau | Family):
        raise TypeError(
            f"`method` must be a ButcherTableau or a Family, got {type(method).__name__}; look a "
            "name up with odecore.tableaux.tableau"
        )
    if method.is_explicit:
        return _of_explicit(method)
    shifted = [[a - w for a, w in zip(row, method.b, strict=True)] for row in method.A]
    P, Q = reversed_characteristic(shifted), reversed_characteristic(method.A)
    if isinstance(method, Family) or not method.uncertainty:
        return StabilityFunction(P, Q)
    in_A, in_b = rounded_entries(method)
    radii = (
        determinant_radius(shifted, [method.uncertainty * (n + in_b) for n in in_A]),
        determinant_radius(method.A, [method.uncertainty * n for n in in_A]),
    )
    P, Q = (
        without_rounding(Polynomial(p), radius).coefficients
        for p, radius in zip((P, Q), radii, strict=True)
    )
    return StabilityFunction(P, Q, radii=radii)


def _of_explicit(method: ButcherTableau | Family) -> StabilityFunction:
    """R(z) = 1 + sum over k of z^k b^T A^(k-1) 1."""
    P = _moments(method.A, method.b)
    if isinstance(method, Family):
        return StabilityFunction(Polynomial(P).coefficients, (Fraction(1),))
    if not method.uncertainty:
        return StabilityFunction(Polynomial(P).coefficients, (Fraction(1),), as_floats(method))
    sizes = [[abs(a) for a in row] for row in (*method.A, method.b)]
    largest = [[a + method.uncertainty if a else a for a in row] for row in sizes]
    high, low = (_moments(rows[:-1], rows[-1]) for rows in (largest, sizes))
    off = [a - b for a, b in zip(high, low, strict=True)]
    for k in range((method.order or 0) + 1):
        P[k], off[k] = Fraction(1, factorial(k)), Fraction(0)
    radii = Polynomial(off), Polynomial(())
    kept = without_rounding(Polynomial(P), radii[0]).coefficients
    return StabilityFunction(kept, (Fraction(1),), as_floats(method), radii)


def _moments(A: Sequence[Sequence[Any]], b: Sequence[Any]) -> list[Any]:
    """1, and b^T A^(k-1) 1 for k = 1, ..., s."""
    powers = [Fraction(1)] * len(b)
    found: list[Any] = [Fraction(1)]
    for _ in b:
        found.append(_inner(b, powers))
        powers = [_inner(row, powers) for row in A]
    return found


def _inner(p: Sequence[Any], q: Sequence[Any]) -> Any:
    return sum((a * b for a, b in zip(p, q, strict=True) if a != 0 != b), Fraction(0))


def as_floats(method: ButcherTableau) -> tuple[Any, Any]:
    """A and b as arrays; ValueError where they are beyond all floats."""
    try:
        rows, weights = [[float(a) for a in row] for row in method.A], list(map(float, method.b))
    except OverflowError:
        raise ValueError(
            f"a coefficient of {method.name or 'this method'} is beyond the largest float, "
            "1.8e308, and stability is decided with floats too; choose smaller ones"
        ) from None
    return np.array(rows), np.array(weights)


def require_tableau(method: Any) -> None:
    """Refuse what is not one method with numbers."""
    if not isinstance(method, ButcherTableau):
        raise TypeError(
            f"`method` must be a ButcherTableau, got {type(method).__name__}; evaluate a family "
            "with odecore.tableaux.tableau_at, look a name up with odecore.tableaux.tableau"
        )


def reversed_characteristic(matrix: Sequence[Sequence[Any]]) -> Coefficients:
    """Coefficients of det(I - zM), lowest degree first, without trailing zeros."""
    n = range(len(matrix))
    coefficients: list[Any] = [Fraction(1)]
    product: list[list[Any]] = [[Fraction(0)] * len(matrix) for _ in n]
    for k in range(1, len(matrix) + 1):
        for i in n:
            product[i][i] += coefficients[-1]
        columns = list(zip(*product, strict=True))
        product = [[_inner(row, column) for column in columns] for row in matrix]
        coefficients.append(-sum((product[i][i] for i in n), Fraction(0)) / k)
    return Polynomial(coefficients).coefficients


def _numbers(z: Any) -> Any:
    """Real or complex numbers as an array of floats; exact ones are rounded."""
    try:
        found = np.asarray(z)
        if found.dtype == object:
            numbers = [as_float(x) if isinstance(x, Real) else complex(x) for x in found.ravel()]
            found = np.reshape(numbers, found.shape)
        if found.dtype.kind in "biufc":
            return found + 0.0
    except (TypeError, ValueError):  # of text, None, and ragged rows
        pass
    raise TypeError(f"`z` must be a real or complex number, or an array of them, got {z!r}")


def _by_steps(A: Any, b: Any, P: Coefficients, z: Any) -> Any:
    """R of an explicit method with s stages, none of which is stable beyond -2 s^2."""
    far = np.abs(z) > FAR * len(b) ** 2
    if not far.any():
        return _step(A, b, z)
    wide = np.asarray(z, np.result_type(z, np.float64))  # small coefficients times large powers
    values = np.asarray(_step(A, b, np.where(far, 0, wide)))
    values[far] = _quotient(P, (1,), wide[far])
    with np.errstate(over="ignore"):
        return values.astype(z.dtype)[()]


def _step(A: Any, b: Any, z: Any) -> Any:
    """One step of an explicit method, by blocks so that the stages of a picture fit in memory."""
    flat = z.reshape(-1)
    values = np.empty_like(flat)
    for start in range(0, flat.size, 4096):
        block = flat[start : start + 4096]
        slopes = np.empty((len(b), block.size), dtype=flat.dtype)
        for i in range(len(b)):
            slopes[i] = block * (1 + A[i, :i] @ slopes[:i])
        values[start : start + 4096] = 1 + b @ slopes
    return values.reshape(z.shape)[()]


def _quotient(P: Coefficients, Q: Coefficients, z: Any) -> Any:
    """P(z)/Q(z), where abs(z) > 1 by powers of 1/z, which do not overflow."""
    z = np.asarray(z)
    values, large = np.empty_like(z), np.abs(z) > 1
    with np.errstate(all="ignore"):
        values[~large] = _divided(_horner(P, z[~large]), _horner(Q, z[~large]))
        w = 1 / _finite(z[large])
        outer = _divided(_horner(P[::-1], w), _horner(Q[::-1], w))
        values[large] = _raised(outer, z[large], len(P) - len(Q))
    return values[()]


def _raised(value: Any, z: Any, degree: int) -> Any:
    """The product of a value and a power of z, in which zero times infinity is zero."""
    if degree <= 0:
        return value * (1 / _finite(z)) ** -degree
    product = value * (_finite(z) / _size(_finite(z))) ** degree
    parts = (product.real, product.imag) if np.iscomplexobj(z) else (product,)
    for part in parts:
        for _ in range(degree):
            np.multiply(part, _size(z), out=part, where=part != 0)
    return product


def _finite(z: Any) -> Any:
    """The largest numbers for infinite ones."""
    return np.nan_to_num(z, nan=np.nan)


def _size(z: Any) -> Any:
    """The larger one of both parts."""
    return np.maximum(np.abs(z.real), np.abs(z.imag))


def _divided(p: Any, q: Any) -> Any:
    """The quotient, and infinity at a pole, where a complex one would be NaN."""
    return np.where((q == 0) & (p != 0), np.inf, p / q)


def _horner(polynomial: Coefficients, z: Any) -> Any:
    value = float(polynomial[-1]) + 0 * z
    for coefficient in reversed(polynomial[:-1]):
        value = value * z + float(coefficient)
    return value
