"""Verify an order
===============

Decide the order of a method exactly, find its misprint, and test running code against it."""

from dataclasses import replace
from fractions import Fraction

from odecore.order import failing_trees, locate_typo, order_of_accuracy
from odecore.tableaux import tableau
from odecore.testing import assert_order, deduce_tableau

method = tableau("dopri5")
print(
    "order",
    order_of_accuracy(method),
    "and embedded",
    order_of_accuracy(method, weights=method.b_hat),
)

# One digit wrong: 9017/3168 printed as 9017/3186.
rows = [list(row) for row in method.A]
rows[5][0] = Fraction(9017, 3186)
misprinted = replace(method, A=rows, b_hat=None, embedded_order=None)
print(
    "now", order_of_accuracy(misprinted), "fails at", [str(t) for t in failing_trees(misprinted, 3)]
)
print(locate_typo(misprinted, 5))


def heun(f, t, y, h):
    """Running code, as somebody wrote it."""
    k1 = f(t, y)
    return y + h / 2 * (k1 + f(t + h, y + h * k1))


assert_order(heun, 2)
print(deduce_tableau(heun))
