"""The best member of a family, for the principal error from exact derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf, isnan, sqrt
from numbers import Real
from typing import Any

import numpy as np

from odecore.exact import Polynomial, isolate_roots, refine_root
from odecore.families import Family
from odecore.order import error_coefficients, principal_error
from odecore.stability._atlas import QUANTITIES, as_written, member_or_none, require_known
from odecore.stability._ranges import is_range
from odecore.stability._search import best_point, between

__all__ = ["Optimum", "optimize"]

ROUNDING = 1e-14  # of an error constant that is zero
LARGEST = 1000  # end of a box: beyond it the points of a search are too far apart to find anything


@dataclass(frozen=True)
class Optimum:
    """The best member of a family in a box.

    Parameters
    ----------
    parameters : dict
        From name to float.
    value : float
        The objective there; for the principal error its 2-norm.
    gradient : tuple of float
        Of the squared principal error; zero in the interior of the box.
    polynomials : dict
        For an exact optimum: from parameter to a polynomial that it is the root of, and for which
        the root was isolated exactly; empty for a numerical one.
    """

    parameters: dict[str, float]
    value: float
    gradient: tuple[float, ...]
    polynomials: dict[str, Polynomial]


def optimize(
    family: Family,
    /,
    *box: tuple[Any, Any],
    objective: str = "principal error",
    constraints: Mapping[str, tuple[float, float]] | None = None,
) -> Optimum:
    """Find the best member of a family in a box of parameters.

    Parameters
    ----------
    family : Family
    *box : (low, high)
        One for each parameter; the box may contain singular points, where the error is infinite.
    objective : str, optional
        A quantity of `atlas`: "principal error", "largest coefficient" and "internal amplification"
        are made small, "SSP coefficient" and "contractivity radius" large.
    constraints : mapping, optional
        From quantities of `atlas` to the range (low, high) that they must lie in.

    Returns
    -------
    Optimum
        For the principal error without constraints: exact for families with one parameter and for
        RK3, where the critical points are all roots of a polynomial, found by elimination and
        isolated; the best of them is taken if it is inside the box and a grid with descent finds
        nothing smaller. Otherwise numerical: from the best points of a grid by damped Newton steps
        with the exact slopes of the rational function.

        For other objectives and with constraints: the best of the named members and of 200 points
        for each parameter, spread over the box; from those, and from the best away from what that
        finds, twice, differential evolution until they are within 1e-6 of the box, with the same
        draws at each call; not proved to be the best of all: a smaller box may have a better one.
        `gradient` is then empty.

    Raises
    ------
    ValueError
        If the box does not fit the family or goes beyond 1000, a quantity is unknown, constraints
        are no ranges, or no point that was tried meets them.
    TypeError
        If `family` is none, or `constraints` no mapping.

    Notes
    -----
    For RK3 the optimum is at the real root of 9u^3 - 18u^2 + 47u - 20; Ralston's (1/2, 3/4) is
    optimal in another norm.

    Examples
    --------
    >>> from odecore.families import RK2
    >>> found = optimize(RK2, (0.1, 1))
    >>> round(found.parameters["u"], 12), round(found.value, 12)
    (0.666666666667, 0.166666666667)
    """
    Family.require(family)
    if len(box) != len(family.parameters) or any(
        not is_range(ends) or max(map(abs, ends)) > LARGEST for ends in box
    ):
        raise ValueError(
            f"{family.name} needs one range (low, high) with low < high, between -{LARGEST} and "
            f"{LARGEST}, for each of {', '.join(family.parameters)}; got {box}"
        )
    constraints = {} if constraints is None else constraints
    if not isinstance(constraints, Mapping):
        raise TypeError(
            f"`constraints` must map quantities to ranges (low, high), got {constraints!r}"
        )
    require_known((objective, *constraints))
    for name, ends in constraints.items():
        pair = isinstance(ends, Sequence) and len(ends) == 2
        if not (pair and all(isinstance(end, Real) for end in ends) and ends[0] <= ends[1]):
            raise ValueError(f"`constraints` must be ranges (low, high), got {ends!r} for {name!r}")
    if objective != "principal error" or constraints:
        return _searched(family, box, objective, constraints)
    functions = _squared_error(family)
    exact = _critical_points(family) if len(box) <= 2 else []
    inside = [
        (point, polynomials)
        for point, polynomials in exact
        if all(low < x < high for x, (low, high) in zip(point, box, strict=True))
    ]
    start, rough = _numerical(functions, box)
    if inside:
        point, polynomials = min(inside, key=lambda item: functions[0](*item[0]))
        if sqrt(functions[0](*point)) <= sqrt(rough) * (1 + 1e-9) + ROUNDING:
            return _optimum(family, point, functions, polynomials)
    return _optimum(family, start, functions, {})


def _searched(
    family: Family, box: Any, objective: str, constraints: Mapping[str, tuple[float, float]]
) -> Optimum:
    """The best admissible point that a search finds; before that, the nearest to admissible."""
    sign = -1 if objective in ("SSP coefficient", "contractivity radius") else 1
    low, high = (np.array([float(ends[k]) for ends in box]) for k in (0, 1))

    def key(point: Any) -> tuple[float, float]:
        exact = zip(family.parameters, map(as_written, point), strict=True)
        member = member_or_none(family, dict(exact))
        if member is None:
            return inf, inf
        off = sum(_distance(_graded(q, member), *ends) for q, ends in constraints.items())
        value = sign * _graded(objective, member) if off == 0 else inf
        return off, inf if isnan(value) else value

    members = [np.array([float(x) for x in point]) for _, point in family.members]
    inside = [point for point in members if np.all((low <= point) & (point <= high))]
    best, (off, value), tried = best_point(key, low, high, inside)
    values = dict(zip(family.parameters, map(float, best), strict=True))
    if off == 0 and value < inf:
        return Optimum(values, sign * value, (), {})
    raise ValueError(
        f"none of {tried} points of the box that were tried "
        + (f"meets {dict(constraints)}; {values} is nearest" if 0 < off < inf else "has a value")
        + "; widen the box or relax the constraints"
    )


def _graded(quantity: str, method: Any) -> float:
    """A quantity; where an SSP coefficient or a radius is 0, how far the method is from more.

    They are positive for methods without negative coefficients, or weights, only; Kraaijevanger,
    Contractivity of Runge-Kutta methods, BIT 31 (1991).
    """
    value = QUANTITIES[quantity](method)
    if value == 0 and quantity in ("SSP coefficient", "contractivity radius"):
        rows = method.A if quantity == "SSP coefficient" else ()
        return min(0.0, *(float(a) for row in (*rows, method.b) for a in row))
    return value


def _distance(value: float, low: float, high: float) -> float:
    if low <= value <= high:
        return 0.0
    distance = low - value if value < low else value - high
    return inf if isnan(distance) else distance


def _optimum(family: Family, point: Any, functions: Any, polynomials: Any) -> Optimum:
    values = [float(x) for x in point]
    return Optimum(
        dict(zip(family.parameters, values, strict=True)),
        sqrt(functions[0](*values)),
        tuple(float(f(*values)) for f in functions[1:]),
        polynomials,
    )


def _squared_error(family: Family) -> list[Any]:
    """The squared principal error and its slopes as float functions: sums, never below zero."""
    one = family.generators[0].field.one
    errors = [one * error for error in error_coefficients(family, family.order + 1).values()]
    values = [_compiled(error) for error in errors]
    slopes = [[error.diff(g) for error in errors] for g in family.generators]

    def square(*point: float) -> float:
        return float(sum(value(*point) ** 2 for value in values))

    def slope(rows: Any) -> Any:
        if not any(rows):
            return _flat
        pairs = list(zip(values, map(_compiled, rows), strict=True))
        return lambda *point: sum(2 * value(*point) * row(*point) for value, row in pairs)

    return [square, *map(slope, slopes)]


def _flat(*point: float) -> float:
    """The slope along a parameter that the error does not depend on, as those of an estimate."""
    return 0.0


def _compiled(function: Any) -> Any:
    """A float function of a rational function; infinite at a pole."""
    numerator, denominator = (
        [(powers, int(c.numerator) / int(c.denominator)) for powers, c in p.terms()]
        for p in (function.numer, function.denom)
    )

    def value(terms: Any, point: Any) -> float:
        return float(
            sum(
                c * np.prod([x**k for x, k in zip(point, powers, strict=True)])
                for powers, c in terms
            )
        )

    def evaluate(*point: float) -> float:
        below = value(denominator, point)
        found = value(numerator, point) / below if below else inf
        return inf if isnan(found) else found  # where powers overflow

    return evaluate


def _critical_points(family: Family) -> list[Any]:
    """All critical points off the excluded set, with the polynomials of their coordinates."""
    from sympy import Poly, resultant, symbols

    square = principal_error(family, tree_order=family.order + 1).square
    slopes = [square.diff(g) for g in family.generators]
    if not all(slopes):
        return []  # the error does not depend on a parameter: no critical point is isolated
    names = [symbols(name) for name in family.parameters]
    excluded = [f.numer for f in family.factors(*family.generators) if hasattr(f, "numer")]
    numerators = []
    for slope in slopes:
        p = slope.numer
        for factor in excluded:
            while not factor.is_ground and not divmod(p, factor)[1]:
                p = p.exquo(factor)
        numerators.append(p.as_expr())
    if len(names) == 1:
        polynomial = _polynomial(Poly(numerators[0], names[0]))
        return [((x,), {family.parameters[0]: polynomial}) for x in _roots(polynomial)]
    if any(Poly(p, *names).total_degree() > 8 for p in numerators):
        return []
    eliminated = []
    for keep, drop in ((names[0], names[1]), (names[1], names[0])):
        eliminant = Poly(resultant(*numerators, drop), keep)
        eliminated.append([_polynomial(f) for f, _ in eliminant.factor_list()[1]])
    found = []
    for p in eliminated[0]:
        for x in _roots(p):
            for q in eliminated[1]:
                for y in _roots(q):
                    residuals = [abs(_compiled(slope)(x, y)) for slope in slopes]
                    if max(residuals) < 1e-9:
                        found.append(((x, y), dict(zip(family.parameters, (p, q), strict=True))))
    return found


def _polynomial(poly: Any) -> Polynomial:
    return Polynomial(
        [Fraction(int(c.p), int(c.q)) for c in reversed(poly.all_coeffs())]
    ).primitive()


def _roots(polynomial: Polynomial) -> list[float]:
    width = Fraction(1, 2**70)
    return [float(refine_root(polynomial, b, width)[1]) for b in isolate_roots(polynomial)]


def _numerical(functions: Any, box: Any) -> tuple[Any, float]:
    """Descend from the best points of a grid that avoids the boundary and simple fractions."""
    counts = [28 if slope is not _flat else 1 for slope in functions[1:]]
    low, high = (np.array([float(ends[k]) for ends in box]) for k in (0, 1))
    axes = [(np.arange(n) + 0.618) / n for n in counts]
    parts = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(box))
    points = between(low, high, parts)
    values = np.array([functions[0](*p) for p in points])
    best, smallest = points[int(values.argmin())], float(values.min())
    for k in np.argsort(values)[:5]:
        point, value = _descended(functions, points[k], low, high)
        if value < smallest:
            best, smallest = point, value
    return best, smallest


def _descended(functions: Any, start: Any, low: Any, high: Any) -> tuple[Any, float]:
    """Damped Newton steps inside the box, the second derivatives by differences of exact slopes.

    A parameter at an end of its range that the error falls beyond stays there, and the step is
    that of the others: the optimum on a face is not where the free one is clipped to.
    """

    def slope(p: Any) -> Any:
        return np.array([f(*p) for f in functions[1:]])

    point, value, damping = start, functions[0](*start), 1e-3
    h, tiny = 1e-6 * (high - low), np.finfo(float).tiny
    for _ in range(200):
        g = slope(point)
        held = ((point <= low) & (g > 0)) | ((point >= high) & (g < 0))
        H = np.array([(slope(point + e) - slope(point - e)) / (2 * e.max()) for e in np.diag(h)])
        H, g = np.where(held | held[:, None], 0, H + H.T) / 2, np.where(held, 0, g)
        curvatures, axes = np.linalg.eigh(H)
        curvatures = np.abs(curvatures)  # downhill also where a curvature is negative
        size = curvatures**2 + damping * np.sum(curvatures**2) + tiny
        step = axes @ (curvatures / size * (axes.T @ g))
        trial = np.clip(point - step, low, high)
        found = functions[0](*trial)
        if found < value:
            point, value, damping = trial, found, damping / 10
        elif damping > 1e12 or np.abs(trial - point).max() < 1e-15:
            break
        else:
            damping *= 10
    return point, value
