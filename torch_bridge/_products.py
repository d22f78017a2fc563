"""Linearizations of a torch field, which lose no gradient in silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from odecore.adjoint import Pull, node_by_node
from torch_bridge._hooks import hooks_suspended
from torch_bridge._leaves import reached
from torch_bridge._saved import SavedStorages

__all__ = ["Products", "left_vmap", "serves_once"]

Field = Callable[[Any, Any], Any]


class Products:
    """Linearizations of a field by autograd, looking for gradients that would be lost.

    Parameters
    ----------
    field : callable
    parameters : sequence of Tensor
        All that need a gradient.
    traced : callable, optional
        Makes the field that torch.vmap may trace; without it nodes are taken one by one.
    looks_always : bool, optional
        Whether to look at each point, and not at the first one and at nodes only; it does so
        without parameters, for whose sake there are nodes.
    modules : sequence of Module, optional
        Those whose attributes the field may set, which torch.vmap would leave unusable.
    """

    def __init__(
        self,
        field: Field,
        parameters: Sequence[Tensor],
        traced: Callable[[], Field] | None = None,
        *,
        looks_always: bool = False,
        modules: Sequence[nn.Module] = (),
    ) -> None:
        self.field, self.traced = field, traced
        self.tensors, self.modules = tuple(parameters), modules
        self.looks_always = looks_always or not self.tensors
        self.checked = False
        self.unlisted: dict[int, Tensor] = {}
        self.donates = False  # what autograd keeps of an evaluation, so that it serves once

    def point(self, t: Any, y: Tensor) -> tuple[Tensor, Pull]:
        """The field linearized at a point."""
        y = y.detach().requires_grad_()

        def evaluate() -> Tensor:
            with torch.enable_grad():
                return self.field(t, y)

        value = evaluate()
        if self.looks_always or not self.checked:
            self._refuse_unlisted(evaluate, value, t, y)
            self.checked = True
        return value.detach(), self._pull(evaluate, value, y)

    def nodes(self, t: Tensor, y: Tensor) -> tuple[Tensor, Pull]:
        """The field linearized at times (m,) and states (m, ...), in one evaluation if possible."""
        found = self.mapped(t, y)
        if found is None:
            return self._one_by_one(t, y)
        return found[0], self._pull_of_nodes(found[1], t, y)

    def mapped(self, t: Tensor, y: Tensor) -> tuple[Tensor, Pull] | None:
        """The same in one evaluation, or None; where the pull misses torch.vmap, it raises."""
        traced = self.traced
        if traced is None:
            return None

        def at_node(t: Tensor, y: Tensor) -> Tensor:
            value: Tensor = traced()(t, y)  # made here, where it sees that it is traced
            return value

        def evaluate() -> Tensor:
            with torch.enable_grad():
                return torch.func.vmap(at_node)(t, y)

        before = [(module, dict(vars(module)), dict(module._buffers)) for module in self.modules]
        y = y.detach().requires_grad_()
        try:
            value = evaluate()
            possible = not _restored(before)
        except Exception:
            # What torch.vmap can not do: in-place changes of buffers, branches on values; and
            # random numbers, for a function that seeds them has one mask, not one a node. If it
            # is the field's own error, it will come again.
            _restored(before)
            possible = False
        if not possible:
            self.traced = None
            return None
        if _unlisted(value, (y, *self.tensors)):
            self.look(t[0], y[0])
        return value.detach(), self._pull(evaluate, value, y)

    def look(self, t: Any, y: Tensor) -> None:
        """Look for gradients that would be lost."""
        self.checked = False
        self.point(t, y)

    def bytes_saved(self, t: Any, y: Tensor) -> float:
        """What autograd keeps of one evaluation of the field, in bytes; infinite if unknown."""
        try:
            with torch.enable_grad(), SavedStorages(self.tensors) as saved:
                # A copy: the storage of a node's state is that of all nodes.
                self.field(t, y.detach().clone().requires_grad_())
        except RuntimeError:  # torch.func inside of the field takes no hooks around it
            return inf
        return saved.bytes

    def _one_by_one(self, t: Tensor, y: Tensor) -> tuple[Tensor, Pull]:
        self.looks_always = True
        found: tuple[Tensor, Pull] = node_by_node(self.point)(t, y.detach())
        return found

    def _pull_of_nodes(self, at_once: Pull, t: Tensor, y: Tensor) -> Pull:
        """The pull of all nodes at once, or one by one from where torch.vmap is missed.

        A checkpoint inside of the field repeats it in the pull, where torch.vmap has ended.
        """
        pulls = [at_once]

        def pull(a: Tensor, parameters: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
            try:
                return pulls[-1](a, parameters)
            except RuntimeError as error:
                if len(pulls) > 1 or not left_vmap(error):
                    raise
            self.traced = None
            pulls.append(self._one_by_one(t, y)[1])
            return pulls[-1](a, parameters)

        return pull

    def _pull(self, evaluate: Callable[[], Tensor], value: Tensor, y: Tensor) -> Pull:
        whole = [value]

        def pulled(inputs: tuple[Tensor, ...], a: Tensor) -> tuple[Tensor, ...]:
            if not self.donates:
                try:
                    return _pull_back(value, inputs, a, again=True)
                except RuntimeError as error:  # which leaves the graph whole
                    if not serves_once(error):
                        raise
                    self.donates = True
            return _pull_back(whole.pop() if whole else evaluate(), inputs, a, again=False)

        def pull(a: Tensor, parameters: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
            state, *rest = pulled((y, *self.tensors) if parameters else (y,), a)
            return state, tuple(rest)

        return pull

    def _refuse_unlisted(
        self, evaluate: Callable[[], Tensor], value: Tensor, t: Any, y: Tensor
    ) -> None:
        """Raise ValueError if the value depends on a leaf that would silently get no gradient.

        Leaves that `func` makes itself, to differentiate inside, are others at each call, or t.
        """
        listed = (y, *self.tensors, *([t] if isinstance(t, Tensor) else []))
        found = _unlisted(value, listed)
        before = self.unlisted
        if len(found) > len(before):
            before = _unlisted(evaluate(), listed)
        lost = [leaf for key, leaf in found.items() if key in before]
        if lost:
            raise ValueError(
                f"`func` uses a tensor of shape {tuple(lost[0].shape)} that requires a gradient "
                "and is not among `adjoint_params`, so its gradient would be lost; add it, or "
                "detach it"
            )
        self.unlisted = found


def _restored(before: Sequence[tuple[nn.Module, dict[str, Any], dict[str, Any]]]) -> bool:
    """Put back attributes that hold what only torch.vmap may see; whether there were any."""
    found = False
    for module, *known in before:
        for now, then in zip((vars(module), module._buffers), known, strict=True):
            for name, x in list(now.items()):
                if isinstance(x, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(x):
                    found = True
                    if name in then:
                        now[name] = then[name]
                    else:
                        del now[name]
    return found


def _pull_back(
    value: Tensor, inputs: tuple[Tensor, ...], a: Tensor, *, again: bool
) -> tuple[Tensor, ...]:
    """To a state, the first, and to parameters, whose hooks are for their gradient."""
    if not value.requires_grad:
        return tuple(map(torch.zeros_like, inputs))
    with hooks_suspended(inputs[1:]):
        return torch.autograd.grad(value, inputs, a, retain_graph=again, materialize_grads=True)


def left_vmap(error: RuntimeError) -> bool:
    """Whether tensors of torch.vmap met an operation after its end; torch has no type for it."""
    return "vmap" in str(error) or "functorch" in str(error)


def serves_once(error: RuntimeError) -> bool:
    """Whether a graph was not kept because `torch.compile` made its backward function for one use.

    It does if the first backward pass through that function keeps no graph.
    """
    return "donated buffers" in str(error)


def _unlisted(value: Tensor, listed: Sequence[Tensor]) -> dict[int, Tensor]:
    """The leaves that a value depends on besides those listed."""
    found = reached(value, {(x.grad_fn, x.output_nr) for x in listed if x.grad_fn is not None})
    for x in listed:
        found.pop(id(x), None)
    return found
