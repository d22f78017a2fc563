"""How long a step may be so that every loss falls, from second derivatives along it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from odecore.errors import NonfiniteGradientError
from torch_bridge._kinds import require_callable
from torch_bridge._numbers import is_number

__all__ = ["StepCertificate", "certified_step"]

Vector = NDArray[np.float64]
SUFFICIENT = 0.25  # of the first-order decrease; half the limit gives a half of it to quadratics
HALVINGS = 100  # for losses that are 0 at a kink, where no rounding ends the search


@dataclass(frozen=True, eq=False)
class StepCertificate:
    """How the losses fall along a step of size h against a direction d.

    Parameters
    ----------
    step : float
        A step at which all losses were measured to be lower; 0 where none was found.
    limit : float
        Below it the second-order model of every loss is lower than at 0, infinite where no model
        turns up again, 0 where one does not fall. Exact for quadratic losses.
    rates : (m,) ndarray of float64
        g_i^T d: decrease per step size, at first order.
    curvatures : (m,) ndarray of float64
        d^T H_i d.
    decreases : (m,) ndarray of float64
        Measured at `step`.
    """

    step: float
    limit: float
    rates: Vector
    curvatures: Vector
    decreases: Vector

    def modelled(self, step: float, /) -> Vector:
        """Decrease of each loss at a `step` h, at second order: h g_i^T d - h^2 d^T H_i d / 2.

        Raises
        ------
        TypeError
            If `step` is no real number, nor an array of these, of shape (..., 1).
        """
        h = np.asarray(step)
        if h.dtype.kind not in "iuf":
            raise TypeError(f"`step` must be a real number, got {step!r}")
        return h * self.rates - h**2 / 2 * self.curvatures


@torch.inference_mode(False)
def certified_step(
    losses: Callable[[Any], Sequence[Tensor] | Tensor],
    parameters: Any,
    direction: Any = None,
    *,
    largest: float,
) -> StepCertificate:
    """The largest step along which all losses fall at second order, and one that was measured.

    Parameters
    ----------
    losses : callable
        From parameters like those given to m scalar tensors, or one of shape (m,); of a module,
        by `torch.func.functional_call`. It must give the same losses each time, and second
        derivatives; sketched layers have them in evaluation mode, and a `NeuralODE` with
        adjoint="direct" and an explicit method.
    parameters : Tensor, or sequence or dict of Tensor
        Where the step starts.
    direction : like `parameters`, optional
        The step is to parameters - h * direction. By default their `.grad`, where
        `equiangular_backward` has put it; a parameter without one stays.
    largest : float
        No step above it is taken or measured, whatever the limit is.

    Returns
    -------
    StepCertificate

    Raises
    ------
    ValueError
        If `largest` is not positive and finite, the direction has not the parameters' structure
        and shapes, it is not given and no parameter has a `.grad`, there is no loss or no
        parameter, or the losses change a buffer, as BatchNorm does in training, or go through a
        checkpoint.
    TypeError
        If parameters or direction are no real tensors, or losses no real scalars.
    odecore.errors.NonfiniteGradientError
        If a loss, its rate or its curvature is not finite; it names the losses.

    Notes
    -----
    limit = min_i 2 g_i^T d / max(d^T H_i d, 0), from one forward pass along h and two reverse
    passes for each loss, down to the one number h: no Hessian is formed. For quadratics every step
    below it lowers all, and a step above raises one. For other losses that is the statement of the
    model only, with an error of O(h^3), and kinks as of ReLU have no curvature. So `step` is
    measured: from the lesser of `largest` and half the limit, where a quadratic falls by at least
    half of its first-order decrease, it is halved until every loss falls by a quarter of its own:
    the rule of Armijo for several objectives, Fliege and Svaiter, Math. Methods Oper. Res. 51
    (2000), 479, with beta = 1/4. Where a quarter is less than rounding of the loss, and after 100
    tries, none is found and `step` is 0.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([3.0, 1.0])
    >>> found = certified_step(lambda x: [x[0] ** 2, 4 * x[1] ** 2], x, x, largest=10.0)
    >>> found.limit, found.step, found.decreases.tolist()
    (2.0, 1.0, [9.0, 4.0])
    """
    if not is_number(largest) or not 0 < largest < float("inf"):
        raise ValueError(f"`largest` must be positive and finite, got {largest!r}")
    require_callable("losses", losses, "losses(parameters)", 1)
    largest = float(largest)
    x, d, spec = _aligned(parameters, direction)

    def along(h: Tensor | float) -> list[Tensor]:
        moved = [(p - h * v).to(p.dtype) for p, v in zip(x, d, strict=True)]
        return _listed(losses(tree_unflatten(moved, spec)))

    # Of the kernels of attention this one can be differentiated twice.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        values, rates, curvatures = _taylor(along)
        eps = float(torch.finfo(values.dtype).eps)
        values, rates, curvatures = (v.cpu().double().numpy() for v in (values, rates, curvatures))
        _check_finite(values, rates, curvatures)
        limit = _limit(rates, curvatures)
        step = min(largest, limit / 2)
        for _ in range(HALVINGS):
            if not (SUFFICIENT * step * rates > eps * np.abs(values)).all():
                break
            moved = torch.stack(along(step))
            decreases = values - moved.cpu().double().numpy()
            if np.isfinite(decreases).all() and (decreases >= SUFFICIENT * step * rates).all():
                return StepCertificate(step, limit, rates, curvatures, decreases)
            step /= 2
    return StepCertificate(0.0, limit, rates, curvatures, np.zeros_like(values))


@torch.enable_grad()
def _taylor(along: Callable[[Tensor], list[Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Of losses of one number, at 0: values, rates at which they fall, second derivatives.

    In reverse twice: forward derivatives of torch's forward derivatives leave terms out, those of
    layer_norm, batch_norm, linalg.det and linalg.solve among others (torch 2.13).
    """
    h = torch.zeros((), dtype=torch.float64, device="cpu")  # goes with tensors of all devices
    with _naming_limits_of_func():  # buffers, which it does not let be written to, and hooks
        torch.func.vjp(along, h)
    h.requires_grad_()
    found = []
    for loss in along(h):
        slope = _slope(loss, h, create_graph=True)
        found.append((loss.detach(), -slope.detach(), _slope(slope, h)))
    values, rates, curvatures = (torch.stack(column) for column in zip(*found, strict=True))
    return values, rates, curvatures


def _slope(y: Tensor, h: Tensor, *, create_graph: bool = False) -> Tensor:
    """dy/dh, of which no more than this y is asked for: 0 times infinity elsewhere is NaN."""
    if not y.requires_grad:
        return torch.zeros_like(h)
    return torch.autograd.grad(
        y, h, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )[0]


@contextmanager
def _naming_limits_of_func() -> Iterator[None]:
    """Say what to do where the losses change a tensor that they hold, or use a checkpoint."""
    try:
        yield
    except RuntimeError as error:
        if "saved tensor hooks" in str(error):
            raise ValueError(
                "`losses` must not go through checkpoints or other hooks of saved tensors, such as "
                "save_on_cpu, which torch.func does not know: leave them out here"
            ) from error
        if "mutate a captured Tensor" not in str(error):
            raise
        raise ValueError(
            "`losses` must not change tensors besides their results, as BatchNorm in training "
            "changes its running statistics; call eval(), or set track_running_stats=False, or "
            "give torch.func.functional_call copies of the buffers too; of the parameters, write "
            "to copies"
        ) from error


def _aligned(
    parameters: Any, direction: Any
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], TreeSpec]:
    """Copies of parameters and direction, which losses may write to, as tuples of equal shapes."""
    x, spec = tree_flatten(parameters)
    if not x:
        raise ValueError("`parameters` must hold at least one tensor, got none")
    _require_real("parameters", x)
    if direction is None:
        if all(p.grad is None for p in x):
            raise ValueError(
                "without a `direction`, a parameter must have a `.grad`: call equiangular_backward "
                "first, or give the direction"
            )
        d = [torch.zeros_like(p) if p.grad is None else p.grad for p in x]
    else:
        if isinstance(parameters, list) and isinstance(direction, tuple):
            direction = list(direction)  # as torch.autograd.grad returns it
        elif isinstance(parameters, dict) and isinstance(direction, dict):
            direction = {k: direction[k] for k in parameters if k in direction} | direction
        d, other = tree_flatten(direction)
        _require_real("direction", d)
        shapes = [[tuple(v.shape) for v in tensors] for tensors in (x, d)]
        if other != spec or shapes[0] != shapes[1]:
            raise ValueError(
                "`direction` must have the structure and shapes of `parameters`, "
                f"{shapes[0]}; got {shapes[1]}"
            )
    return tuple(p.detach().clone() for p in x), tuple(v.detach().clone() for v in d), spec


def _require_real(label: str, tensors: Sequence[Any]) -> None:
    for x in tensors:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            found = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"`{label}` must hold real tensors, got {found}")


def _listed(losses: Sequence[Tensor] | Tensor) -> list[Tensor]:
    """Losses without dimensions, checked."""
    if not isinstance(losses, Iterable):
        raise TypeError(
            f"`losses` must return scalar tensors, or one vector, got {type(losses).__name__}"
        )
    listed = list(losses) if not isinstance(losses, Tensor) or losses.ndim else [losses]
    if not listed:
        raise ValueError("`losses` must return at least one loss, got none")
    for i, loss in enumerate(listed):
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
            found = (
                f"shape {tuple(loss.shape)} of {loss.dtype}"
                if isinstance(loss, Tensor)
                else type(loss).__name__
            )
            raise TypeError(f"`losses` must return real scalar tensors; losses[{i}] is {found}")
    return [loss.reshape(()) for loss in listed]


def _check_finite(values: Vector, rates: Vector, curvatures: Vector) -> None:
    finite = np.isfinite([values, rates, curvatures]).all(axis=0)
    bad = tuple(np.flatnonzero(~finite).tolist())
    if bad:
        raise NonfiniteGradientError(
            "losses and their derivatives along the direction must be finite; those of losses "
            f"{list(bad)} are not: skip this step, or look for the cause with "
            "torch.autograd.detect_anomaly",
            bad,
        )


def _limit(rates: Vector, curvatures: Vector) -> float:
    """Largest step below which all second-order models are lower."""
    if rates.min() <= 0:
        return 0.0
    up = curvatures > 0
    with np.errstate(over="ignore"):
        return float((2 * rates[up] / curvatures[up]).min(initial=np.inf))
