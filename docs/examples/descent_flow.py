"""Follow the equiangular flow
===========================

Follow the equiangular flow dx/dt = -d(x) to where no direction lowers all objectives."""

import matplotlib.pyplot as plt
import numpy as np

from odecore.directions import equiangular_weights, gramian, pareto_stationarity
from odecore.solve import Event, solve_ivp

curvatures = np.array([[1.0, 4.0, 2.0], [300.0, 100.0, 100.0], [0.01, 0.02, 0.05]])
minima = np.array([[1.0, 0.0, 0.0], [-1.0, 2.0, 1.0], [0.0, -1.0, 1.0]])


def objectives(x):
    """Three quadratics whose scales differ by 1e4."""
    return (curvatures * (x - minima) ** 2).sum(axis=1) / 2


def jacobian(x):
    return curvatures * (x - minima)


def flow(t, x):
    J = jacobian(x)
    return -J.T @ equiangular_weights(gramian(J), scaling="unit").weights


# The best worst-case cosine falls to zero at Pareto stationary points; stop a little before.
stationary = Event(
    lambda t, x: equiangular_weights(gramian(jacobian(x))).worst_cosine - 0.01,
    terminal=True,
    direction=-1,
)
found = solve_ivp(flow, (0, 100), np.array([4.0, 3.0, -5.0]), rtol=1e-6, events=[stationary])
values = np.array([objectives(x) for x in found.y])
falls = bool((np.diff(values, axis=0) < 0).all())
certificate = pareto_stationarity(gramian(jacobian(found.y[-1])), tolerance=0.011)
print(f"{found.status.name} at t = {found.t[-1]:.2f}: objectives {values[0]} -> {values[-1]}")
print(f"all fall in every step: {falls}; stationary: {certificate.stationary}")
print(f"multipliers {certificate.multipliers.round(4)}, cosine {certificate.worst_cosine:.4f}")

figure, axes = plt.subplots(layout="constrained")
axes.loglog(found.t[1:], values[1:] / values[0], label=["first", "second", "third"])
axes.set(xlabel="t", ylabel="objective, relative to its start", title="The equiangular flow")
axes.legend()
