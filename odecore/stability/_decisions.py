"""A-, L- and I-stability of one method, decided by exact signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from odecore.exact import Polynomial, sign_on_interval, sturm_sequence
from odecore.stability._function import require_tableau, stability_function
from odecore.stability._intervals import axis_polynomial, mirrored
from odecore.tableaux import ButcherTableau

__all__ = ["LinearStability", "linear_stability"]


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
        For coefficients known as decimals a coefficient of P, Q or E that is no larger than what
        rounding can make it counts as zero, as it is for the method meant; where E touches zero at
        some y > 0, the decision is about the decimals.

    Returns
    -------
    LinearStability

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.

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
    routh = _routh(mirrored(Q).coefficients)
    poles_right = all(entry > 0 for entry in routh)
    A_stable = on_axis and poles_right
    L_stable = A_stable and P.degree < Q.degree
    name = "L-stable" if L_stable else "A-stable" if A_stable else "not A-stable"
    try:
        shown = f"E(x) = {E}"
    except ValueError:  # more digits than Python writes
        shown = f"E(x), of degree {E.degree},"
    about = ">= 0 for x = y^2 >= 0" if on_axis else "is negative for some x = y^2 > 0"
    joined = "while" if poles_right and not on_axis else "and"
    where = f"{'' if poles_right else 'not '}all poles have positive real part"
    return LinearStability(
        on_axis,
        A_stable,
        L_stable,
        E,
        sturm_sequence(E.squarefree()) if E else (),
        routh,
        f"{name}: {shown} {about}, {joined} {where}",
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
