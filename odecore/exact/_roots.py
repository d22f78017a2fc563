"""Real roots of an exact polynomial: counted by Sturm's theorem, isolated by Descartes' rule."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

from odecore.exact._polynomial import Polynomial
from odecore.exact._quadratic import QuadraticNumber, exact_number

__all__ = ["count_roots", "isolate_roots", "refine_root", "sign_on_interval", "sturm_sequence"]


def _sign(number: Any) -> int:
    return int(number > 0) - int(number < 0)


def _sign_at(polynomial: Polynomial, x: Any) -> int:
    """Sign of p(x); at n/d of d^degree p(n/d), an integer where the coefficients are integers."""
    coefficients = polynomial.coefficients
    if not isinstance(x, int | Fraction) or any(type(a) is not int for a in coefficients):
        return _sign(polynomial(x))
    value, power = 0, 1
    for a in reversed(coefficients):
        value = value * x.numerator + a * power
        power *= x.denominator
    return _sign(value)


def sturm_sequence(polynomial: Polynomial, /) -> tuple[Polynomial, ...]:
    """The polynomial, its derivative, and their negated remainders, each up to a positive factor.

    Parameters
    ----------
    polynomial : Polynomial
        Not zero, over Fractions or one quadratic field.

    Returns
    -------
    tuple of Polynomial
        The last one is a greatest common divisor of the first two.

    Raises
    ------
    TypeError
        If a coefficient is not exact, as a float is not.
    ValueError
        If the polynomial is zero, so that every number is a root.
    """
    polynomial = _exact(polynomial)
    if not polynomial:
        raise ValueError("the zero polynomial has every number as a root; it has no Sturm sequence")
    chain = [polynomial.primitive(), polynomial.derivative().primitive()]
    while chain[-1]:
        chain.append((-divmod(chain[-2], chain[-1])[1]).primitive())
    return tuple(chain[:-1])


def _exact(polynomial: Any) -> Polynomial:
    if not isinstance(polynomial, Polynomial):
        raise TypeError(f"`polynomial` must be a Polynomial, got {polynomial!r}; make one of it")
    return Polynomial([a if type(a) is int else exact_number(a) for a in polynomial.coefficients])


def _interval(low: Any, high: Any) -> tuple[Any, Any]:
    """The ends as exact numbers, None if they are infinite."""
    low, high = _end(low, -1), _end(high, 1)
    if low is not None and high is not None and low > high:
        raise ValueError(
            f"the lower end of an interval comes first, got {low} > {high}; exchange them"
        )
    return low, high


def _end(end: Any, side: int) -> Any:
    if end is None:
        return None
    if isinstance(end, Rational | QuadraticNumber) or not hasattr(end, "as_integer_ratio"):
        return exact_number(end)
    try:
        return Fraction(*end.as_integer_ratio())
    except OverflowError:
        if _sign(end) == side:
            return None
    except ValueError:
        pass
    raise ValueError(
        f"the ends of an interval are numbers, or -inf (below) and inf (above), got {end}"
    )


def _variations(signs: list[int]) -> int:
    kept = [sign for sign in signs if sign]
    return sum(a != b for a, b in itertools.pairwise(kept))


def _at(chain: tuple[Polynomial, ...], x: Any, side: int) -> int:
    """Sign variations at x, or at infinity of the given side for x = None."""
    if x is None:
        return _variations([_sign(p.leading) * side**p.degree for p in chain])
    return _variations([_sign_at(p, x) for p in chain])


def count_roots(polynomial: Polynomial, low: Any = None, high: Any = None, /) -> int:
    """Number of distinct real roots in the half-open interval (low, high].

    Parameters
    ----------
    polynomial : Polynomial
        Not zero.
    low, high : exact numbers or floats, optional
        None stands for -infinity and +infinity.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If a coefficient is not exact, as a float is not.
    ValueError
        If the polynomial is zero, `low > high`, or an end is no number.

    Notes
    -----
    Sturm's theorem, of the squarefree part: an end may be a multiple root.

    Examples
    --------
    >>> count_roots(Polynomial((-2, 0, 1))), count_roots(Polynomial((-2, 0, 1)), 0)
    (2, 1)
    """
    low, high = _interval(low, high)
    chain = sturm_sequence(_exact(polynomial).squarefree())
    return _at(chain, low, -1) - _at(chain, high, 1)


def isolate_roots(
    polynomial: Polynomial, low: Any = None, high: Any = None, /
) -> tuple[tuple[Any, Any], ...]:
    """Disjoint intervals, in increasing order, with exactly one real root in each.

    Parameters
    ----------
    polynomial : Polynomial
        Not zero.
    low, high : exact numbers or floats, optional
        Only roots in (low, high] are listed.

    Returns
    -------
    tuple of pairs
        (a, b) with one root in (a, b], simple in the squarefree part and not at a; a == b where the
        root itself was met.

    Raises
    ------
    TypeError
        If a coefficient is not exact, as a float is not.
    ValueError
        If the polynomial is zero, `low > high`, or an end is no number.

    Notes
    -----
    Intervals are halved until Descartes' rule of signs says no root or one: Collins, Akritas,
    SYMSAC '76 (1976), 272. No Sturm sequence is needed, whose coefficients grow with the square of
    the degree.
    """
    low, high = _interval(low, high)
    free = _exact(polynomial).squarefree()
    if not free:
        raise ValueError("the zero polynomial has every number as a root; it has none to isolate")
    if free.degree < 1:
        return ()
    # Cauchy: every root is smaller than 1 + max |a_k / a_n|.
    ratios = [abs(a / Fraction(1) / free.leading) for a in free.coefficients[:-1]]
    bound = Fraction(2)
    while any(ratio >= bound - 1 for ratio in ratios):
        bound *= 2
    low, high = -bound if low is None else low, bound if high is None else high
    if not low < high:
        return ()
    unit = _on_unit_interval(free, low, high)
    found, todo = [], [(high, high, [sum(unit)]), (low, high, unit)]
    while todo:
        a, b, unit = todo.pop()  # on (0, 1) the polynomial on (a, b)
        if a == b:
            found += [(a, b)] if unit[0] == 0 else []
        elif (roots := _most_roots(unit)) == 1 and unit[0] != 0 != sum(unit):
            found.append((a, b))
        elif roots:
            middle = (a + b) / Fraction(2)
            left = [c * 2 ** (len(unit) - 1 - k) for k, c in enumerate(unit)]
            right = _shifted(left)
            todo += [(middle, b, right), (middle, middle, right[:1]), (a, middle, left)]
    return tuple(found)


def _most_roots(unit: Sequence[Any]) -> int:
    """How many roots there are in (0, 1) at most, by Descartes' rule; 0 and 1 are exact."""
    return _variations([_sign(c) for c in _shifted(unit[::-1])])  # of u, with x = 1 / (1 + u)


def _on_unit_interval(polynomial: Polynomial, low: Any, high: Any) -> list[Any]:
    """Coefficients of p(low + (high - low) x), up to a positive factor."""
    moved = Polynomial(())
    for a in reversed(polynomial.coefficients):
        moved = moved * Polynomial((low, high - low)) + a
    return list(moved.primitive().coefficients)


def _shifted(coefficients: Sequence[Any]) -> list[Any]:
    """Coefficients of p(x + 1), by repeated synthetic division."""
    rest, found = list(reversed(coefficients)), []
    while rest:
        rest = list(itertools.accumulate(rest))
        found.append(rest.pop())
    return found


def refine_root(
    polynomial: Polynomial, bracket: tuple[Any, Any], width: Fraction, /
) -> tuple[Any, Any]:
    """Shrink an interval of `isolate_roots` by bisection to at most `width`.

    Parameters
    ----------
    polynomial : Polynomial
        The polynomial that the interval was isolated for.
    bracket : pair
        One root in (a, b], the polynomial not zero at a.
    width : Fraction
        Positive.

    Returns
    -------
    pair
        (a, b) with the root in (a, b], b - a at most `width`; a == b where the root was met.

    Raises
    ------
    TypeError
        If a coefficient is not exact, as a float is not.
    ValueError
        If `width` is not positive, so that bisection would not end, `bracket` is no finite pair, or
        the polynomial has one sign at both of its ends.
    """
    if not isinstance(width, Real) or not width > 0:
        raise ValueError(f"`width` must be positive, got {width!r}")
    if not isinstance(bracket, Sequence) or len(bracket) != 2:
        raise ValueError(f"`bracket` must be a pair, got {bracket!r}; isolate_roots gives brackets")
    low, high = _interval(*bracket)
    if low is None or high is None:
        raise ValueError(f"`bracket` must be finite, got {bracket}; isolate_roots gives brackets")
    free = _exact(polynomial).squarefree()
    below = _sign_at(free, low)
    if (below == 0 and low < high) or below * _sign_at(free, high) > 0:
        raise ValueError(
            f"`bracket` must hold one root in (a, b] and none at a, got ({low}, {high}), where "
            f"{polynomial} has no change of sign; isolate_roots gives brackets"
        )
    while high - low > width:
        middle = (low + high) / Fraction(2)
        sign = _sign_at(free, middle)
        if sign == 0:
            return middle, middle
        low, high = (middle, high) if sign == below else (low, middle)
    return low, high


def sign_on_interval(polynomial: Polynomial, low: Any = None, high: Any = None, /) -> int | None:
    """Sign of a polynomial on an open interval: 1 if nowhere negative, -1 if nowhere positive.

    Parameters
    ----------
    polynomial : Polynomial
    low, high : exact numbers or floats, optional
        None stands for -infinity and +infinity.

    Returns
    -------
    int or None
        0 for the zero polynomial; None where both signs occur. Zeros inside are allowed: roots of
        even multiplicity do not change the sign.

    Raises
    ------
    TypeError
        If a coefficient is not exact, as a float is not.
    ValueError
        If `low > high`, or an end is no number.

    Examples
    --------
    >>> sign_on_interval(Polynomial((1, -2, 1))), sign_on_interval(Polynomial((-1, 0, 1)))
    (1, None)
    """
    low, high = _interval(low, high)
    polynomial = _exact(polynomial)
    if not polynomial:
        return 0
    cuts = [cut for cut in isolate_roots(polynomial, low, high) if high is None or cut[0] < high]
    cuts = [_separated(polynomial, cut, low, high) for cut in cuts]
    ends = [low, *(end for cut in cuts for end in cut), high]
    samples = [_between(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True)]
    signs = {_sign(polynomial(x)) for x in samples}
    return signs.pop() if len(signs) == 1 else None


def _separated(polynomial: Polynomial, cut: tuple[Any, Any], low: Any, high: Any) -> Any:
    """Shrink an isolating interval until it lies inside (low, high), if its root does."""
    while (cut[0] == low or cut[1] == high) and cut[0] < cut[1]:
        cut = refine_root(polynomial, cut, (cut[1] - cut[0]) / Fraction(2))
    return cut


def _between(low: Any, high: Any) -> Any:
    """A number of the gap from one isolating interval to the next; its ends are no roots."""
    if low is None or high is None:
        return (low or Fraction(0)) + 1 if high is None else high - 1
    return (low + high) / Fraction(2)
