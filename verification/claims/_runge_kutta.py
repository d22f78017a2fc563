"""What is claimed of exact Runge-Kutta analysis."""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction

import numpy as np

from odecore.exact import SquareRoot
from odecore.families import RK3, RK4, SDIRK2, chart, prove_order, rkc1
from odecore.order import locate_typo, order_of_accuracy, principal_error
from odecore.stability import (
    imaginary_interval,
    optimize,
    parametric_stability,
    real_interval,
    ssp_coefficient,
    stability_function,
)
from odecore.tableaux import ButcherTableau, catalogue, tableau, tableau_at
from verification.claims._bound import at_most
from verification.claims._claim import Claim, Finding
from verification.claims._plots import curves

__all__ = ["CLAIMS"]

F = Fraction


def _off(method: ButcherTableau, fault: bool) -> ButcherTableau:
    """The method, or one with a coefficient of its third stage moved by 1/1000."""
    if not fault:
        return method
    A = [list(row) for row in method.A]
    A[2][1] += F(1, 1000)
    return dataclasses.replace(method, A=A, b_hat=None, embedded_order=None)


@functools.cache
def _orders(method: ButcherTableau) -> tuple[int, int | None]:
    """Of an entry of the catalogue and of its embedded row."""
    row = method.b_hat
    embedded = None if row is None else order_of_accuracy(method, weights=row)
    return order_of_accuracy(method), embedded


def _catalogue_orders(fault: bool) -> Finding:
    """How many entries have not exactly their declared orders."""
    pairs = []
    for method in catalogue().values():
        found, embedded = _orders(method)
        pairs.append((found, (method.order or 0) + fault))
        if method.b_hat is not None:
            pairs.append((embedded, method.embedded_order))
    wrong = sum(found != declared for found, declared in pairs)
    return Finding(wrong, f"{wrong} of {len(pairs)} orders are other than declared")


def _family_proof(fault: bool) -> Finding:
    family = dataclasses.replace(RK4, order=5) if fault else RK4
    certificate = prove_order(family)
    zero = sum(not residual[0] for _, residual in certificate.conditions)
    checked = certificate.verify()
    numbers = {
        "conditions not zero": len(certificate.conditions) - zero,
        "failed checks": len(checked.failures),
        "log2 of the chance to miss one": checked.log2_error,
    }
    return Finding(numbers, f"{zero} conditions are zero")


def _classic_in_its_chart(fault: bool) -> Finding:
    """The largest difference of a coefficient, exactly."""
    member = tableau_at(chart(RK4, F(1, 2), F(1, 2)), u=F(1, 2), m=F(-2 if fault else -1))
    found, wanted = (
        [*method.b, *(a for row in method.A for a in row)]
        for method in (member, tableau("classic"))
    )
    largest = max(abs(a - b) for a, b in zip(found, wanted, strict=True))
    return Finding(largest, f"coefficients differ by {largest}")


def _on_an_axis(method: ButcherTableau, end: float, axis: complex, label: str) -> str:
    """A figure of |R| on an axis, to a little beyond the end of the stability interval."""
    lengths = np.linspace(0, 1.05 * end, 400)
    moduli = np.abs(stability_function(method)(axis * lengths))
    return curves(
        {f"|R({label})| of {method.name}": (lengths, moduli)}, "x", "|R|", log="", limits={"1": 1.0}
    )


def _imaginary(fault: bool) -> Finding:
    method = _off(tableau("ssp104"), fault)
    length = imaginary_interval(method).length
    figure = _on_an_axis(method, 4.921453, 1j, "ix")
    return Finding(length, figure=figure)


def _chebyshev(fault: bool) -> Finding:
    method = tableau_at(rkc1(7), epsilon=F(int(fault), 20))
    length = real_interval(method).length
    return Finding(length, figure=_on_an_axis(method, 98.0, -1.0, "-x"))


def _sdirk(fault: bool) -> Finding:
    """Where SDIRK2 is A-stable; a figure of the largest |R| on the imaginary axis."""
    family = dataclasses.replace(
        SDIRK2, formula=lambda g, c: SDIRK2.formula(2 * g if fault else g, c)
    )
    gammas, y = np.linspace(0.1, 0.6, 26), np.geomspace(1e-2, 1e4, 200)
    largest = [
        float(np.abs(stability_function(tableau_at(SDIRK2, gamma=F(g), c=1))(1j * y)).max())
        for g in gammas.round(2).astype(str)
    ]
    figure = curves(
        {"largest |R| on the imaginary axis, c = 1": (gammas, largest)},
        "gamma", "|R|", log="", limits={"1, kept from gamma = 1/4 on": 1.0},
    )  # fmt: skip
    return Finding(parametric_stability(family).solution, figure=figure)


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
        {
            "conditions not zero": 0,
            "failed checks": 0,
            "log2 of the chance to miss one": at_most(-100),
        },
        paper="2103.08561",
        module="odecore.families",
    ),
    Claim(
        "classic-in-chart",
        "the classic method is the interior point (1/2, -1) of a chart of RK4",
        "ours; arXiv 2103.08561 clamps there",
        _classic_in_its_chart,
        0,
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
        _imaginary,
        4.921453,
        1e-6,
        module="odecore.stability",
    ),
    Claim(
        "chebyshev-interval",
        "undamped Chebyshev methods touch 1 and go on: the real interval of 7 stages is 98",
        "Hairer, Wanner II, IV.2",
        _chebyshev,
        98.0,
        module="odecore.stability",
    ),
    Claim(
        "sdirk-a-stability",
        "SDIRK2(gamma, c) is A-stable iff gamma >= 1/4, whatever c",
        "Hairer, Wanner II, IV.6",
        _sdirk,
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
