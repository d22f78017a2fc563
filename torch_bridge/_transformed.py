"""Adjoints under torch.func: each solve runs on plain tensors, below the transformations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn

from torch_bridge._captured import give_shapes, tensors_of
from torch_bridge._fields import as_field, read_times, require_times
from torch_bridge._parametrized import cached_apart
from torch_bridge._signature import check_function
from torch_bridge._states import layout_of
from torch_bridge._times import only_output, shifted_outputs, shifted_start

__all__ = ["NO_FORWARD_MODE", "NO_SECOND_DERIVATIVE", "transformed"]

NO_FORWARD_MODE = (
    "an adjoint has no derivatives in forward mode, as jvp, jacfwd and hessian ask for: use "
    '`odeint`, in a NeuralODE adjoint="direct", or jacrev'
)
NO_SECOND_DERIVATIVE = (
    "a gradient from an adjoint can not be differentiated again; use `odeint`, or in a NeuralODE "
    'adjoint="direct", where explicit steps can be differentiated any number of times'
)


def transformed(
    make: Callable[..., Any],
    gradients: Callable[..., Any],
    func: Any,
    y0: Any,
    t: Tensor,
    adjoint_params: Iterable[Tensor] | None,
) -> Any:
    """Solve with an adjoint under torch.func.

    Parameters
    ----------
    make : callable
        `make(func, y0, t, parameters)` gives the adjoint for plain tensors.
    gradients : callable
        `gradients(adjoint, saved, y_grad, asked)` gives what it finds; `asked` tells of y0 and of
        each parameter whether its gradient is needed.
    func, y0, t, adjoint_params
        As for `odeint_adjoint`.

    Raises
    ------
    ValueError
        If `func` is no Module, unless it has no parameters; or if it uses a tensor that is
        differentiated and that is not the module's.

    Notes
    -----
    Parameters and buffers of `func` are arguments of the solve. Under torch.func.vmap the samples
    are solved one after another, each with steps of its own.
    """
    if not isinstance(func, nn.Module) and (adjoint_params is None or tuple(adjoint_params)):
        raise ValueError(
            "under torch.func the parameters of an adjoint are those of a Module: make `func` a "
            "Module, or give `adjoint_params=()` if it has none"
        )
    check_function(func)
    require_times(t)
    layout = layout_of(y0)
    vector = layout.vector(y0)
    field = as_field(func, vector, layout=layout)
    named = tensors_of(func) if isinstance(func, nn.Module) else {}
    give_shapes(func)
    if len(t) == 1:
        return layout.state(only_output(vector, t))
    times = torch.tensor(read_times(t), dtype=torch.float64, device="cpu")
    wanted = [_is_differentiated(x) for x in named.values()]

    def bound(tensors: Iterable[Tensor]) -> _Bound:
        return _Bound(func, dict(zip(named, tensors, strict=True)))

    def solver(y0: Tensor, tensors: Sequence[Tensor]) -> Any:
        leaves = [x.detach() for x in tensors]
        parameters = [x.requires_grad_() for x in compress(leaves, wanted)]
        return make(bound(leaves), layout.state(y0.detach()), times, parameters)

    constant = bound(x.detach() for x in named.values())
    with cached_apart():
        _refuse_lost(as_field(constant, vector, layout=layout)(t[0].detach(), vector.detach()))
    start = shifted_start(vector, t, field)
    y = _Forward.apply(_Solve(solver, gradients, wanted), start, *named.values())
    return layout.state(shifted_outputs(y, vector, t, field))


class _Bound:
    """A function with its module's tensors in place; the rest is that of the function."""

    def __init__(self, func: Any, tensors: dict[str, Tensor]) -> None:
        self.func, self.tensors = func, tensors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.func, name)

    def __call__(self, t: Tensor, y: Any) -> Any:
        """Evaluate."""
        if not self.tensors:
            return self.func(t, y)
        return torch.func.functional_call(self.func, self.tensors, (t, y), tie_weights=False)


class _Solve:
    """A solve to be made, or one that was made; of a batch, its parts.

    `wanted` says which tensors are differentiated: others, as the statistics of a BatchNorm, may
    not even be.
    """

    def __init__(self, solver: Any, gradients: Any, wanted: Sequence[bool]) -> None:
        self.solver, self.gradients, self.wanted = solver, gradients, wanted
        self.parts: list[_Solve] = []

    def run(self, y0: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Solve forward."""
        self.adjoint = self.solver(y0, tensors)
        setting = self.adjoint.setting
        with setting.forward_pass(), setting.problem.autocast.suspended():
            y, *self.saved = self.adjoint.record(y0)
            self.adjoint.warn_of_trajectory([x.detach() for x in self.saved])
        return y.clone()

    def pull(self, y_grad: Tensor, asked: Sequence[bool]) -> tuple[Tensor, ...]:
        """Solve backward."""
        found = self.gradients(self.adjoint, self.saved, y_grad, asked)
        return found.y0, *found.parameters


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(solve: _Solve, y0: Tensor, *tensors: Tensor) -> Tensor:
        return solve.run(y0, tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.solve = inputs[0]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor) -> tuple[Tensor | None, ...]:
        _, y0_asked, *needed = ctx.needs_input_grad
        asked = y0_asked, *compress(needed, ctx.solve.wanted)
        y0_grad, *rest = _Backward.apply(ctx.solve, asked, y_grad, *ctx.saved_tensors)
        found = iter(rest)
        return None, y0_grad, *(next(found) if wanted else None for wanted in ctx.solve.wanted)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Tensor:
        raise NotImplementedError(NO_FORWARD_MODE)

    @staticmethod
    def vmap(info: Any, in_dims: Any, solve: _Solve, *tensors: Tensor) -> tuple[Tensor, int]:
        solve.parts = [
            _Solve(solve.solver, solve.gradients, solve.wanted) for _ in range(info.batch_size)
        ]
        samples = [
            _Forward.apply(part, *_sample(k, tensors, in_dims[1:]))
            for k, part in enumerate(solve.parts)
        ]
        return torch.stack(samples), 0


class _Backward(torch.autograd.Function):
    """From dL/dy; y itself tells whether the solve was one of a batch."""

    @staticmethod
    def forward(
        solve: _Solve, asked: Sequence[bool], y_grad: Tensor, y: Tensor
    ) -> tuple[Tensor, ...]:
        return solve.pull(y_grad, asked)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, ...]:
        raise RuntimeError(NO_SECOND_DERIVATIVE)

    @staticmethod
    def vmap(
        info: Any, in_dims: Any, solve: _Solve, asked: Sequence[bool], *tensors: Tensor
    ) -> tuple[Any, Any]:
        *_, of_y = in_dims
        parts = [solve] * info.batch_size if of_y is None else solve.parts
        samples = [
            _Backward.apply(part, asked, *_sample(k, tensors, in_dims[2:]))
            for k, part in enumerate(parts)
        ]
        found = tuple(map(torch.stack, zip(*samples, strict=True)))
        return found, (0,) * len(found)


def _sample(k: int, tensors: Sequence[Tensor], dims: Sequence[int | None]) -> list[Tensor]:
    pairs = zip(tensors, dims, strict=True)
    return [x if dim is None else x.select(dim, k) for x, dim in pairs]


def _refuse_lost(value: Tensor) -> None:
    """Raise ValueError if a value of func at constants is differentiated."""
    if _is_differentiated(value):
        raise ValueError(
            "under torch.func, `func` must be a Module that holds all tensors that it uses as "
            "parameters or buffers; it uses another, whose gradient would be lost"
        )


def _is_differentiated(x: Tensor) -> bool:
    """Whether a tensor is differentiated backward at any level of the transformations."""
    while not x.requires_grad:
        if not torch._C._functorch.is_functorch_wrapped_tensor(x):
            return False
        x = torch._C._functorch.get_unwrapped(x)
    return True
