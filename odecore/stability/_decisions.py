"""A-, L- and I-stability, decided by exact signs: for one method, and over parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from odecore.exact import (
    Polynomial,
    isolate_roots,
    refine_root,
    sign_on_interval,
    sturm_sequence,
)
from odecore.families import Family
from odecore.stability._function import require_tableau, stability_function
from odecore.stability._intervals import axis_polynomial
from odecore.tableaux import ButcherTableau

__all__ = ["LinearStability", "ParametricStability", "linear_stability", "parametric_stability"]


@dataclass(frozen=True)
class LinearStability:
    """What R(z) = P(z)/Q(z) does on and beside the imaginary axis, with the evidence.

    Parameters
    ----------
    I_stable : bool
        abs(R(iy)) <= 1 for all real y.
    A_stable : bool
        abs(R(z)) <= 1 for all Re z <= 0.
    L_stable : bool
        A-stable, and R(z) -> 0 for z -> infinity.
    E : Polynomial
        E(y^2) = abs(Q(iy))^2 - abs(P(iy))^2, without common factors of P and Q.
    sturm : tuple of Polynomial
        Sturm sequence of E, which decides its sign on (0, infinity); empty for E = 0.
    routh : tuple of exact numbers
        First column of the Routh array of Q(-z): the poles lie in the right half plane iff all
        are positive.
    statement : str
    """

    I_stable: bool
    A_stable: bool
    L_stable: bool
    E: Polynomial
    sturm: tuple[Polynomial, ...]
    routh: tuple[Any, ...]
    statement: str

    def __str__(self) -> str:
        return self.statement


def linear_stability(method: ButcherTableau, /) -> LinearStability:
    """Decide I-, A- and L-stability of one method exactly.

    Parameters
    ----------
    method : ButcherTableau
        For coefficients known as decimals the decision is about the decimals: a borderline property
        (E = 0, or a vanishing leading coefficient) does not survive rounding.

    Notes
    -----
    Hairer, Wanner II, section IV.3: A-stable iff E >= 0 and all poles have positive real part, by
    the maximum principle. No point of the axis is sampled.

    Examples
    --------
    >>> from odecore.tableaux import tableau
    >>> print(linear_stability(tableau("radau_iia2")))
    L-stable: E(x) = 1/36*x^2 >= 0 for x = y^2 >= 0, and all poles have positive real part
    """
    require_tableau(method)
    function = stability_function(method)
    P, Q = function.reduced()
    E = axis_polynomial(function)
    sign = sign_on_interval(E, Fraction(0))
    on_axis = sign in (0, 1)
    routh = _routh([a * (-1) ** k for k, a in enumerate(Q.coefficients)])
    poles_right = all(entry > 0 for entry in routh)
    A_stable = on_axis and poles_right
    L_stable = A_stable and P.degree < Q.degree
    name = "L-stable" if L_stable else "A-stable" if A_stable else "not A-stable"
    if on_axis:
        about = f"E(x) = {E} >= 0 for x = y^2 >= 0"
    else:
        about = f"E(x) = {E} is negative for some x = y^2 > 0"
    where = "all poles have positive real part" if poles_right else "not all poles have"
    if not poles_right:
        where += " positive real part"
    return LinearStability(
        on_axis,
        A_stable,
        L_stable,
        E,
        sturm_sequence(E.squarefree()) if E else (),
        routh,
        f"{name}: {about}, {'and' if A_stable else 'while' if poles_right else 'and'} {where}",
    )


def _routh(coefficients: Sequence[Any]) -> tuple[Any, ...]:
    """First column of the Routh array, highest power first, up to an entry that is not > 0."""
    highest = list(reversed(coefficients))
    if highest[0] < 0:
        highest = [-a for a in highest]
    rows = [highest[::2], highest[1::2]]
    column = [highest[0]]
    while rows[1]:
        above, here = rows
        column.append(here[0])
        if not here[0] > 0:
            break
        ratio = above[0] / (Fraction(1) * here[0])
        padded = here[1:] + [0] * (len(above) - len(here))
        rows = [here, [a - ratio * b for a, b in zip(above[1:], padded, strict=True)]]
    return tuple(column)


@dataclass(frozen=True)
class ParametricStability:
    """Exact conditions on the parameters of a family, as factored polynomials.

    Parameters
    ----------
    family : str
    non_negative : tuple of str
        I-stable iff all of these are >= 0.
    poles : tuple of str
        A-stable iff also all of these are >= 0, where P and Q have no common factor: the
        coefficients of Q(-z). (That both poles lie on the axis itself is excluded by E >= 0.)
    zero_at_infinity : tuple of str
        L-stable iff A-stable and all of these vanish.
    solution : str
        The same solved for the parameter where only one occurs, such as "gamma >= 1/4"; else "".
    """

    family: str
    non_negative: tuple[str, ...]
    poles: tuple[str, ...]
    zero_at_infinity: tuple[str, ...]
    solution: str = ""

    def __str__(self) -> str:
        conditions = [f"{p} >= 0" for p in (*self.non_negative, *self.poles)]
        at_infinity = " and ".join(f"{p} = 0" for p in self.zero_at_infinity)
        return (
            f"{self.family} is A-stable iff {self.solution or ' and '.join(conditions)}; "
            f"L-stable iff also {at_infinity or 'nothing more'}"
        )


def parametric_stability(family: Family, /) -> ParametricStability:
    """Conditions for A- and L-stability over the parameters of a family.

    Parameters
    ----------
    family : Family
        With at most two stages' worth of poles (deg Q <= 2), so that E has at most two terms and
        its sign is that of its coefficients.

    Raises
    ------
    ValueError
        If E has more terms, or Q a higher degree: then decide members by `linear_stability`.

    Notes
    -----
    Multiplied by squares of denominators, which are positive off the excluded set.

    Examples
    --------
    >>> from odecore.families import SDIRK2
    >>> print(parametric_stability(SDIRK2))
    SDIRK2 is A-stable iff gamma >= 1/4; L-stable iff also 2*gamma**2 - 4*gamma + 1 = 0
    """
    if not isinstance(family, Family):
        raise TypeError(
            f"`family` must be a Family, got {type(family).__name__}; for one method use "
            "linear_stability"
        )
    function = stability_function(family)
    one = family.generators[0] * 0 + 1
    P, Q = ([one * a for a in p] for p in (function.numerator, function.denominator))
    E = [q - p for p, q in zip(*_padded(_square(P), _square(Q), one * 0), strict=True)]
    terms = [e for e in E if e != 0]
    if len(terms) > 2 or len(Q) > 3:
        raise ValueError(
            f"E of {family.name} has {len(terms)} terms and Q degree {len(Q) - 1}; only up to 2 "
            "each are decided over the parameters; use linear_stability for a member"
        )
    poles = [q * (-1) ** k for k, q in enumerate(Q)][1:]
    signs = [a.numer * a.denom for a in (*terms, *poles)]
    return ParametricStability(
        family.name,
        tuple(map(_factored, signs[: len(terms)])),
        tuple(map(_factored, signs[len(terms) :])),
        tuple(_factored(p.numer) for p in P[len(Q) - 1 :]),
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
    roots = isolate_roots(product)
    cells: list[Any] = [None, *(_named(product, bracket) for bracket in roots), None]
    good = []
    for low, high in pairwise(cells):
        if low is None and high is None:
            sample = Fraction(0)
        elif low is None or high is None:
            sample = high - 1 if low is None else low + 1
        else:
            sample = (low + high) / 2
        good.append(all(p(sample) >= 0 for p in polynomials))
    pieces = []
    for index, low in enumerate(cells[:-1]):
        if not good[index] or (index and good[index - 1]):
            continue
        end = index
        while end + 1 < len(good) and good[end + 1]:
            end += 1
        pieces.append(_interval(names[k], low, cells[end + 1]))
    # A root between two bad cells is a solution by itself if no condition is negative there.
    for index, root in enumerate(cells[1:-1]):
        if not (good[index] or good[index + 1]) and all(p(root) >= 0 for p in polynomials):
            pieces.append(f"{names[k]} = {root}")
    return " or ".join(pieces)


def _univariate(polynomial: Any, k: int) -> Polynomial:
    terms = {
        powers[k]: Fraction(int(c.numerator), int(c.denominator))
        for powers, c in polynomial.terms()
    }
    return Polynomial([terms.get(n, Fraction(0)) for n in range(max(terms) + 1)])


def _named(polynomial: Polynomial, bracket: tuple[Any, Any]) -> Fraction:
    """A root, exact if it is rational of moderate size."""
    low, high = refine_root(polynomial, bracket, Fraction(1, 2**60))
    simple = Fraction((low + high) / 2).limit_denominator(10**6)
    return simple if polynomial(simple) == 0 else Fraction(low)


def _interval(name: str, low: Fraction | None, high: Fraction | None) -> str:
    if low is None:
        return f"{name} <= {high}" if high is not None else "always"
    return f"{name} >= {low}" if high is None else f"{low} <= {name} <= {high}"


def _square(p: list[Any]) -> list[Any]:
    """Coefficients of abs(p(iy))^2 in x = y^2."""
    total = [p[0] * 0] * len(p)
    for i, a in enumerate(p):
        for j, b in enumerate(p):
            if (i + j) % 2 == 0:
                total[(i + j) // 2] += a * b * (-1) ** ((i - j) // 2)
    return total


def _padded(p: list[Any], q: list[Any], zero: Any) -> tuple[list[Any], list[Any]]:
    n = max(len(p), len(q))
    return p + [zero] * (n - len(p)), q + [zero] * (n - len(q))


def _factored(polynomial: Any) -> str:
    """A positive multiple, factored."""
    from sympy import factor

    content, primitive = polynomial.primitive()
    sign = -1 if content < 0 else 1
    return str(factor((primitive * sign).as_expr()))
