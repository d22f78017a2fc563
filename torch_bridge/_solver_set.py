"""A finite set of solvers with weights, some of them Modules that make their coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, isfinite
from typing import Any

from torch import Tensor, nn

from odecore.solve import Newton
from odecore.tableaux import ButcherTableau, Coefficients
from torch_bridge._methods import solver_of
from torch_bridge._numbers import several_numbers

__all__ = ["SolverSet", "checked_weights", "coefficients_of"]


class SolverSet(nn.Module):
    """Solvers for given steps; `method(i, like)` is the method of number i for a state.

    Raises
    ------
    TypeError, ValueError
        For no solver, one that is none, and as `checked_weights`.
    """

    def __init__(
        self, solvers: Sequence[Any], weights: Sequence[float] | None, *, name: str
    ) -> None:
        super().__init__()
        if isinstance(solvers, str) or not isinstance(solvers, Sequence) or not solvers:
            raise TypeError(f"`solvers` must be a sequence of at least one solver, got {solvers!r}")
        self.weights = checked_weights(weights, len(solvers), name)
        self.names = tuple(map(_name, solvers))
        self.fixed: list[Any] = []
        for k, solver in enumerate(solvers):
            if isinstance(solver, nn.Module):
                if hasattr(solver, "average"):
                    raise TypeError(f"solver {k} averages several itself; list its members instead")
                self.add_module(str(k), solver)
                self.fixed.append(None)
            else:
                self.fixed.append(solver_of(solver, {"steps": 1}, 1e-6, 1e-6, Newton).method)

    def __len__(self) -> int:
        return len(self.fixed)

    def method(self, number: int, like: Tensor) -> Any:
        """Coefficients, or an Adams method."""
        fixed = self.fixed[number]
        return self.get_submodule(str(number))(like) if fixed is None else fixed

    def extra_repr(self) -> str:
        """Show the fixed ones, and all weights."""
        pairs = zip(self.names, self.weights, strict=True)
        return ", ".join(f"{name}: {weight:.4g}" for name, weight in pairs)


def checked_weights(weights: Sequence[float] | None, count: int, name: str) -> tuple[float, ...]:
    """Weights of a mean, by default equal ones.

    Raises
    ------
    TypeError
        For what is no sequence of numbers.
    ValueError
        Unless there is one for each, none is negative, and their sum is 1.
    """
    found = (1 / count,) * count if weights is None else several_numbers(name, weights)
    if len(found) != count:
        raise ValueError(f"`{name}` must hold {count} numbers, one for each, got {len(found)}")
    if not all(isfinite(w) and w >= 0 for w in found) or abs(fsum(found) - 1) > 1e-6:
        raise ValueError(f"`{name}` must not be negative and have the sum 1, got {found}")
    total = fsum(found)
    return tuple(w / total for w in found)


def _name(solver: Any) -> str:
    if isinstance(solver, ButcherTableau):
        return solver.name or "a tableau"
    return solver if isinstance(solver, str) else type(solver).__name__


def coefficients_of(solvers: Sequence[Any]) -> list[Coefficients]:
    """Check that methods make their steps alike, so that one pass can take them all.

    Raises
    ------
    ValueError
        Unless all are explicit Runge-Kutta methods with the same number of stages.
    """
    found = [m for m in solvers if isinstance(m, Coefficients) and m.is_explicit]
    stages = sorted({len(m.b) for m in found})
    if len(found) < len(solvers) or len(stages) > 1:
        raise ValueError(
            "one pass for all solvers needs explicit Runge-Kutta methods with the same number of "
            f"stages, got {len(solvers) - len(found)} others, and stages {stages}; leave `batched`"
        )
    return found
