"""Equiangular descent for a list of losses."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from odecore.directions import EquiangularWeights, equiangular_weights
from odecore.errors import NonfiniteGradientError
from torch_bridge._kinds import require_flags
from torch_bridge._leaves import reached
from torch_bridge._listed import checked_losses, wanted
from torch_bridge._objective_rows import (
    Row,
    Rows,
    differentiated,
    gramian_of,
    marked,
)
from torch_bridge._processes import processes, require_alike
from torch_bridge._shared_features import checked_features, heads_only, through
from torch_bridge._unformed_gradients import UnformedWeight, unformed_weights
from torch_bridge._unknown_options import require_choice

__all__ = [
    "check_options", "combine", "equiangular_backward", "objective_rows", "own_parameters",
    "retains",
]  # fmt: skip

Scaling = Literal["harmonic", "min", "unit"]
OnZero = Literal["stop", "drop"]


def equiangular_backward(
    losses: Iterable[Tensor],
    parameters: Iterable[Tensor],
    *,
    shared: Tensor | Iterable[Tensor] | None = None,
    task_specific: Iterable[Tensor] = (),
    gramian: Literal["parameters", "features"] = "parameters",
    scaling: Scaling = "harmonic",
    on_zero: OnZero = "stop",
    chunk: int = 1,
    scaler: torch.amp.GradScaler | None = None,
    synchronize: bool = True,
    retain_graph: bool | None = False,
) -> EquiangularWeights:
    """Put the equiangular direction of the losses into the parameters' `.grad`.

    Use it instead of `sum(losses).backward()`; any optimizer takes the step. To first order it
    lowers every loss, and those with positive weight equally, relative to their gradients' norms.

    Parameters
    ----------
    losses : iterable of 0-d Tensors
        At least one; with one the direction is its gradient.
    parameters : iterable of Tensor
        Those that some losses do not touch count as zero there; those that do not require a
        gradient are skipped. The direction is added to `.grad`, as `backward` does; that of
        parameters which no loss touches, on any process, stays what it is.
    shared : Tensor or iterable of Tensor, optional
        Features through which, and only through which, the losses depend on `parameters`, none
        computed from another. The heads above are then differentiated once, down to the features,
        whose tensors' hooks see each loss's gradient once.
    task_specific : iterable of Tensor, optional
        Parameters that belong to one loss each: they get its plain gradient.
    gramian : {"parameters", "features"}, optional
        With `shared`: "parameters" pulls every loss's gradient back, and is exact. "features"
        takes the weights from the gradients at the features and pulls their combination back, one
        pass for all losses. This is the direction of the features' steps: at the parameters it
        may raise a loss, and the certificate holds for the features only.
    scaling, on_zero : str, optional
        As for `odecore.directions.equiangular_weights`.
    chunk : int, optional
        Losses that are differentiated in one pass, by vmap: faster for small models, with as many
        times the memory of a pass. 1 for backward passes that draw, as checkpoints with dropout do,
        that the inductor compiled, are a restored or reversed adjoint, or leave torch.
    scaler : torch.amp.GradScaler, optional
        Multiplies the losses; do not scale them yourself. Weights are those of the losses
        themselves. Where a gradient overflows, `.grad` becomes not finite, so that the scaler
        skips the step, and the weights returned are NaN.
    synchronize : bool, optional
        Average gradients over all processes where torch.distributed is initialised, before the
        Gramian: all find one direction, that of the averaged losses, as DDP would; its own hooks
        do not see these passes. False where processes do not share these parameters, or train
        models of their own: each then takes the direction of its own losses.
    retain_graph : bool or None, optional
        Keep the graph of the losses for further backward passes.

    Returns
    -------
    EquiangularWeights
        Weights, cosines, first-order decreases and certificate. Where it says `stationary`,
        zeros are added.

    Raises
    ------
    ValueError
        If there is no loss, a loss is not a scalar that depends on a parameter, no parameter
        requires a gradient, a gradient is sparse, `chunk` losses can not share a pass, a loss goes
        around the features, through a reentrant checkpoint, or shares a parameter in
        `task_specific`, one of these is below features with hooks, or processes differ in the
        number of losses or parameters. No `.grad` was touched.
    odecore.errors.NonfiniteGradientError
        If a gradient is not finite; it names the objectives. No `.grad` was touched.
    odecore.errors.FreedGraphError
        If the graph of a loss was freed by an earlier pass.
    TypeError
        If parameters are no list of tensors, as a single tensor is not, or losses no list of real
        ones.

    Notes
    -----
    One backward pass for each loss and one m x m Gramian, summed in float64 and read to the host
    once; see `odecore.directions.equiangular_weights` for the weights and their source. What is
    stored is one gradient for each loss, and with `shared` one at the features too, until the call
    ends. Of wide `nn.Linear` layers that few rows pass through, on a CPU, it is that at the layer's
    output, from which the Gramian and one gradient of the weight follow, to rounding as from all of
    them; hooks of such a weight, or of the layer's nodes in the graph, see to it that its gradients
    are formed, those of a view of it do not. With `gramian="features"`, the bound of Sener and
    Koltun, arXiv 1810.04650, equation (MGDA-UB), with equiangular weights in place of min-norm
    ones.
    """
    retain_graph = retains(retain_graph)
    check_options(chunk, scaling, on_zero, scaler, gramian, synchronize=synchronize)
    chosen = wanted(parameters)
    if not chosen:
        raise ValueError("`parameters` must hold a tensor that requires a gradient, got none")
    scalars = checked_losses(losses)
    factor = 1.0
    if scaler is not None:
        scalars = [scaler.scale(loss) for loss in scalars]
        factor = float(scaler.get_scale())
    own = own_parameters(task_specific, chosen)
    options = {"scaling": scaling, "on_zero": on_zero, "scaler": scaler}
    if gramian == "features":
        features = checked_features(() if shared is None else shared)
        return _by_features(
            scalars, chosen, own, features, factor, synchronize, retain_graph, options
        )
    rows = objective_rows(
        scalars,
        chosen,
        own,
        shared=shared,
        chunk=int(chunk),
        scale=factor,
        retain_graph=retain_graph,
        formed=synchronize and processes() > 1,
    )
    return combine(rows, synchronize=synchronize, **options)


def objective_rows(
    losses: list[Tensor],
    parameters: tuple[Tensor, ...],
    own: tuple[Tensor, ...],
    *,
    shared: Tensor | Iterable[Tensor] | None,
    chunk: int,
    scale: float,
    retain_graph: bool,
    formed: bool,
) -> Rows:
    """One gradient for each loss, through the features where there are any.

    Unless all are to be `formed`, weights of layers may be left as `UnformedWeight` describes, for
    as long as nobody changes the layers' inputs.
    """
    count = len(parameters)
    features = () if shared is None else checked_features(shared)
    unformed: dict[int, UnformedWeight] = {}
    if chunk == 1 and not formed:
        unformed = unformed_weights(features or losses, parameters, len(losses))
    inputs = [unformed[k].output if k in unformed else p for k, p in enumerate(parameters)]
    if shared is None:
        found = differentiated(losses, (*inputs, *own), retain_graph=retain_graph, chunk=chunk)
    else:
        inner, heads = heads_only(losses, features, own, parameters, retain_graph=retain_graph)
        trunk = through(features, inner, inputs, retain_graph=retain_graph, chunk=chunk)
        found = [(*a, *b) for a, b in zip(trunk, heads, strict=True)]
    every = (*parameters, *own)
    if chunk > 1:
        found = [_touched(row, every, x) for row, x in zip(found, losses, strict=True)]
    for i, row in enumerate(found):
        if all(g is None for g in row[:count]):
            raise ValueError(f"losses[{i}] depends on none of the `parameters`")
    rows = Rows(found, every, count, scale, unformed)
    _check_own(rows.gradients, count)
    return rows


def _touched(row: Row, parameters: tuple[Tensor, ...], loss: Tensor) -> Row:
    """None in place of the zeros that vmap returns where a loss does not touch a parameter."""
    leaves = reached(loss)
    pairs = zip(row, parameters, strict=True)
    return tuple(g if id(p) in leaves or not p.is_leaf else None for g, p in pairs)


def combine(
    rows: Rows,
    *,
    synchronize: bool,
    scaling: Scaling,
    on_zero: OnZero,
    scaler: torch.amp.GradScaler | None,
) -> EquiangularWeights:
    """Weigh the rows and add their combination to `.grad`."""
    if synchronize:
        rows.synchronize()
    G = marked(rows.gramian(), [row[rows.shared :] for row in rows.gradients])
    found = _weighed(G, rows.scale, scaling=scaling, on_zero=on_zero, scaler=scaler)
    rows.put([float(w) for w in found.weights])
    return found


def _weighed(
    G: Tensor,
    scale: float,
    *,
    scaling: Scaling,
    on_zero: OnZero,
    scaler: torch.amp.GradScaler | None,
) -> EquiangularWeights:
    """Weights of this Gramian; NaN where gradients are not finite and a scaler looks out."""
    on_host = G.cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(np.diag(on_host))).tolist()
    if bad:
        return _unknown(len(on_host), bad, scaler)
    return equiangular_weights(on_host / scale / scale, scaling=scaling, on_zero=on_zero)


def _unknown(
    count: int, bad: Iterable[int], scaler: torch.amp.GradScaler | None
) -> EquiangularWeights:
    """NaN for a scaler, which then skips the step; an error where there is none."""
    objectives = tuple(bad)
    if scaler is not None and scaler.is_enabled():
        nothing = np.full(count, np.nan)
        return EquiangularWeights(nothing, nothing, np.nan, False, nothing, nothing, np.nan)
    raise NonfiniteGradientError(
        f"gradients must be finite; those of objectives {list(objectives)} are not, or their "
        "squares overflow: skip this step, or look for the cause with "
        "torch.autograd.detect_anomaly",
        objectives,
    )


def _by_features(
    losses: list[Tensor],
    parameters: tuple[Tensor, ...],
    own: tuple[Tensor, ...],
    features: tuple[Tensor, ...],
    scale: float,
    synchronize: bool,
    retain_graph: bool,
    options: dict[str, object],
) -> EquiangularWeights:
    """Weights from the Gramian at the features, and one pass for their combination."""
    inner, heads = heads_only(losses, features, own, parameters, retain_graph=retain_graph)
    _check_own(heads, 0)
    # Marked before processes meet, for all of them to find the same.
    G = marked(gramian_of(inner, len(features)), heads)
    if synchronize and processes() > 1:
        require_alike(len(losses), len(parameters) + len(own), G.device)
        # The features of all processes are one long vector, and the losses are means.
        torch.distributed.all_reduce(G)
        G /= processes() ** 2
    found = _weighed(G, scale, **options)  # type: ignore[arg-type]
    at_features = Rows(inner, tuple(torch.zeros_like(z) for z in features), len(features), scale)
    at_features.put([float(w) for w in found.weights])
    direction = tuple(z.grad for z in at_features.parameters)
    pulled = through(features, [direction], parameters, retain_graph=retain_graph)[0]
    nothing: Row = (None,) * len(parameters)
    # The direction comes with the first row; the others bring their own parameters only.
    first = [pulled] + [nothing] * (len(losses) - 1)
    rows = Rows(
        [(*a, *b) for a, b in zip(first, heads, strict=True)], (*parameters, *own), len(parameters)
    )
    if synchronize:
        rows.synchronize()
    # What is not finite here arose below the features, where one pass serves all objectives.
    below = marked(G.new_zeros(1, 1), [rows.gradients[0][: rows.shared]])
    if not np.isfinite(below.item()):
        found = _unknown(len(losses), range(len(losses)), options["scaler"])  # type: ignore[arg-type]
    rows.put([1.0 + 0.0 * float(w) for w in found.weights])  # NaN where these are unknown
    return found


def own_parameters(
    task_specific: Iterable[Tensor], parameters: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Parameters that belong to one loss; none of them shares the direction."""
    own = wanted(task_specific, "task_specific")
    shared = {id(p) for p in parameters}
    for k, p in enumerate(own):
        if id(p) in shared:
            raise ValueError(
                f"`task_specific` and `parameters` must have nothing in common; tensor {k} of "
                f"shape {tuple(p.shape)} is in both"
            )
    return own


def _check_own(rows: list[Row], start: int) -> None:
    """Refuse parameters in `task_specific` that several losses touch."""
    for k, column in enumerate(zip(*(row[start:] for row in rows), strict=True)):
        owners = [i for i, g in enumerate(column) if g is not None]
        if len(owners) > 1:
            raise ValueError(
                f"`task_specific` parameters must belong to one loss; number {k} belongs to losses "
                f"{owners}: list it in `parameters`, or, where torch.compile made one graph of all "
                "losses, compile what they share and their heads one by one"
            )


def retains(retain_graph: bool | None) -> bool:
    """Whether graphs are kept; None stands for no, as torch has it."""
    found = False if retain_graph is None else retain_graph
    require_flags(retain_graph=found)
    return found


def check_options(
    chunk: int, scaling: Scaling, on_zero: OnZero, scaler: object, gramian: str = "parameters",
    **flags: bool,
) -> None:  # fmt: skip
    """Refuse options before a pass is spent on them."""
    require_flags(**flags)
    require_choice("gramian", gramian, ("parameters", "features"))
    if isinstance(chunk, bool) or not isinstance(chunk, Integral) or chunk < 1:
        raise ValueError(f"`chunk` must be a whole number of losses, at least 1, got {chunk!r}")
    if scaler is not None and not hasattr(scaler, "get_scale"):
        raise TypeError(
            f"`scaler` must be a torch.amp.GradScaler, got {scaler!r}; of a fixed scale make one "
            "with init_scale=, or leave it out"
        )
    if (scaling, on_zero) != ("harmonic", "stop"):  # the usual ones, in every step
        equiangular_weights([[1.0]], scaling=scaling, on_zero=on_zero)
