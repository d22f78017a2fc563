"""Pictures of the stability region abs(R) <= 1 and of the order star abs(R) > abs(exp)."""

from __future__ import annotations

from typing import Any

import numpy as np

from odecore._flags import require_flags
from odecore.stability._function import require_tableau, stability_function
from odecore.stability._intervals import imaginary_interval, real_interval
from odecore.stability._ranges import require_points
from odecore.tableaux import ButcherTableau

__all__ = ["plot_region"]


def region_box(method: ButcherTableau) -> tuple[tuple[float, float], tuple[float, float]]:
    """A box that holds the region of a method with a polynomial R, or a square for others."""
    reach = min(2 + 2 * method.stages, 40)
    if not method.is_explicit:
        return (-reach, reach), (-reach, reach)
    # |R| <= 1 implies |z| <= Fujiwara's bound for the roots of R - e^(i phi).
    p = [float(a) for a in stability_function(method).numerator]
    p[0] = 2.0
    n = len(p) - 1
    bound = 2 * max(abs(p[n - k] / p[n]) ** (1 / k) for k in range(1, n + 1))
    z = np.linspace(-bound, bound, 1201)
    grid = z[:, None] + 1j * z[z >= 0]
    inside = np.abs(stability_function(method)(grid)) <= 1
    xs, ys = z[inside.any(axis=1)], z[z >= 0][inside.any(axis=0)]
    step = z[1] - z[0]
    low = min(xs.min(initial=0.0), -min(real_interval(method).length, bound)) - step
    high = max(ys.max(initial=0.0), min(imaginary_interval(method).length, bound)) + step
    return (low, max(xs.max(initial=0.0), 0.0) + step), (-high, high)


def plot_region(
    method: ButcherTableau, /, *, order_star: bool = False, ax: Any = None, points: int = 500
) -> Any:
    """Draw the stability region, or the order star.

    Parameters
    ----------
    method : ButcherTableau
    order_star : bool, optional
        Shade abs(R(z)) > abs(exp(z)) instead of abs(R(z)) <= 1; at the origin it has p + 1 sectors.
    ax : matplotlib Axes, optional
    points : int, optional
        Resolution of each axis, from 2 to 10,000.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau.
    ValueError
        If `points` is no whole number of these.

    Notes
    -----
    Hairer, Wanner II, sections IV.2 and IV.4.
    """
    require_tableau(method)
    require_points(points)
    require_flags(order_star=order_star)
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
    x, y = region_box(method)
    if order_star:
        x = y = (-max(3.0, abs(x[0])) * 1.2, max(3.0, abs(x[0])) * 1.2)
    pad = 0.15 * (x[1] - x[0])
    X, Y = np.meshgrid(
        np.linspace(x[0] - pad, x[1] + pad, points), np.linspace(y[0] * 1.15, y[1] * 1.15, points)
    )
    z = X + 1j * Y
    with np.errstate(all="ignore"):
        modulus = np.abs(stability_function(method)(z))
        level = np.log(modulus) - X if order_star else -np.log(modulus)
    level = np.nan_to_num(level, posinf=1e3, neginf=-1e3)
    ax.contourf(X, Y, level, levels=[0, np.inf], colors=["#4477aa"], alpha=0.35)
    ax.contour(X, Y, level, levels=[0], colors=["#4477aa"], linewidths=1.2)
    ax.axhline(0, color="0.6", linewidth=0.6)
    ax.axvline(0, color="0.6", linewidth=0.6)
    ax.set_aspect("equal")
    ax.set_xlabel("Re z")
    ax.set_ylabel("Im z")
    kind = "order star" if order_star else "stability region"
    ax.set_title(f"{method.name}: {kind}" if method.name else kind)
    return ax
