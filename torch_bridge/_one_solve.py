"""The scope of one solve: what is computed once in it, and what is recorded until its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor

from torch_bridge._kinds import require_flags

__all__ = ["current_solve", "in_own_program", "one_solve", "own_program", "untraced"]

MOST = 64  # evaluations whose statistics are kept one by one

_thread = threading.local()

#: Decorator of functions at which `torch.compile` breaks its graph and runs them as they are: a
#: solve evaluates as often as its values ask for, at times that are other numbers at each call.
untraced = torch.compiler.disable(
    reason="a solve is a loop that values steer; leave fullgraph=True out, and compile the solve "
    "by `compile=True`, or the right-hand side by itself"
)


class one_solve:  # noqa: N801  a context manager, as torch.no_grad
    """Context in which all evaluations of a right-hand side belong to one solve.

    In it `weight_normalization` computes a weight once, and `TimeBatchNorm` collects the statistics
    of its evaluations and moves its own once, at the end. `odeint`, `odeint_adjoint` and their
    relatives enter it themselves; a solver of one's own is put into it. Inside of another one it
    joins that. After an error nothing is recorded.

    Parameters
    ----------
    records : bool, optional
        With False this is an evaluation beside the solves, which leaves all state as it is.

    Examples
    --------
    >>> import torch
    >>> from torch_bridge import TimeBatchNorm
    >>> norm, y = TimeBatchNorm(3, intervals=2), torch.randn(10, 3)
    >>> with one_solve():
    ...     for k in range(4):
    ...         y = y - 0.25 * norm(torch.tensor(k / 4), y)
    >>> int(norm.num_batches_tracked)
    1
    """

    def __init__(self, *, records: bool = True) -> None:
        require_flags(records=records)
        self.records, self.running = records, False
        self.computed: dict[Any, Any] = {}
        self.recorded: dict[int, tuple[Any, list[Any]]] = {}

    @torch.compiler.disable  # whose graphs would not see the thread's solve
    def __enter__(self) -> Self:
        if self.running:
            raise RuntimeError("this `one_solve` is entered already; make another one")
        self.running = True
        self.outer = current_solve()
        self.joins = self.outer is not None and self.records
        if not self.joins:
            _thread.solve = self
        return self

    @torch.compiler.disable
    def __exit__(self, kind: Any, *_: object) -> None:
        self.running = False
        if self.joins:
            return
        _thread.solve = self.outer
        recorded = list(self.recorded.values())
        self.computed, self.recorded = {}, {}
        for layer, found in recorded if kind is None else ():
            layer.move_statistics(found)

    def once(
        self, owner: Any, tensors: tuple[Tensor, ...], compute: Callable[[], Tensor]
    ) -> Tensor:
        """What `compute()` gives, again only if the `tensors` of the `owner` changed."""
        versions = tuple(0 if x.is_inference() else x._version for x in tensors)
        key = (id(owner), torch.is_grad_enabled(), versions, *map(id, tensors))
        if key not in self.computed:
            self.computed[key] = compute(), owner, tensors  # kept, so that no id comes again
        value: Tensor = self.computed[key][0]
        return value

    def record(self, layer: Any, found: Any) -> None:
        """Keep what was `found` for `layer.move_statistics` at the end; the list stays short."""
        if not self.records:
            return
        kept = self.recorded.setdefault(id(layer), (layer, []))[1]
        kept.append(found)
        if len(kept) == MOST:
            kept[:] = [layer.joined(kept)]


def current_solve() -> one_solve | None:
    """The solve that is running in this thread."""
    found: one_solve | None = getattr(_thread, "solve", None)
    return found


@contextmanager
def own_program() -> Iterator[None]:
    """Context in which a program of this library runs, or is traced: one part of a solve."""
    outer = in_own_program()
    _thread.own_program = True
    try:
        yield
    finally:
        _thread.own_program = outer


def in_own_program() -> bool:
    """Whether one of this library runs in this thread; compilers watch the answer."""
    return getattr(_thread, "own_program", False)
