"""Solve stiff chemistry
=====================

Robertson's reaction over eleven decades of time, with the implicit pairs of the catalogue."""

import matplotlib.pyplot as plt
import numpy as np

from odecore.solve import Newton, solve_ivp


def robertson(t, y):
    """Three species; y_2 is born in a layer of 1e-3 and then follows the others."""
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return np.array([b - a, a - b - c, c])


def jacobian(t, y):
    """The derivative of the field."""
    return np.array(
        [
            [-0.04, 1e4 * y[2], 1e4 * y[1]],
            [0.04, -1e4 * y[2] - 6e7 * y[1], -1e4 * y[1]],
            [0.0, 6e7 * y[1], 0.0],
        ]
    )


for name in ("kvaerno32", "kvaerno43", "kvaerno54", "esdirk436_pair"):
    found = solve_ivp(
        robertson, (0, 1e9), [1.0, 0.0, 0.0], method=name, rtol=1e-6, atol=1e-12,
        newton=Newton(jacobian=jacobian), dense=True,
    )  # fmt: skip
    counts = found.statistics
    print(
        f"{name:16s} y = {found.y[-1]}, {counts.accepted} steps, {counts.evaluations} evaluations"
    )
    print("                 mass is kept to", abs(found.y.sum(axis=1) - 1).max())

t = np.logspace(-5, 9, 400)
figure, ax = plt.subplots(layout="constrained")
ax.semilogx(t, found(t) * [1, 1e4, 1], label=["$y_1$", "$10^4 y_2$", "$y_3$"])
ax.semilogx(found.t[1:], 0 * found.t[1:] - 0.04, "k|", label="steps")
ax.set(xlabel="t", ylabel="concentration", title=f"Robertson's reaction by {name}")
ax.legend()
