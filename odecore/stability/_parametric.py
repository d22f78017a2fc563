"""A- and L-stability over the parameters of a family, as exact conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from odecore.exact import Polynomial, QuadraticNumber, count_roots, isolate_roots, refine_root
from odecore.families import Family
from odecore.stability._function import reversed_characteristic, stability_function
from odecore.stability._intervals import axis_difference, mirrored

__all__ = ["ParametricStability", "parametric_stability"]


@dataclass(frozen=True)
class ParametricStability:
    """Exact conditions on the parameters of a family, as factored polynomials.

    Parameters
    ----------
    family : str
    non_negative : tuple of str
        I-stable iff all of these are >= 0.
    poles : tuple of str
        A-stable iff also all of these are >= 0: the coefficients of Q(-z). (That both poles lie on
        the axis itself is excluded by E >= 0.)
    zero_at_infinity : tuple of str
        L-stable iff A-stable and all of these vanish.
    domain : tuple of str
        The statements on A- and L-stability hold where none of these vanishes: there no pole is
        cancelled, and R does not lose a degree at infinity. Elsewhere use `linear_stability`.
    solution : str
        A-stability solved for the parameter where only one occurs, such as "gamma >= 1/4"; else "".
    """

    family: str
    non_negative: tuple[str, ...]
    poles: tuple[str, ...]
    zero_at_infinity: tuple[str, ...]
    domain: tuple[str, ...] = ()
    solution: str = ""

    def __str__(self) -> str:
        conditions = [f"{p} >= 0" for p in (*self.non_negative, *self.poles)]
        at_infinity = " and ".join(f"{p} = 0" for p in self.zero_at_infinity)
        where = "".join(f", where {p} != 0," for p in self.domain)
        return (
            f"{self.family}{where} is A-stable iff {self.solution or ' and '.join(conditions)}; "
            f"L-stable iff also {at_infinity or 'nothing more'}"
        )


def parametric_stability(family: Family, /) -> ParametricStability:
    """Conditions for A- and L-stability over the parameters of a family.

    Parameters
    ----------
    family : Family
        With at most two stages' worth of poles (deg Q <= 2), so that E has at most two terms and
        its sign is that of its coefficients.

    Returns
    -------
    ParametricStability

    Raises
    ------
    TypeError
        If `family` is none.
    ValueError
        If E has more terms, or Q a higher degree: then decide members by `linear_stability`. If the
        family is explicit: then R is a polynomial and no member is A-stable.

    Notes
    -----
    Multiplied by squares of denominators, which are positive off the excluded set.

    Examples
    --------
    >>> from odecore.families import SDIRK2
    >>> print(parametric_stability(SDIRK2))
    SDIRK2, where 2*gamma - 1 != 0, is A-stable iff gamma >= 1/4; L-stable iff also \
2*gamma**2 - 4*gamma + 1 = 0
    """
    Family.require(family, instead="linear_stability")
    if family.is_explicit:
        raise ValueError(
            f"{family.name} is explicit: R is a polynomial, so no member is A-stable; use "
            "linear_stability, real_interval or imaginary_interval for a member"
        )
    function = stability_function(family)
    one = family.generators[0].field.one
    P, Q = (Polynomial([one * a for a in p]) for p in (function.numerator, function.denominator))
    E, common = axis_difference(P, Q), _resultant(P, Q).numer
    terms = [e for e in E.coefficients if e != 0]
    if len(terms) > 2 or Q.degree > 2:
        raise ValueError(
            f"E of {family.name} has {len(terms)} terms and Q degree {Q.degree}; only up to 2 "
            "each are decided over the parameters; use linear_stability for a member"
        )
    poles = mirrored(Q).coefficients[1:]
    signs = [a.numer * a.denom for a in (*terms, *poles)]
    return ParametricStability(
        family.name,
        tuple(map(_factored, signs[: len(terms)])),
        tuple(map(_factored, signs[len(terms) :])),
        tuple(_factored(p.numer) for p in P.coefficients[Q.degree :]),
        () if common.is_ground else (_factored(common.sqf_part()),),
        _solution(signs, family.parameters),
    )


def _solution(conditions: Sequence[Any], names: Sequence[str]) -> str:
    """Solve p >= 0 for all p exactly, if only one parameter occurs in them."""
    used = {k for p in conditions for powers in p.itermonoms() for k, n in enumerate(powers) if n}
    if len(used) != 1:
        return ""
    k = used.pop()
    polynomials = [_univariate(p, k) for p in conditions]
    product = Polynomial((1,))
    for polynomial in polynomials:
        product *= polynomial
    cuts = isolate_roots(product)
    # No condition changes its sign between neighbouring roots: a sample from each gap decides.
    lower = [cuts[0][0] - 1 if cuts else Fraction(0), *(b for _, b in cuts)]
    upper = [*(a for a, _ in cuts), lower[-1] + 1]
    good = [
        all(p((a + b) / Fraction(2)) >= 0 for p in polynomials)
        for a, b in zip(lower, upper, strict=True)
    ]
    ends = [None, *(_named(product, cut) for cut in cuts), None]
    pieces = []
    for index, low in enumerate(ends[:-1]):
        if not good[index] or (index and good[index - 1]):
            continue
        end = index
        while end + 1 < len(good) and good[end + 1]:
            end += 1
        pieces.append(_interval(names[k], low, ends[end + 1]))
    # A root between two bad gaps is a solution by itself if no condition is negative there.
    for index, cut in enumerate(cuts):
        if not (good[index] or good[index + 1]) and all(
            p(cut[0]) >= 0 or _vanishes_in(p, cut) for p in polynomials
        ):
            pieces.append(f"{names[k]} = {ends[index + 1]}")
    return " or ".join(pieces) or "never"


def _vanishes_in(p: Polynomial, cut: tuple[Any, Any]) -> bool:
    """Whether a polynomial vanishes at the root that an interval isolates."""
    return bool(p(cut[0]) == 0 if cut[0] == cut[1] else count_roots(p, *cut))


def _univariate(polynomial: Any, k: int) -> Polynomial:
    terms = {
        powers[k]: Fraction(int(c.numerator), int(c.denominator))
        for powers, c in polynomial.terms()
    }
    return Polynomial([terms.get(n, Fraction(0)) for n in range(max(terms) + 1)])


def _named(polynomial: Polynomial, cut: tuple[Any, Any]) -> str:
    """The root in an isolating interval: rational, with a square root, or by its polynomial."""
    from sympy import Poly, Symbol, sqrt

    x = Symbol("x")
    factors = Poly(list(map(_rational, reversed(polynomial.coefficients))), x).factor_list()[1]
    candidates = [Polynomial([int(c) for c in reversed(f.all_coeffs())]) for f, _ in factors]
    own = next(p for p in candidates if _vanishes_in(p, cut))
    low, high = refine_root(own, cut, Fraction(1, 2**60))
    if own.degree == 1:
        return str(-Fraction(*own.coefficients))
    if own.degree == 2:
        c, b, a = own.coefficients
        size, root = sqrt(b * b - 4 * a * c).as_coeff_Mul()
    if own.degree == 2 and root**2 < 10**9:
        for part in (Fraction(int(size), 2 * a), -Fraction(int(size), 2 * a)):
            number = QuadraticNumber(Fraction(-b, 2 * a), part, int(root**2))
            if low <= number <= high:
                return str(number)
    return f"the root of {own} near {float(low):.6g}"


def _rational(number: Any) -> Any:
    from sympy import Rational

    return Rational(Fraction(number).numerator, Fraction(number).denominator)


def _interval(name: str, low: str | None, high: str | None) -> str:
    if low is None:
        return f"{name} <= {high}" if high is not None else "always"
    return f"{name} >= {low}" if high is None else f"{low} <= {name} <= {high}"


def _resultant(P: Polynomial, Q: Polynomial) -> Any:
    """Zero iff two polynomials have a common zero, at infinity too: Bezout's determinant."""
    n, zero = max(P.degree, Q.degree), P.leading * 0
    p, q = ([*f.coefficients, *[zero] * (n - f.degree)] for f in (P, Q))
    bezout = [
        [
            sum(
                (
                    p[j + k + 1] * q[i - k] - p[i - k] * q[j + k + 1]
                    for k in range(min(i, n - 1 - j) + 1)
                ),
                zero,
            )
            for j in range(n)
        ]
        for i in range(n)
    ]
    coefficients = reversed_characteristic(bezout)
    return coefficients[n] if len(coefficients) > n else zero


def _factored(polynomial: Any) -> str:
    """A positive multiple, factored."""
    from sympy import factor

    content, primitive = polynomial.primitive()
    sign = -1 if content < 0 else 1
    return str(factor((primitive * sign).as_expr()))
