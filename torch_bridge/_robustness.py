"""Clean and robust accuracy with intervals, and how attacks transfer between solvers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from numbers import Integral
from statistics import NormalDist

import torch
from torch import Tensor, nn

from torch_bridge._attack import Attack, Expectation
from torch_bridge._class_scores import classes_of, has_class, labels_of, require_scores
from torch_bridge._evaluation import evaluating, require_module, require_values
from torch_bridge._numbers import is_number, require_whole
from torch_bridge._solver_draws import beside_training

__all__ = ["Accuracy", "RobustnessReport", "TransferReport", "robustness", "transfer"]


@dataclass(frozen=True)
class Accuracy:
    """How many of how many samples are classified correctly.

    Parameters
    ----------
    correct, total : int

    Raises
    ------
    ValueError
        Unless 0 <= correct <= total and total >= 1.

    Examples
    --------
    >>> print(Accuracy(9, 10))
    90.0 % [59.6, 98.2]
    """

    correct: int
    total: int

    def __post_init__(self) -> None:
        counts = isinstance(self.correct, Integral) and isinstance(self.total, Integral)
        if not counts or not 0 <= self.correct <= self.total or self.total < 1:
            raise ValueError(
                "needs whole numbers, 0 <= correct <= total and total >= 1, got "
                f"{self.correct!r} of {self.total!r}"
            )

    @property
    def fraction(self) -> float:
        """The share of correct ones."""
        return self.correct / self.total

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's score interval at a `level` (Wilson 1927; Brown, Cai, DasGupta 2001, eq. 4).

        For the sampling of test inputs; what differs from training to training is not in it.
        """
        if not is_number(level) or not 0 < level < 1:
            raise ValueError(f"`level` must be between 0 and 1, got {level!r}")
        n, p, z = self.total, self.fraction, NormalDist().inv_cdf((1 + level) / 2)
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        """In per cent, with the interval."""
        low, high = self.interval()
        return f"{100 * self.fraction:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


@dataclass(frozen=True)
class RobustnessReport:
    """What an attack did to a model.

    Parameters
    ----------
    clean : Accuracy
    robust : Accuracy
        Samples that are classified correctly both clean and attacked.
    reach : float
        The largest perturbation, in units of eps.
    """

    clean: Accuracy
    robust: Accuracy
    reach: float

    def __str__(self) -> str:
        """One line."""
        return (
            f"clean {self.clean}, robust {self.robust}, largest perturbation {self.reach:.2f} eps"
        )


@dataclass(frozen=True)
class TransferReport:
    """Accuracies under attacks that were made with one model and tested with another.

    Parameters
    ----------
    names : tuple of str
    clean : tuple of Accuracy
        Of each model.
    robust : tuple of tuples of Accuracy
        Row: made with; column: tested with; clean as well as attacked.
    """

    names: tuple[str, ...]
    clean: tuple[Accuracy, ...]
    robust: tuple[tuple[Accuracy, ...], ...]

    def __str__(self) -> str:
        """A table in per cent."""
        width = max(10, *(len(name) + 2 for name in self.names))
        head = "made with \\ tested with"
        first = max(len(head), width)
        rows = [("clean", self.clean), *zip(self.names, self.robust, strict=True)]
        lines = [head.ljust(first) + "".join(name.rjust(width) for name in self.names)]
        for name, row in rows:
            cells = "".join(f"{100 * found.fraction:.1f}".rjust(width) for found in row)
            lines.append(name.ljust(first) + cells)
        return "\n".join(lines)


def robustness(
    model: nn.Module, x: Tensor, y: Tensor, attack: Attack, *, draws: int = 0, batch: int = 256
) -> RobustnessReport:
    """Accuracy of a classifier on clean and on attacked inputs.

    Parameters
    ----------
    model : Module
        From x to logits (batch, classes), or (batch,) or (batch, 1) of two classes. A sample whose
        largest logit is not finite counts as wrong.
    x, y : Tensor
        Inputs (n, ...), and class numbers (n,) from 0.
    attack : Attack
    draws : int, optional
        How many draws of random solvers the model, as it is attacked and as it is tested, averages
        its probabilities over at each call; 0: the solvers of evaluation.
    batch : int, optional
        Samples in one call of the attack.

    Returns
    -------
    RobustnessReport

    Raises
    ------
    TypeError, ValueError
        For inputs that break a rule above, and as `Attack`.

    Warns
    -----
    odecore.errors.WeakAttackWarning
        If samples withstood an attack whose largest perturbation is below 0.9 eps.

    Notes
    -----
    Modes, `.grad` of parameters, draws of solvers and the state of torch's generators are
    afterwards what they were; so the same call gives the same report, also of a random attack and
    of random solvers, unless random numbers were drawn in between.
    """
    _require_attack(attack)
    require_module(model)
    seen = Expectation(model, draws) if draws else model
    with beside_training(model):
        clean = _correct(seen, x, y, batch)
        x_adv = _attacked(attack, seen, x, y, batch)
        robust = clean & _correct(seen, x_adv, y, batch)
    reach = attack.warn_if_weak(x, x_adv, int(robust.sum()))
    return RobustnessReport(_accuracy(clean), _accuracy(robust), reach)


def transfer(
    models: Mapping[str, nn.Module],
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    batch: int = 256,
) -> TransferReport:
    """Attack each model, and test all models on what came out.

    Parameters
    ----------
    models : mapping from str to Module
        For example one model ``SolvedBy`` several solvers, or ``Expectation`` of draws.
    x, y, attack, batch
        As for `robustness`.

    Returns
    -------
    TransferReport

    Raises
    ------
    TypeError, ValueError
        As `robustness`, and for no models.
    """
    _require_attack(attack)
    if not isinstance(models, Mapping):
        raise TypeError(f"`models` must be a mapping from names, got {type(models).__name__}")
    if not models:
        raise ValueError("`models` must hold at least one model")
    for model in models.values():
        require_module(model)
    rows = []
    with beside_training(nn.ModuleList(models.values())):
        clean = {name: _correct(model, x, y, batch) for name, model in models.items()}
        for made in models.values():
            x_adv = _attacked(attack, made, x, y, batch)
            found = [clean[n] & _correct(m, x_adv, y, batch) for n, m in models.items()]
            attack.warn_if_weak(x, x_adv, int(torch.stack(found).any(0).sum()))
            rows.append(tuple(map(_accuracy, found)))
    return TransferReport(tuple(models), tuple(map(_accuracy, clean.values())), tuple(rows))


def _require_attack(attack: Attack) -> None:
    if not isinstance(attack, Attack):
        raise TypeError(
            f"`attack` must be an Attack, got {type(attack).__name__}: Attack(run, eps) holds a "
            "callable run(model, x, y) with its ball"
        )


def _attacked(attack: Attack, model: nn.Module, x: Tensor, y: Tensor, batch: int) -> Tensor:
    pairs = zip(x.split(int(batch)), y.split(int(batch)), strict=True)
    return torch.cat([attack(model, some, labels) for some, labels in pairs])


def _correct(model: nn.Module, x: Tensor, y: Tensor, batch: int) -> Tensor:
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise TypeError(
            f"`x` and `y` must be tensors, got {type(x).__name__} and {type(y).__name__}: make "
            "them with torch.as_tensor"
        )
    if len(x) != len(y) or len(x) == 0 or y.ndim != 1:
        raise ValueError(
            f"`x` and `y` must hold the same number of samples, at least one, y one label for "
            f"each; got {len(x)} and y of shape {tuple(y.shape)}"
        )
    require_whole(batch=batch)
    require_values(model, x, y)
    with evaluating(model), torch.no_grad():
        output = torch.cat([require_scores(model(some)) for some in x.split(int(batch))])
    return (classes_of(output) == labels_of(y, output)) & has_class(output)


def _accuracy(correct: Tensor) -> Accuracy:
    return Accuracy(int(correct.sum()), len(correct))
