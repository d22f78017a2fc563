"""Attacks as callables, checked: what they may do, what they can do, what they did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from warnings import warn

import torch
from torch import Tensor, nn

from odecore.errors import WeakAttackWarning
from torch_bridge._ensembles import log_mean_probability
from torch_bridge._evaluation import evaluating, refusing_training, untouched_gradients
from torch_bridge._numbers import is_number, require_whole
from torch_bridge._solver_draws import draw_again, drawing, require_drawn, untouched_names
from torch_bridge._unknown_options import require_choice

__all__ = ["Attack", "Expectation"]

NORMS = {"inf": inf, "2": 2.0, "1": 1.0}
FEW = 4  # units of rounding by which an input may leave the valid ones
ROUNDING = 1e-5  # that is allowed in eps; rounding of the sum x + perturbation comes on top


@dataclass(frozen=True)
class Attack:
    """Any attack, with the ball that it may search.

    Parameters
    ----------
    run : callable
        `run(model, x, y) -> x_adv`, of the shape of x; any library's, or yours.
    eps : float
        Radius of the ball.
    norm : {"inf", "2", "1"}, optional
        Of a sample's perturbation.
    steps : int, optional
    step_size : float, optional
        Where the attack takes steps of at most this size in this norm. With both, an attack that
        cannot leave the start by eps is refused.
    low, high : float, optional
        Bounds of valid inputs.

    Raises
    ------
    ValueError
        For eps that is not positive, unknown norms, one of steps and step_size without the other or
        not positive, low that is not below high, and where steps * step_size < eps: a published
        evaluation took 7 steps of 2/255 in a ball of radius 0.3.
    TypeError
        If `run` is not callable.

    Examples
    --------
    >>> Attack(lambda model, x, y: x, 0.3, steps=7, step_size=2 / 255)
    Traceback (most recent call last):
        ...
    ValueError: 7 steps of size 0.00784 reach 0.0549, not the ball's radius eps = 0.3: ...
    """

    run: Callable[[nn.Module, Tensor, Tensor], Tensor]
    eps: float
    norm: str = "inf"
    steps: int | None = None
    step_size: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.run):
            raise TypeError(f"`run` must be callable, got {type(self.run).__name__}")
        if not is_number(self.eps) or not 0 < self.eps < inf:
            raise ValueError(f"`eps` must be positive and finite, got {self.eps!r}")
        require_choice("norm", self.norm, NORMS)
        low = -inf if self.low is None else self.low
        high = inf if self.high is None else self.high
        if not (is_number(low) and is_number(high) and low < high):
            raise ValueError(
                f"`low` must be below `high`, both numbers, got {self.low!r} and {self.high!r}"
            )
        if (self.steps is None) != (self.step_size is None):
            raise ValueError("give both `steps` and `step_size`, or neither")
        if self.steps is not None and self.step_size is not None:
            numbers = is_number(self.steps) and is_number(self.step_size)
            whole = numbers and float(self.steps).is_integer() and self.steps >= 1
            if not whole or not 0 < self.step_size < inf:
                raise ValueError(
                    "`steps` must be a whole number from 1 and `step_size` positive and finite, "
                    f"got {self.steps!r} and {self.step_size!r}"
                )
            reach = self.steps * self.step_size
            if not reach >= self.eps * (1 - 1e-9):
                raise ValueError(
                    f"{self.steps} steps of size {self.step_size:.3g} reach {reach:.3g}, not the "
                    f"ball's radius eps = {self.eps:g}: take more steps, or larger ones"
                )

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Attack; the model is in evaluation meanwhile, and its gradients stay what they were.

        Raises
        ------
        TypeError
            For inputs that are no floating-point numbers.
        ValueError
            Without samples, for inputs that are not valid ones, and if the attack returns another
            shape, NaN, leaves its ball, or the valid inputs, or changes the model's parameters.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(
                "an attack needs inputs of floating-point numbers, got "
                f"{getattr(x, 'dtype', type(x).__name__)}: attack what an embedding makes of them, "
                "or scaled images"
            )
        if not len(x):
            raise ValueError("an attack needs at least one sample, got none")
        if (outside := self._outside(x, x)) > 0:
            raise ValueError(
                f"the inputs lie outside of the valid ones, {self._valid}, by {outside:.3g}, "
                "before any attack: scale or clamp them, or give other `low` and `high`"
            )
        with (
            evaluating(model),
            untouched_gradients(model.parameters()),
            untouched_names(model),
            refusing_training(model),
            torch.enable_grad(),
        ):
            x_adv = self.run(model, x.detach().clone(), y.clone())
        is_like = isinstance(x_adv, Tensor) and x_adv.is_floating_point()
        if not is_like or x_adv.shape != x.shape:
            tensor = isinstance(x_adv, Tensor)
            found = f"{tuple(x_adv.shape)}, {x_adv.dtype}" if tensor else type(x_adv).__name__
            raise ValueError(
                f"the attack must return inputs {tuple(x.shape)}, {x.dtype}, got {found}"
            )
        x_adv = x_adv.detach().to(x)
        self._require_ball(x, x_adv)
        self._require_valid(x, x_adv)
        return x_adv

    def _require_ball(self, x: Tensor, x_adv: Tensor) -> None:
        """Refuse what left the ball by more than the rounding of the entries that changed."""
        sizes = self.sizes(x, x_adv)
        changed = (x_adv != x).flatten(1).sum(1)
        entry = torch.finfo(x.dtype).eps * float(x.abs().max())
        slack = ROUNDING * self.eps + entry * changed.to(sizes.dtype) ** (1 / NORMS[self.norm])
        outside = ~(sizes <= self.eps + slack)
        if outside.any():
            raise ValueError(
                "the attack left its ball: a perturbation has the norm "
                f"{float(sizes[outside].max()):.6g}, allowed is eps = {self.eps:g} in norm "
                f"{self.norm}"
            )

    def _require_valid(self, x: Tensor, x_adv: Tensor) -> None:
        if (outside := self._outside(x, x_adv)) > 0:
            raise ValueError(
                f"the attack left the valid inputs {self._valid} by {outside:.3g}; clamp them"
            )

    @property
    def _valid(self) -> str:
        low = -inf if self.low is None else self.low
        return f"[{low:g}, {inf if self.high is None else self.high:g}]"

    def _outside(self, x: Tensor, seen: Tensor) -> float:
        """By how much inputs leave the valid ones; 0 where rounding may have done it."""
        low = -inf if self.low is None else self.low
        high = inf if self.high is None else self.high
        outside = float(torch.maximum(low - seen, seen - high).max())
        largest = max(float(x.abs().max()), *(abs(z) for z in (low, high) if abs(z) < inf), 0.0)
        return outside if outside > FEW * torch.finfo(x.dtype).eps * largest else 0.0

    def sizes(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """The norm of each sample's perturbation from `x` to `x_adv`, (batch,)."""
        wide = torch.promote_types(x.dtype, torch.float32)
        moved = (x_adv.to(wide) - x.to(wide)).flatten(1)
        return torch.linalg.vector_norm(moved, NORMS[self.norm], dim=1)

    def warn_if_weak(self, x: Tensor, x_adv: Tensor, survivors: int) -> float:
        """Warn where samples withstood an attack that went nowhere near the edge of its ball.

        Parameters
        ----------
        x, x_adv : Tensor
            Inputs before and after.
        survivors : int
            How many are classified correctly still.

        Returns
        -------
        float
            The largest perturbation in units of eps.
        """
        reach = float(self.sizes(x, x_adv).max()) / self.eps
        if survivors and reach < 0.9:
            warn(
                f"{survivors} samples withstood an attack whose largest perturbation is only "
                f"{reach:.2f} eps: it may be too weak to say anything; take more or larger steps",
                WeakAttackWarning,
                stacklevel=3,
            )
        return reach


class Expectation(nn.Module):
    """A model whose solvers are drawn, as the mean of its class probabilities over draws.

    Parameters
    ----------
    model : Module
        From x to logits (batch, classes).
    draws : int
        At each call, all of them new; also in evaluation. There the same seed of torch gives the
        same draws.

    Raises
    ------
    ValueError
        For fewer than one draw, and if no solver of the model is drawn.

    Notes
    -----
    An attack that follows one draw's gradient attacks a solver that is gone at the next call.
    Through this wrapper it follows the gradient of the expected probabilities. The result is their
    logarithm and serves as logits. A checkpoint inside the model repeats the draws. In evaluation
    draws and their names are not those of training, but each takes one of torch's random numbers:
    ``with torch.random.fork_rng():`` leaves these to a training beside it.
    """

    def __init__(self, model: nn.Module, draws: int) -> None:
        super().__init__()
        require_whole(draws=draws)
        require_drawn(model)
        self.model, self.draws = model, draws

    def forward(self, x: Tensor) -> Tensor:
        """Logarithms of the mean probabilities for inputs `x`."""
        with drawing(self.model):
            logits = [self.model(x) for _ in range(self.draws)]
        output = log_mean_probability(logits, (1 / self.draws,) * self.draws)
        draw_again(self.model, output)
        return output

    def extra_repr(self) -> str:
        """Show the number of draws."""
        return f"draws={self.draws}"
