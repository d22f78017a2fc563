"""Hypothesis strategies: methods of every family, catalogue entries, problems with solutions."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from fractions import Fraction
from numbers import Integral
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from odecore._flags import require_flags
from odecore.errors import NearSingularWarning
from odecore.families import RK2, RK3, RK4, Family, charts
from odecore.tableaux import ButcherTableau, catalogue, tableau_at
from odecore.testing._problems import InitialValueProblem

__all__ = ["family_members", "initial_value_problems", "tableaux"]


def tableaux(
    *, explicit: bool | None = None, embedded: bool | None = None, max_stages: int | None = None
) -> st.SearchStrategy[ButcherTableau]:
    """Methods of the catalogue; they shrink to the one with the fewest stages.

    Parameters
    ----------
    explicit, embedded : bool, optional
        Only methods that are, or are not, explicit; that have, or have not, an embedded row.
    max_stages : int, optional
        Default: any number.

    Returns
    -------
    hypothesis strategy
        Of `ButcherTableau`.

    Raises
    ------
    ValueError
        If no method is like that, or `max_stages` is no whole number.
    """
    _require_whole(max_stages)
    given = {"explicit": explicit, "embedded": embedded}
    require_flags(**{name: value for name, value in given.items() if value is not None})
    found = [
        method
        for method in catalogue().values()
        if (explicit is None or method.is_explicit == explicit)
        and (embedded is None or (method.b_hat is not None) == embedded)
        and (max_stages is None or method.stages <= max_stages)
    ]
    if not found:
        raise ValueError("no method of the catalogue fits; relax explicit, embedded or max_stages")
    return st.sampled_from(sorted(found, key=lambda method: method.stages))


def _require_whole(max_stages: Any) -> None:
    if max_stages is not None and not isinstance(max_stages, Integral):
        raise ValueError(f"`max_stages` must be a whole number, got {max_stages!r}")


def family_members(
    families: Family | Sequence[Family] | None = None,
    *,
    bound: int = 4,
    max_denominator: int = 50,
    max_coefficient: int = 100,
) -> st.SearchStrategy[ButcherTableau]:
    """Members of families; they shrink to named methods where the family has some.

    Parameters
    ----------
    families : Family or sequence of Family, optional
        Default: RK2, RK3 and RK4 with all charts, hence every explicit method with s = p <= 4
        that has a neighbourhood.
    bound, max_denominator : int, optional
        Parameters are fractions in [-bound, bound] with at most this denominator.
    max_coefficient : int, optional
        Members with a larger coefficient are not drawn.

    Returns
    -------
    hypothesis strategy
        Of `ButcherTableau`.

    Raises
    ------
    TypeError
        If one of `families` is none.
    """
    if families is None:
        families = (RK2, RK3, RK4, *charts(RK3), *charts(RK4))
    families = tuple(families) if isinstance(families, Iterable) else (families,)
    for family in families:
        Family.require(family)
    return _members(families, bound, max_denominator, max_coefficient)


@st.composite
def _members(
    draw: Any, families: Sequence[Family], bound: int, max_denominator: int, max_coefficient: int
) -> ButcherTableau:
    family = draw(st.sampled_from(list(families)))
    values = st.tuples(
        *[st.fractions(-bound, bound, max_denominator=max_denominator)] * len(family.parameters)
    )
    if family.members:
        values = st.sampled_from([point for _, point in family.members]) | values
    point = draw(values)
    assume(all(factor != 0 for factor in family.factors(*point)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NearSingularWarning)
        try:
            member = tableau_at(family, **dict(zip(family.parameters, point, strict=True)))
        except ValueError:  # an estimator with b_hat = b
            assume(False)
            raise
    assume(max(abs(a) for row in (*member.A, member.b) for a in row) <= max_coefficient)
    return member


@st.composite
def initial_value_problems(draw: Any, *, max_size: int = 3) -> InitialValueProblem:
    """Nonlinear non-autonomous problems with a known solution.

    Parameters
    ----------
    max_size : int, optional
        Largest dimension of the state.

    Returns
    -------
    hypothesis strategy
        Of `InitialValueProblem`.

    Notes
    -----
    The solution g is drawn, a_i + b_i sin(w_i t + phi_i) in each component, and f(t, y) = g'(t) +
    M (g(t) - y) + k (g(t)^2 - y^2), so that y = g; M is diagonally dominant and the problem mild.
    """
    n = draw(st.integers(1, max_size))
    small = st.fractions(Fraction(-1), Fraction(1), max_denominator=8).map(float)

    def vector() -> Any:
        return np.array(draw(st.lists(small, min_size=n, max_size=n)))

    a, b, phase, k = vector(), vector() + 1.5, vector(), 0.25 * vector()
    w = 1 + 0.5 * vector()
    mixing = np.array([vector() for _ in range(n)]) * 0.2 + np.eye(n)

    def exact(t: float) -> Any:
        return a + b * np.sin(w * t + phase)

    def f(t: Any, y: Any) -> Any:
        g = exact(t)
        return b * w * np.cos(w * t + phase) + mixing @ (g - y) + k * (g * g - y * y)

    return InitialValueProblem("manufactured", f, exact, (0.0, 1.0))
