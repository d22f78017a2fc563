"""Ensembles: the mean of several solvers' outputs, the mean of several models' probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf, log
from typing import Any

import torch
from torch import Tensor, nn

from odecore.tableaux import Coefficients
from torch_bridge._class_scores import require_scores
from torch_bridge._kinds import require_flags
from torch_bridge._solver_set import SolverSet, checked_weights, coefficients_of
from torch_bridge._states import layout_of

__all__ = ["ModelEnsemble", "SolverEnsemble", "log_mean_probability"]

Solve = Callable[[Any, Any], Any]


class SolverEnsemble(nn.Module):
    """Solver ensembling: the output of the block is the mean of what several solvers give.

    Parameters
    ----------
    solvers : sequence
        Each a method as for `odeint`, for given steps, or a Module that makes `Coefficients`, such
        as `SmoothedSolver`.
    weights : sequence of float, optional
        Of the mean, with the sum 1; by default equal.
    batched : bool, optional
        Whether all solvers go in one pass over a batch that is as many times as large: for explicit
        methods with the same number of stages, and a right-hand side that treats samples apart
        (with batch normalization in training this is another model). Where the methods' abscissae
        differ, its t is a tensor (n, 1, ..., 1) with the time of each sample. It saves the overhead
        of small solves, and nothing where arithmetic costs most.

    Raises
    ------
    TypeError, ValueError
        For what is no solver, weights that are none, and methods that do not go in one pass.

    Notes
    -----
    arXiv 2103.08561. In evaluation as in training. `SolverEnsemble(...)(like)` is the tuple of
    methods.
    """

    def __init__(
        self,
        solvers: Sequence[Any],
        *,
        weights: Sequence[float] | None = None,
        batched: bool = False,
    ) -> None:
        super().__init__()
        require_flags(batched=batched)
        self.solvers = SolverSet(solvers, weights, name="weights")
        self.batched = batched
        if batched:
            coefficients_of([m for m in self.solvers.fixed if m is not None])

    def forward(self, like: Tensor) -> tuple[Any, ...]:
        """The methods for one solve from a state `like` this one."""
        return tuple(self.solvers.method(k, like) for k in range(len(self.solvers)))

    def average(self, solve: Solve, y0: Any) -> Any:
        """The weighted mean of `solve(method, y0)`, a tensor or a tuple of tensors."""
        layout = layout_of(y0)
        methods = self(layout.vector(y0))
        if self.batched:
            if layout.shapes is not None:
                raise ValueError("`batched` needs a state that is one tensor; leave it out")
            if y0.ndim == 0:
                raise ValueError("`batched` needs a state with an axis for the batch, got a scalar")
            y = solve(stacked(coefficients_of(methods), y0), torch.cat([y0] * len(methods)))
            outputs = y.tensor_split(len(methods), dim=y.ndim - y0.ndim)  # behind times, if any
        else:
            outputs = [solve(method, y0) for method in methods]
        if layout.shapes is None:
            return self._mean(outputs)
        return layout.rebuilt(map(self._mean, zip(*outputs, strict=True)))

    def _mean(self, outputs: Iterable[Tensor]) -> Tensor:
        first, *rest = (w * y for w, y in zip(self.solvers.weights, outputs, strict=True))
        return sum(rest, first)

    def extra_repr(self) -> str:
        """Show how it is evaluated."""
        return f"batched={self.batched}"


def stacked(methods: Sequence[Coefficients], like: Tensor) -> Coefficients:
    """Several methods as one, for states that lie one after another along the batch.

    Where methods agree a coefficient stays a float; elsewhere it is a tensor (k batch, 1, ..., 1).
    """
    shape = (len(like), *(1,) * (like.ndim - 1))
    kind = {"dtype": like.dtype.to_real(), "device": like.device}

    def column(entries: Sequence[Any]) -> Any:
        """Filled on the device, which is not waited for."""
        numbers = [e if isinstance(e, Tensor) else float(e) for e in entries]
        if not any(isinstance(e, Tensor) for e in numbers) and len(set(numbers)) == 1:
            return numbers[0]
        return torch.cat(
            [
                e.to(**kind).expand(shape)
                if isinstance(e, Tensor)
                else torch.full(shape, e, **kind)
                for e in numbers
            ]
        )

    def columns(rows: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
        return tuple(column(entries) for entries in zip(*rows, strict=True))

    A = tuple(columns([m.A[i] for m in methods]) for i in range(len(methods[0].b)))
    b = columns([m.b for m in methods])
    c = columns([m.c or () for m in methods])
    return Coefficients(A, b, order=min(m.order or 1 for m in methods), c=c)


class ModelEnsemble(nn.Module):
    """Model ensembling: the mean of the class probabilities of several models, as its logarithm.

    Parameters
    ----------
    models : sequence of Module
        Each from x to logits (batch, classes, ...): trained apart, or one of them with several
        solvers, by `SolvedBy`.
    weights : sequence of float, optional
        Of the mean, with the sum 1; by default equal.

    Raises
    ------
    TypeError
        For no models, or what is no Module, and when called, for outputs that are not one tensor of
        real numbers.
    ValueError
        For weights that are none, and when called, for logits of a single class.

    Notes
    -----
    arXiv 2103.08561. The result serves as logits: its softmax is the mean of the probabilities.

    Examples
    --------
    >>> certain = nn.Linear(1, 2, bias=False)
    >>> ensemble = ModelEnsemble([certain, certain])
    >>> x = torch.ones(3, 1)
    >>> torch.allclose(ensemble(x), certain(x).log_softmax(1))
    True
    """

    def __init__(
        self, models: Sequence[nn.Module], *, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        several = isinstance(models, Sequence | nn.ModuleList)
        if not several or not models or not all(isinstance(model, nn.Module) for model in models):
            raise TypeError("`models` must be a sequence of at least one Module")
        self.models = nn.ModuleList(models)
        self.weights = checked_weights(weights, len(models), "weights")

    def forward(self, x: Tensor) -> Tensor:
        """Logarithms of the mean probabilities for inputs `x`."""
        return log_mean_probability([model(x) for model in self.models], self.weights)

    def extra_repr(self) -> str:
        """Show the weights."""
        return f"weights={self.weights}"


def log_mean_probability(logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return log sum_i w_i softmax(logits_i) over classes, axis 1."""
    for y in map(require_scores, logits):
        if y.ndim < 2 or y.shape[1] < 2:
            raise ValueError(
                "models must return logits of at least two classes, (batch, classes, ...), got "
                f"{tuple(y.shape)}; of two classes with one logit z make [-z / 2, z / 2]"
            )
    pairs = [(y, w) for y, w in zip(logits, weights, strict=True) if w > 0]
    terms = torch.stack([y.log_softmax(1) + log(w) for y, w in pairs])
    masked = (terms == -inf).all(0)  # where logsumexp has the gradient NaN
    return terms.masked_fill(masked, 0).logsumexp(0).masked_fill(masked, -inf)
