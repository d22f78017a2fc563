"""The parameter plane of a family as arrays and as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import nan
from numbers import Rational
from typing import Any

import numpy as np

from odecore.errors import NearSingularWarning, SingularParameterError
from odecore.families import Family
from odecore.order import elementary_weights, rooted_trees
from odecore.stability._contractivity import (
    contractivity_radius,
    internal_amplification,
    ssp_coefficient,
)
from odecore.stability._ranges import is_range, require_points
from odecore.tableaux import ButcherTableau, tableau_at

__all__ = ["QUANTITIES", "Atlas", "as_written", "atlas", "member_or_none", "require_known"]


def _error(method: ButcherTableau) -> float:
    """2-norm of the errors of order p + 1 for the claimed p, in floats: drawn, not decided."""
    A = [[float(a) for a in row] for row in method.A]
    trees = rooted_trees((method.order or 1) + 1)
    weights = elementary_weights(trees, A, [float(w) for w in method.b])
    return float(np.sqrt(sum(((weights[t] - 1 / t.density) / t.symmetry) ** 2 for t in trees)))


def _size(method: ButcherTableau) -> float:
    return max(abs(float(a)) for row in (*method.A, method.b) for a in row)


QUANTITIES = {
    "principal error": _error,
    "SSP coefficient": lambda method: float(ssp_coefficient(method)),
    "contractivity radius": contractivity_radius,
    "internal amplification": lambda method: internal_amplification(method, points=60),
    "largest coefficient": _size,
}


def require_known(quantities: Iterable[Any]) -> None:
    """Raise ValueError unless all these are names of quantities."""
    known = list(QUANTITIES)  # of which nothing is hashed
    unknown = [quantity for quantity in quantities if quantity not in known]
    if unknown:
        raise ValueError(f"unknown quantities {unknown}; known are {', '.join(known)}")


def as_written(number: Any) -> Fraction:
    """An exact number itself; a float as the shortest decimal that rounds to it."""
    return Fraction(number if isinstance(number, Rational) else repr(float(number)))


def member_or_none(family: Family, point: dict[str, Fraction]) -> Any:
    """The member at a point, however large its coefficients; None on the excluded set."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NearSingularWarning)
            return tableau_at(family, **point)
    except SingularParameterError:
        return None


@dataclass(frozen=True, eq=False)
class Atlas:
    """Quantities of a family over a grid of two parameters, or along one.

    Parameters
    ----------
    family : str
    parameters : tuple of str
    axes : tuple of arrays
        Grid values of each parameter.
    values : dict
        From the name of a quantity to an array over the grid, the first parameter first; NaN on the
        excluded set.
    members : dict
        Named members inside the grid: their parameters as floats.
    """

    family: str
    parameters: tuple[str, ...]
    axes: tuple[Any, ...]
    values: dict[str, Any]
    members: dict[str, tuple[float, ...]]

    def plot(self) -> Any:
        """Draw each quantity over the parameters with the named members marked.

        Returns
        -------
        matplotlib Figure
        """
        import matplotlib.pyplot as plt

        columns = min(len(self.values), 2)  # more in a row are not legible on a page
        rows = -(-len(self.values) // columns)
        size = (4.4 * columns, 3.8 * rows)
        figure, grid = plt.subplots(
            rows, columns, figsize=size, layout="constrained", squeeze=False
        )
        for ax in grid.flat[len(self.values) :]:
            ax.remove()
        for ax, (name, values) in zip(grid.flat, self.values.items(), strict=False):
            ax.set_title(f"{self.family}: {name}")
            ax.set_xlabel(self.parameters[0])
            if len(self.axes) == 1:
                ax.plot(self.axes[0], values)
                if _is_wide(values):
                    ax.set_yscale("log")
                for member, (x,) in self.members.items():
                    ax.axvline(x, color="0.5", linewidth=0.8)
                    ax.annotate(member, (x, 0.97), xycoords=("data", "axes fraction"), rotation=90,
                                va="top", ha="right", fontsize=8)  # fmt: skip
                continue
            ax.set_ylabel(self.parameters[1])
            wide = _is_wide(values)
            shown = np.log10(values) if wide else values
            image = ax.pcolormesh(*self.axes, shown.T, shading="nearest", cmap="viridis")
            figure.colorbar(image, ax=ax, label="log10" if wide else "")
            for member, point in self.members.items():
                ax.plot(*point, "o", color="white", markeredgecolor="black")
                ax.annotate(member, point, xytext=(4, 4), textcoords="offset points", fontsize=8,
                            bbox={"facecolor": "white", "alpha": 0.7, "pad": 1})  # fmt: skip
        return figure


def _is_wide(values: Any) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > 30 * finite.min())


def atlas(
    family: Family,
    /,
    *ranges: tuple[Any, Any],
    points: int = 41,
    quantities: str | Sequence[str] | None = None,
) -> Atlas:
    """Evaluate what varies over a family's parameters.

    Parameters
    ----------
    family : Family
        With one or two parameters.
    *ranges : (low, high)
        One for each parameter; exact numbers or floats.
    points : int, optional
        For each parameter, from 2 to 10,000.
    quantities : str or sequence of str, optional
        Of "principal error" (2-norm), "SSP coefficient", "contractivity radius", "internal
        amplification" (explicit families, slow) and "largest coefficient". Default: all but the
        amplification.

    Returns
    -------
    Atlas

    Raises
    ------
    ValueError
        If the family has more than two parameters, a range is missing or empty, `points` is no
        whole number of these, or a quantity is unknown, or not known of an implicit family.
    TypeError
        If `family` is none.

    Examples
    --------
    >>> from odecore.families import RK2
    >>> found = atlas(RK2, (0.5, 1), points=6, quantities=["SSP coefficient"])
    >>> [round(float(x), 3) for x in found.values["SSP coefficient"]]
    [0.0, 0.333, 0.571, 0.75, 0.889, 1.0]
    """
    Family.require(family)
    if isinstance(quantities, str):
        quantities = [quantities]
    if not isinstance(quantities, Iterable | None):
        raise TypeError(f"`quantities` must be names, got {quantities!r}")
    if quantities is None:
        quantities = [name for name in QUANTITIES if name != "internal amplification"]
    names = list(quantities)
    if not names:
        raise ValueError(f"`quantities` must name one at least, of {', '.join(QUANTITIES)}")
    require_known(names)
    if len(ranges) != len(family.parameters) or len(ranges) > 2:
        raise ValueError(
            f"an atlas needs one range for each of one or two parameters; {family.name} has "
            f"{', '.join(family.parameters)} and {len(ranges)} were given"
        )
    require_points(points)
    if not all(map(is_range, ranges)):
        raise ValueError(f"each range must be (low, high), finite with low < high; got {ranges}")
    axes = []
    for ends in ranges:
        a, b = map(as_written, ends)
        axes.append([a + (b - a) * Fraction(k, points - 1) for k in range(points)])
    shape = tuple(len(axis) for axis in axes)
    values = {name: np.full(shape, nan) for name in names}
    for index in np.ndindex(*shape):
        point = {p: axis[i] for p, axis, i in zip(family.parameters, axes, index, strict=True)}
        member = member_or_none(family, point)
        for name in names if member is not None else ():
            values[name][index] = QUANTITIES[name](member)
    members = {
        name: tuple(float(x) for x in at)
        for name, at in family.members
        if all(axis[0] <= x <= axis[-1] for axis, x in zip(axes, at, strict=True))
    }
    grids = tuple(np.array([float(x) for x in axis]) for axis in axes)
    return Atlas(family.name, family.parameters, grids, values, members)
