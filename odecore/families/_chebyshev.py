"""RKC(s, epsilon): stabilised explicit methods whose real interval grows with s^2."""

from __future__ import annotations

from functools import cache
from numbers import Integral
from typing import Any

from odecore.families._bound import Bound
from odecore.families._family import Family, Rows

__all__ = ["rkc1", "rkc2"]


def _chebyshev(s: int, x: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """T_j, T_j' and T_j'' at x for j = 0..s, by the three-term recurrence."""
    zero, one = 0 * x, 0 * x + 1
    T, D, E = [one, x], [zero, one], [zero, zero]
    for j in range(2, s + 1):
        T.append(2 * x * T[j - 1] - T[j - 2])
        D.append(2 * T[j - 1] + 2 * x * D[j - 1] - D[j - 2])
        E.append(4 * D[j - 1] + 2 * x * E[j - 1] - E[j - 2])
    return T, D, E


def _to_tableau(s: int, first: Any, steps: Any) -> tuple[Rows, tuple[Any, ...]]:
    """Unroll Y_j = y + ... recurrences into rows; the last row is b.

    `first` is mu_tilde of stage 1; `steps(j)` gives (mu, nu, mu_tilde, gamma_tilde) of the others.
    """
    rows: list[list[Any]] = [[], [first]]
    for j in range(2, s + 1):
        mu, nu, mu_tilde, gamma_tilde = steps(j)
        row = [0 * mu_tilde] * j
        for factor, earlier in ((mu, rows[j - 1]), (nu, rows[j - 2])):
            for k, a in enumerate(earlier):
                row[k] = row[k] + factor * a
        row[j - 1] = row[j - 1] + mu_tilde
        row[0] = row[0] + gamma_tilde
        rows.append(row)
    return tuple(map(tuple, rows[:-1])), tuple(rows[-1])


def _node(s: int, epsilon: Any) -> Any:
    return 1 + epsilon / (s * s)


def rkc1(stages: int, /) -> Family:
    """The damped first-order Chebyshev family with s stages.

    Parameters
    ----------
    stages : int
        s, from 2 to 50.

    Returns
    -------
    Family
        In epsilon, the damping. R(z) = T_s(w0 + w1 z) / T_s(w0) with w0 = 1 + epsilon/s^2 and
        w1 = T_s(w0) / T_s'(w0). Undamped (epsilon = 0) the real interval is 2 s^2, on which the
        modulus touches 1 s - 1 times; epsilon = 1/20 costs about 3 percent and keeps it below 1
        inside.

    Raises
    ------
    TypeError
        If `stages` is no integer.
    ValueError
        If `stages` is out of range.

    Notes
    -----
    Hairer, Wanner II, section IV.2; Sommeijer, Shampine, Verwer, J. Comput. Appl. Math. 88 (1997).
    """
    return _first_order(_stages(stages))


def _first_order_formula(s: int, epsilon: Any) -> tuple[Rows, tuple[Any, ...]]:
    w0 = _node(s, epsilon)
    T, D, _ = _chebyshev(s, w0)
    w1 = T[s] / D[s]

    def step(j: int) -> tuple[Any, Any, Any, Any]:
        ratio = T[j - 1] / T[j]
        return 2 * w0 * ratio, -T[j - 2] / T[j], 2 * w1 * ratio, 0 * w0

    return _to_tableau(s, w1 / w0, step)


def _first_order_factors(s: int, epsilon: Any) -> tuple[Any, ...]:
    T, D, _ = _chebyshev(s, _node(s, epsilon))
    return (*T[1:], D[s])


@cache
def _first_order(s: int) -> Family:
    return Family(
        f"RKC1({s})",
        ("epsilon",),
        1,
        Bound(_first_order_formula, (s,)),
        Bound(_first_order_factors, (s,)),
    )


def rkc2(stages: int, /) -> Family:
    """The damped second-order Chebyshev family with s stages.

    Parameters
    ----------
    stages : int
        s, from 2 to 50.

    Returns
    -------
    Family
        In epsilon, the damping; 2/13 is usual, with real interval about 2 (s^2 - 1)/3.

    Raises
    ------
    TypeError
        If `stages` is no integer.
    ValueError
        If `stages` is out of range.

    Notes
    -----
    van der Houwen, Sommeijer (1980); Sommeijer, Shampine, Verwer (1997): R(z) = 1 + b_s (T_s(w0 +
    w1 z) - T_s(w0)), b_j = T_j''(w0) / T_j'(w0)^2 for j >= 2 and b_0 = b_1 = b_2.
    """
    return _second_order(_stages(stages))


def _second_order_formula(s: int, epsilon: Any) -> tuple[Rows, tuple[Any, ...]]:
    w0 = _node(s, epsilon)
    T, D, E = _chebyshev(s, w0)
    w1 = D[s] / E[s]
    b = [E[j] / (D[j] * D[j]) for j in range(2, s + 1)]
    b = [b[0], b[0], *b]

    def step(j: int) -> tuple[Any, Any, Any, Any]:
        ratio = b[j] / b[j - 1]
        mu_tilde = 2 * w1 * ratio
        return 2 * w0 * ratio, -b[j] / b[j - 2], mu_tilde, (b[j - 1] * T[j - 1] - 1) * mu_tilde

    return _to_tableau(s, b[1] * w1, step)


def _second_order_factors(s: int, epsilon: Any) -> tuple[Any, ...]:
    _, D, E = _chebyshev(s, _node(s, epsilon))
    return (*D[2:], *E[3:])


@cache
def _second_order(s: int) -> Family:
    return Family(
        f"RKC2({s})",
        ("epsilon",),
        2,
        Bound(_second_order_formula, (s,)),
        Bound(_second_order_factors, (s,)),
    )


def _stages(stages: Any) -> int:
    if not isinstance(stages, Integral):
        raise TypeError(f"`stages` is a number of stages, an int; got {stages!r}")
    if not 2 <= int(stages) <= 50:
        raise ValueError(f"`stages` must be from 2 to 50, got {stages}")
    return int(stages)
