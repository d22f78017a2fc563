"""Regimes: which solver takes which batch, drawn from a family or from a finite set."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf, isfinite, pi, tan
from numbers import Integral, Rational, Real
from random import Random
from typing import Any

import torch
from torch import Tensor

from odecore.families import Family
from odecore.tableaux import Coefficients, coefficients_at
from torch_bridge._family import exact_box, exact_center
from torch_bridge._solver_draws import DrawnSolver
from torch_bridge._solver_set import SolverSet
from torch_bridge._unknown_options import require_choice

__all__ = ["SmoothedSolver", "SwitchedSolver"]

DISTRIBUTIONS = {
    "normal": lambda rng: rng.gauss(0, 1),
    "cauchy": lambda rng: tan(pi * (rng.random() - 0.5)),
    "uniform": lambda rng: rng.uniform(-1, 1),
}
USUAL = 1000  # coefficients above it are warned of
ATTEMPTS = 1000  # below one accepted draw in 1000 a distribution is not what was meant


class SmoothedSolver(DrawnSolver):
    """Solver smoothing: in training each call draws a member of the family around a centre.

    Parameters
    ----------
    family : Family
        One of `odecore.families`, a chart included: ``chart(RK4, F(1, 2), F(1, 2))`` holds the
        classic method, which RK4(u, v) does not reach.
    center : mapping from str to int or Fraction
        The member that evaluation uses.
    width : float
        Scale of the draws, one for each parameter: standard deviation of the normal distribution,
        scale of Cauchy's, half the interval of the uniform one.
    radius : int or Fraction, optional
        Draws outside centre +- radius are drawn again, so that they follow the truncated
        distribution; the box is proved to be free of singular parameters.
    distribution : {"normal", "cauchy", "uniform"}, optional
    bound : float, optional
        Draws with a coefficient of larger magnitude, in A or b, are drawn again. Needed where there
        is no `radius`.
    generator : torch.Generator, optional
        Gives the seed, once; by default torch's own, which `torch.manual_seed` sets.

    Raises
    ------
    TypeError, odecore.errors.SingularParameterError
        As `TrainableSolver`, but an implicit family is refused with `bound` only.
    ValueError
        For a `distribution` of another name; without `radius` and `bound`; if the centre itself is
        above the bound; unless 0 <= width <= 10 radius, beyond which the truncated distribution is
        all but uniform.
    RuntimeError
        When 1000 draws in a row were above the bound.

    Notes
    -----
    arXiv 2103.08561, which draws untruncated and so meets tableaux with huge coefficients near the
    singular set. Numbers are drawn on the host: no device is waited for. State, processes and
    checkpoints: seed and count are in `state_dict`; all processes of a group draw the same in
    training; a pass repeated by a checkpoint finds its draw. Whether a width acts at all says
    `smoothing_effect`.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from odecore.families import RK2
    >>> center = {"u": Fraction(2, 3)}
    >>> solver = SmoothedSolver(RK2, center, width=0.1, distribution="cauchy", bound=3)
    >>> max(abs(weight) for weight in solver(torch.zeros(1)).b) <= 3
    True
    """

    def __init__(
        self,
        family: Family,
        center: Mapping[str, Rational],
        *,
        width: float,
        radius: Rational | None = None,
        distribution: str = "normal",
        bound: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        if radius is None and bound is None:
            raise ValueError("give `radius`, `bound` or both, by which draws are truncated")
        self.family, self.radius, self.bound = family, radius, bound
        if radius is None:
            self.center = exact_center(family, center)
            family.require_member(tuple(self.center.values()))
        else:
            self.center, self.radius = exact_box(family, center, radius)
        most = inf if radius is None else float(10 * radius)
        if not (isinstance(width, Real) and isfinite(width) and 0 <= width <= most):
            rule = "finite" if radius is None else f"at most 10 radius = {10 * radius}"
            raise ValueError(f"`width` must not be negative, and {rule}; got {width!r}")
        require_choice("distribution", distribution, DISTRIBUTIONS)
        self.width, self.distribution = float(width), distribution
        self._middle = [float(value) for value in self.center.values()]
        self._plain = family.is_explicit and family.estimator is None
        self._reach = inf if radius is None else float(radius)
        if bound is not None:
            self._require_bound(bound)

    def _require_bound(self, bound: float) -> None:
        if not self.family.is_explicit:
            raise TypeError(f"`bound` is for explicit families; {self.family.name} is implicit")
        largest = _largest(*self.family.formula(*self._middle))
        if not (isinstance(bound, Real) and largest <= bound):
            raise ValueError(
                f"`bound` must allow the centre, whose largest coefficient is {largest:.4g}; "
                f"got {bound!r}"
            )

    def forward(self, like: Tensor) -> Coefficients:
        """Coefficients for one solve from a state `like` this one, drawn if in training."""
        return self._drawn() if self.is_drawing() else self._member(self._middle)

    def _member(self, values: list[float]) -> Coefficients:
        return coefficients_at(self.family, **dict(zip(self.center, values, strict=True)))

    def _drawn(self) -> Coefficients:
        rng = self.next_draw()
        for _ in range(ATTEMPTS):
            member = self._accepted([middle + self._deviation(rng) for middle in self._middle])
            if member is not None:
                return member
        raise RuntimeError(
            f"none of {ATTEMPTS} draws had coefficients within the bound {self.bound}; "
            f"choose a width below {self.width}, or a larger bound"
        )

    def _accepted(self, values: list[float]) -> Coefficients | None:
        """The member, or None above the bound; box or bound has made most checks already."""
        if not self._plain and self.bound is None:
            return self._member(values)
        try:
            rows, b = self.family.formula(*values)
        except ZeroDivisionError:
            return None
        largest = _largest(rows, b)
        if self.bound is not None and largest > self.bound:
            return None
        if self._plain and largest < USUAL:
            return Coefficients(A=rows, b=b, order=self.family.order)
        return self._member(values)

    def _deviation(self, rng: Random) -> float:
        draw = DISTRIBUTIONS[self.distribution]
        while True:
            deviation = self.width * draw(rng)
            if abs(deviation) <= self._reach:
                return deviation

    def extra_repr(self) -> str:
        """Show the family and the distribution."""
        box = ", ".join(f"{name}={value}" for name, value in self.center.items())
        law = f"{self.distribution}, width={self.width}, radius={self.radius}, bound={self.bound}"
        return f"{self.family.name}, {box}, {law}"


def _largest(rows: Any, b: Any) -> float:
    return float(max(abs(a) for row in (*rows, b) for a in row))


class SwitchedSolver(DrawnSolver):
    """Solver switching: in training each call draws one solver of a finite set.

    Parameters
    ----------
    solvers : sequence
        Each a method as for `odeint`, for given steps, or a Module that makes `Coefficients`.
    probabilities : sequence of float, optional
        Of each, with the sum 1; by default equal.
    evaluation : int, optional
        Which of them evaluation uses; by default the first.
    generator : torch.Generator, optional
        As for `SmoothedSolver`.

    Raises
    ------
    TypeError, ValueError
        For what is no solver, probabilities that are none, and an `evaluation` that is none.

    Notes
    -----
    arXiv 2103.08561. State, processes and checkpoints as for `SmoothedSolver`. With trainable
    members, DistributedDataParallel must be told to find unused parameters.

    Examples
    --------
    >>> solver = SwitchedSolver(["midpoint", "heun2"], probabilities=[0.9, 0.1])
    >>> len(solver.eval()(torch.zeros(1)).b)
    2
    """

    def __init__(
        self,
        solvers: Sequence[Any],
        *,
        probabilities: Sequence[float] | None = None,
        evaluation: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        self.solvers = SolverSet(solvers, probabilities, name="probabilities")
        is_whole = isinstance(evaluation, Integral) and not isinstance(evaluation, bool)
        if not is_whole or evaluation not in range(len(self.solvers)):
            raise ValueError(
                f"`evaluation` must be the number of a solver, 0 to {len(self.solvers) - 1}, got "
                f"{evaluation!r}"
            )
        self.evaluation = evaluation
        self._ends = list(accumulate(self.solvers.weights))[:-1]

    def forward(self, like: Tensor) -> Any:
        """The method for one solve from a state `like` this one."""
        number = self.evaluation
        if self.is_drawing():
            number = bisect_right(self._ends, self.next_draw().random())
        return self.solvers.method(number, like)

    def extra_repr(self) -> str:
        """Show which one evaluation uses."""
        return f"evaluation={self.evaluation}"
