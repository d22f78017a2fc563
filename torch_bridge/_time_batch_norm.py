"""Batch normalization whose statistics and affine parameters depend on the time."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.functional import batch_norm

from odecore.errors import RightHandSideWarning
from torch_bridge._draws import in_backward
from torch_bridge._fields import inside_torch_func, inside_transform
from torch_bridge._kinds import require_flags
from torch_bridge._numbers import is_number, require_whole, several_numbers
from torch_bridge._one_solve import current_solve

__all__ = ["TimeBatchNorm"]


class TimeBatchNorm(nn.Module):
    """Batch normalization inside a right-hand side, called as `layer(t, x)`.

    The features x are of shape (batch, channels, ...). Running statistics, scales and shifts are
    given at M + 1 equidistant times and are linear in between. In training x is normalized by its
    own batch, in evaluation by the running statistics at t. These move once a solve, so that
    recomputation in an adjoint or a checkpoint, or more stages, change nothing.

    Parameters
    ----------
    channels : int
    intervals : int, optional
        M. Solves keep their order where steps do not cross these times inside.
    span : (float, float), optional
        First and last time, increasing: those of the solve, or wider for a method, given or drawn,
        whose stages lie outside of its steps.
    momentum : float, optional
        eta in (0, 1].
    eps : float, optional
    affine : bool, optional
        Whether there are scales and shifts.

    Attributes
    ----------
    running_mean, running_var : (M + 1, channels) Tensor
    weight, bias : (M + 1, channels) Parameter, or None
    num_batches_tracked : 0-d Tensor
        Number of solves that moved the statistics.

    Raises
    ------
    ValueError
        For values that break a rule above; on the CPU also for a time outside of the span.
    TypeError
        If `span` holds no numbers.

    Warns
    -----
    odecore.errors.RightHandSideWarning
        In training outside of a solve, where nothing is recorded; see `one_solve`.

    Notes
    -----
    With the weights w_l(t) of linear interpolation, of which two are not zero, an evaluation at t
    with the batch's mean mu asks for mu_l <- (1 - eta w_l) mu_l + eta w_l mu. The evaluations
    t_k of one solve are one update together, to the mean of the mu(t_k) weighted with w_l(t_k),
    with weight min(1, sum of w_l(t_k)): for one evaluation, and for one at each of the times,
    that is the formula above, but more stages do not make the statistics move faster. Stages
    between the times smooth the statistics over an interval, on one side only at the first and the
    last time. Likewise the variances, which are the unbiased ones, as in torch. Derivatives by t
    are, at a time of the grid, those to its right, at the last one to its left. Inside torch.func
    nothing is recorded, since functions there have no side effects; a compiler leaves its graph
    here in training. After an average of weights `torch.optim.swa_utils.update_bn` does not know
    these statistics: run batches through the averaged model in training mode, under `no_grad`.

    Examples
    --------
    >>> import torch
    >>> from torch_bridge import one_solve
    >>> layer = TimeBatchNorm(3, intervals=4)
    >>> with one_solve():
    ...     y = layer(torch.tensor(0.3), torch.randn(10, 3))
    >>> layer.running_mean.any(dim=1)
    tensor([False,  True,  True, False, False])
    """

    def __init__(
        self,
        channels: int,
        *,
        intervals: int = 8,
        span: tuple[float, float] = (0.0, 1.0),
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
    ) -> None:
        super().__init__()
        require_whole(channels=channels, intervals=intervals)
        require_flags(affine=affine)
        times = several_numbers("span", span)
        if len(times) != 2 or not -math.inf < times[0] < times[1] < math.inf:
            raise ValueError(f"`span` must be two finite increasing times, got {span}")
        if not is_number(momentum) or not 0 < momentum <= 1:
            raise ValueError(f"`momentum` must be in (0, 1], got {momentum!r}")
        if not is_number(eps) or not 0 < eps < math.inf:
            raise ValueError(f"`eps` must be finite and positive, got {eps!r}")
        self.channels, self.intervals, self.span = channels, intervals, times
        self.momentum, self.eps = float(momentum), float(eps)
        shape = intervals + 1, channels
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.register_parameter("weight", nn.Parameter(torch.ones(shape)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape)) if affine else None)
        self._warned = False

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Normalize features `x` (batch, channels, ...) at the time `t`, a 0-d tensor."""
        w = self._interpolation(t)
        scale, shift = self._at(w, self.weight), self._at(w, self.bias)
        if not self.training:
            near = w[:, None] > 0  # NaN at other times is no concern
            mean, var = (
                self._at(w, torch.where(near | running.isfinite(), running, 0))
                for running in (self.running_mean, self.running_var)
            )
            if _has_derivative(w):
                return _with_derivatives_by_statistics(x, mean, var, scale, shift, self.eps)
            return batch_norm(x, mean, var, scale, shift, False, 0.0, self.eps)
        if not torch.compiler.is_compiling() and inside_torch_func():
            return batch_norm(x, None, None, scale, shift, True, 0.0, self.eps)
        mean, var = (self.running_mean.new_zeros(self.channels) for _ in range(2))
        y = batch_norm(x, mean, var, scale, shift, True, 1.0, self.eps)  # fills mean and var
        self._record(w, mean, var, not x.numel())
        return y

    @torch.no_grad()
    def move_statistics(self, found: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Make one update from weights, means and variances `found` in evaluations of a solve."""
        total, *targets = self.joined(found)
        rate = self.momentum * total.clamp(max=1)
        for running, target in zip((self.running_mean, self.running_var), targets, strict=True):
            running.lerp_(target, rate[:, None].to(running.dtype))
        self.num_batches_tracked += 1

    @torch.no_grad()
    def joined(self, found: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """All `found` as one: weights (M + 1,), and weighted means of both, (M + 1, channels)."""
        weights, *statistics = zip(*found, strict=True)
        w = torch.stack(weights)
        total = w.sum(0)
        shares = w / total.clamp(min=torch.finfo(w.dtype).tiny)
        means = []
        for several in statistics:
            x = torch.stack([one.expand(len(total), -1) for one in several])
            # A product that autocast leaves; where a weight is 0, so is it, also of NaN.
            means.append(torch.where(w[:, :, None] > 0, shares[:, :, None] * x, 0).sum(0))
        return total, means[0], means[1]

    def _interpolation(self, t: Tensor) -> Tensor:
        """Weights (M + 1,) of linear interpolation, on devices without reading t.

        At a time of the grid their derivatives are those to its right, at the last to its left.
        """
        if not isinstance(t, Tensor) or t.ndim or not t.is_floating_point():
            tensor = isinstance(t, Tensor)
            found = f"shape {tuple(t.shape)}, {t.dtype}" if tensor else type(t).__name__
            raise ValueError(
                "`t` must be a 0-d floating-point tensor, the time of the whole batch, which one "
                f"pass for all solvers of an ensemble (`batched`) does not give; got {found}"
            )
        start, end = self.span
        last, like = self.intervals, self.running_mean
        rate = last / (end - start)
        if t.device.type == "cpu" and not inside_transform():
            time = float(t.detach())
            slack = 4 * torch.finfo(t.dtype).eps * max(abs(start), abs(end))
            if not start - slack <= time <= end + slack:
                raise ValueError(
                    f"the time {time:.6g} is outside of the span {self.span} of TimeBatchNorm; "
                    "give it the `span` of the solve, wider where stages lie outside of their steps"
                )
            if not _has_derivative(t):  # the same on the host, in a tenth of the time
                s = min(max((time - start) * rate, 0.0), float(last))
                left = min(int(s), last - 1)
                between = [left + 1 - s, s - left]
                return like.new_tensor([0.0] * left + between + [0.0] * (last - 1 - left))
        s = ((t - start) * rate).clamp(0, last)
        left = s.floor().clamp(max=last - 1)
        # Not hats max(0, 1 - |s - k|): where s is whole, their derivatives have no sum of 0.
        node = torch.arange(last + 1, device=t.device) - left
        w = torch.where(node == 0, left + 1 - s, 0) + torch.where(node == 1, s - left, 0)
        return w.to(like.dtype)

    @staticmethod
    def _at(w: Tensor, values: Any) -> Any:
        if values is None:
            return None
        kind = w.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            return (w[:, None] * values).sum(0)  # a product of matrices would be rounded
        return torch.mv(values.t(), w)

    @torch.compiler.disable
    def _record(self, w: Tensor, mean: Tensor, var: Tensor, empty: bool) -> None:
        if in_backward() or empty:
            return
        solve = current_solve()
        if solve is not None:
            solve.record(self, (w.detach(), mean, var))
        elif not self._warned:
            self._warned = True
            warnings.warn(
                "TimeBatchNorm in training, outside of a solve: its statistics do not move; put "
                "the evaluations of a solve into `with torch_bridge.one_solve():`",
                RightHandSideWarning,
                stacklevel=4,
            )

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.channels}, intervals={self.intervals}, span={self.span}"


def _has_derivative(x: Tensor) -> bool:
    """Whether autograd follows a tensor in either direction, or may in a transformation."""
    if x.requires_grad:
        return True
    if torch.compiler.is_compiling():
        return False
    return inside_torch_func() or forward_ad.unpack_dual(x).tangent is not None


def _with_derivatives_by_statistics(
    x: Tensor, mean: Tensor, var: Tensor, scale: Any, shift: Any, eps: float
) -> Tensor:
    """Normalize by given statistics, which torch's kernel takes for constants.

    It has derivatives by scale and shift, into which statistics are put here.
    """
    wide = torch.promote_types(mean.dtype, torch.float32)
    factor = torch.rsqrt(var.to(wide) + eps)
    factor = factor if scale is None else factor * scale
    offset = -mean * factor if shift is None else shift - mean * factor
    zero, one = torch.zeros_like(factor), torch.ones_like(factor)
    return batch_norm(x, zero, one, factor, offset, False, 0.0, 0.0)
