"""One training step of a model, watched: what each layer reads, what it keeps, what it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torch_bridge._counted_rows import counted
from torch_bridge._evaluation import untouched_gradients, untouched_randomness
from torch_bridge._leaves import reached
from torch_bridge._right_hand_side_state import KeptBuffers, keep_attributes
from torch_bridge._saved import SavedStorages, storage_of
from torch_bridge._sketched_product import as_rows, rows_in

__all__ = ["Call", "Step", "stride_of", "watched_step"]


@dataclass
class Call:
    """One call of a layer in the forward pass.

    Parameters
    ----------
    layer : str
    module : Module
    input : Tensor
        The very object that the layer got.
    kept, casts : list of int
        Addresses of the storages that the layer saved: of its input, and of its weight in another
        precision.
    dtype : torch.dtype
        Of the product.
    inside : (n,) Tensor, optional
        Indices of the rows that count, if not all do.
    output_grad : Tensor, optional
        The gradient of the loss by the output.
    recorded : bool
        Whether autograd recorded the call.
    """

    layer: str
    module: nn.Module
    input: Tensor
    kept: list[int] = field(default_factory=list)
    casts: list[int] = field(default_factory=list)
    dtype: torch.dtype = torch.float32
    inside: Tensor | None = None
    output_grad: Tensor | None = None
    recorded: bool = False

    @property
    def leading(self) -> tuple[int, ...]:
        """The shape of the rows, those that do not count included."""
        return rows_in(self.input, stride_of(self.module))

    def rows(self) -> tuple[Tensor, Tensor]:
        """X (B, N) and Y (B, M) of the rows that count, in float32 at least."""
        stride = stride_of(self.module)
        both = (self.input, stride), (self.output_grad, stride and (1, 1))
        found = [as_rows(x.detach(), s) for x, s in both]
        if self.inside is not None:
            found = [x.index_select(0, self.inside) for x in found]
        X, Y = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in found)
        return X, Y


class Step(NamedTuple):
    """What a step showed: calls in order, bytes of each storage, and those saved elsewhere."""

    calls: list[Call]
    sizes: dict[int, int]
    elsewhere: set[int]


def watched_step(
    model: nn.Module, layers: dict[str, nn.Module], run: Callable[[], Tensor], batch: Any
) -> Step:
    """Run a forward and a backward pass, and leave the model as it was.

    Gradients, also of other leaves, buffers, attributes, modes and torch's random numbers are put
    back; what hooks of the backward pass do, such as optimizers that step there, is not.
    """
    watch = _Watch()
    if torch.is_inference_mode_enabled():
        raise RuntimeError("a step with gradients can not run in inference mode: plan outside")
    besides = [*model.parameters(), *model.buffers(), *tensors_in(batch)]
    with ExitStack() as stack:
        stack.enter_context(_undone(model))
        for name, layer in layers.items():
            for handle in watch.attach(name, layer):
                stack.callback(handle.remove)
        with torch.enable_grad():
            with SavedStorages(besides, watch.saved) as saved:
                loss = run()
            watch.calls_end = True
            if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
                raise ValueError(
                    "the step must end in one loss with a gradient, got "
                    f"{_shown(loss)}; give `loss`, from the output and the batch to the loss"
                )
            with untouched_gradients(reached(loss).values()):
                loss.backward()
    sizes = {address: x.untyped_storage().nbytes() for address, x in saved.kept.items()}
    return Step(watch.calls, sizes, watch.elsewhere)


def tensors_in(batch: Any) -> list[Tensor]:
    """All tensors in a nest of sequences and mappings."""
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if not isinstance(batch, list | tuple):
        return []
    return [x for part in batch for x in tensors_in(part)]


@dataclass
class _Watch:
    calls: list[Call] = field(default_factory=list)
    elsewhere: set[int] = field(default_factory=set)
    running: list[Call] = field(default_factory=list)
    calls_end: bool = False

    def attach(self, name: str, layer: nn.Module) -> Iterator[Any]:
        def before(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            if self.calls_end:  # a checkpoint runs layers again
                return
            call = Call(name, module, inputs[0] if inputs else named["input"])
            call.inside = counted(call.leading)
            self.running.append(call)

        def after(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if self.calls_end:
                return
            call = self.running.pop()
            call.dtype, call.recorded = output.dtype, output.requires_grad
            self.calls.append(call)
            if call.recorded:
                output.register_hook(lambda g: setattr(call, "output_grad", g.detach()))

        yield layer.register_forward_pre_hook(before, with_kwargs=True)
        # Before the user's own hooks, which may save more or change the output.
        yield layer.register_forward_hook(after, prepend=True)

    def saved(self, x: Tensor) -> None:
        address = storage_of(x)
        if not self.running:
            self.elsewhere.add(address)
            return
        call = self.running[-1]
        (call.casts if _is_cast(x, call.module.weight) else call.kept).append(address)


def _is_cast(x: Tensor, weight: Tensor) -> bool:
    """Whether this is the weight in another precision, which a sketched layer saves as well."""
    cast = weight.detach().to(x.dtype)
    ways = (x, x.mT) if x.ndim > 1 else (x,)
    return any(one.shape == cast.shape and torch.equal(one, cast) for one in ways)


def stride_of(layer: nn.Module) -> tuple[int, ...] | None:
    """The stride of a convolution, None for a linear layer."""
    return tuple(layer.stride) if isinstance(layer, nn.Conv2d) else None


def _shown(loss: Any) -> str:
    if not isinstance(loss, Tensor):
        return type(loss).__name__
    return f"a tensor of shape {tuple(loss.shape)}, requires_grad={loss.requires_grad}"


@contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    """Train mode for now, if the model is not; afterwards all is as before."""
    modes = {module: module.training for module in model.modules()}
    named = dict(model.named_modules())
    buffers, put_back = KeptBuffers(named), keep_attributes(named)
    with untouched_randomness(), untouched_gradients(model.parameters()):
        try:
            if not model.training:
                model.train()
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            buffers.put_back()
            put_back()
