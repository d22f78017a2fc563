"""What is claimed of exact Runge-Kutta analysis."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

from odecore.exact import SquareRoot
from odecore.families import RK3, RK4, SDIRK2, chart, prove_order, rkc1
from odecore.order import locate_typo, order_of_accuracy, principal_error
from odecore.stability import (
    imaginary_interval,
    optimize,
    parametric_stability,
    real_interval,
    ssp_coefficient,
)
from odecore.tableaux import ButcherTableau, catalogue, tableau, tableau_at
from verification.claims._claim import Claim

__all__ = ["CLAIMS"]

F = Fraction


def _off(method: ButcherTableau, fault: bool) -> ButcherTableau:
    """The method, or one with a coefficient of its third stage moved by 1/1000."""
    if not fault:
        return method
    A = [list(row) for row in method.A]
    A[2][1] += F(1, 1000)
    return dataclasses.replace(method, A=A, b_hat=None, embedded_order=None)


def _catalogue_orders(fault: bool) -> int:
    """How many entries have not exactly their declared orders."""
    wrong = 0
    for method in catalogue().values():
        wrong += order_of_accuracy(method) != (method.order or 0) + fault
        if method.b_hat is not None:
            wrong += order_of_accuracy(method, weights=method.b_hat) != method.embedded_order
    return wrong


def _family_proof(fault: bool) -> Any:
    family = dataclasses.replace(RK4, order=5) if fault else RK4
    certificate = prove_order(family)
    return certificate.proved and certificate.verify().holds


def _classic_in_its_chart(fault: bool) -> Any:
    member = tableau_at(chart(RK4, F(1, 2), F(1, 2)), u=F(1, 2), m=F(-2 if fault else -1))
    return (member.A, member.b) == (tableau("classic").A, tableau("classic").b)


def _typo(fault: bool) -> list[str]:
    good = tableau("dopri5")
    A = [list(row) for row in good.A]
    A[4][2] += F(1, 100)
    A[5][1] += F(1, 100) if fault else 0
    wrong = dataclasses.replace(good, A=A, b_hat=None, embedded_order=None)
    return [typo.entry for typo in locate_typo(wrong, 5)]


CLAIMS = (
    Claim(
        "catalogue-orders",
        "every method of the catalogue has its declared orders and no higher, embedded rows too",
        "the source that each entry names",
        _catalogue_orders,
        0,
        module="odecore.order",
    ),
    Claim(
        "rk4-proof",
        "RK4(u, v) has order 4 off its excluded set, by proof and by integers modulo primes",
        "Kutta (1901); arXiv 2103.08561",
        _family_proof,
        True,
        paper="2103.08561",
        module="odecore.families",
    ),
    Claim(
        "classic-in-chart",
        "the classic method is the interior point (1/2, -1) of a chart of RK4",
        "ours; arXiv 2103.08561 clamps there",
        _classic_in_its_chart,
        True,
        paper="2103.08561",
        module="odecore.families",
    ),
    Claim(
        "principal-error",
        "Dormand and Prince's principal error is sqrt(16719)/324000",
        "Dormand, Prince (1980)",
        lambda fault: principal_error(_off(tableau("dopri5"), fault)),
        SquareRoot(F(16719, 324000**2)),
        module="odecore.order",
    ),
    Claim(
        "rk3-optimum",
        "the smallest 2-norm of RK3 is at the root of 9u^3 - 18u^2 + 47u - 20, not at Ralston's",
        "ours; Ralston, Math. Comp. 16 (1962), is optimal in another norm",
        lambda fault: str(
            optimize(RK3, (0.1, 0.4 if fault else 0.95), (0.1, 1)).polynomials.get("u")
        ),
        "9*x^3 - 18*x^2 + 47*x - 20",
        paper="2103.08561",
        module="odecore.stability",
    ),
    Claim(
        "imaginary-interval",
        "the imaginary stability interval of SSP(10,4) ends at 4.921453",
        "Ketcheson, SIAM J. Sci. Comput. 30 (2008)",
        lambda fault: imaginary_interval(_off(tableau("ssp104"), fault)).length,
        4.921453,
        1e-6,
        module="odecore.stability",
    ),
    Claim(
        "chebyshev-interval",
        "undamped Chebyshev methods touch 1 and go on: the real interval of 7 stages is 98",
        "Hairer, Wanner II, IV.2",
        lambda fault: real_interval(tableau_at(rkc1(7), epsilon=F(int(fault), 20))).length,
        98.0,
        module="odecore.stability",
    ),
    Claim(
        "sdirk-a-stability",
        "SDIRK2(gamma, c) is A-stable iff gamma >= 1/4, whatever c",
        "Hairer, Wanner II, IV.6",
        lambda fault: (
            parametric_stability(
                dataclasses.replace(
                    SDIRK2, formula=lambda g, c: SDIRK2.formula(2 * g if fault else g, c)
                )
            ).solution
        ),
        "gamma >= 1/4",
        paper="2103.08561",
        module="odecore.stability",
    ),
    Claim(
        "ssp-coefficient",
        "the SSP coefficient of SSP(10,4) is 6",
        "Ketcheson (2008)",
        lambda fault: ssp_coefficient(_off(tableau("ssp104"), fault)),
        6,
        module="odecore.stability",
    ),
    Claim(
        "misprint",
        "one misprinted coefficient of Dormand and Prince's method is located uniquely",
        "ours",
        _typo,
        ["a[5][3]"],
        module="odecore.order",
    ),
)
