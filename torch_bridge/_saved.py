"""What autograd keeps for a backward pass: storages, each counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from torch_bridge._dense_parts import dense_parts
from torch_bridge._kinds import require_callable
from torch_bridge._listed import listed_tensors

__all__ = ["SavedStorages", "saved_bytes", "storage_of"]


class SavedStorages(torch.autograd.graph.saved_tensors_hooks):
    """The storages that are saved while this context is entered, those of some tensors left out.

    Parameters
    ----------
    besides : iterable of Tensor
        What exists anyway, such as parameters and the batch.
    seen : callable, optional
        Called with each tensor that is saved and does not belong to these; of sparse and nested
        ones with their parts.
    """

    def __init__(
        self, besides: Iterable[Tensor] = (), seen: Callable[[Tensor], Any] | None = None
    ) -> None:
        known = {storage_of(part) for x in besides for part in dense_parts(x)}
        # The tensors are held: a storage that is freed may lend its address to the next.
        kept: dict[int, Tensor] = {}
        self.kept = kept

        def pack(x: Tensor) -> Tensor:
            # Without its history, which holds this function: all would live on in a cycle.
            x = x.detach()
            for part in dense_parts(x):
                address = storage_of(part)
                if address not in known:
                    kept.setdefault(address, part)
                    if seen is not None:
                        seen(part)
            return x

        super().__init__(pack, lambda x: x)

    def __enter__(self) -> SavedStorages:
        super().__enter__()
        return self

    @property
    def bytes(self) -> int:
        """Of all storages together."""
        return sum(x.untyped_storage().nbytes() for x in self.kept.values())


def storage_of(x: Tensor) -> int:
    """The address of a storage, not of its data, which fake and meta tensors do not have."""
    return int(x.untyped_storage()._cdata)


def saved_bytes(forward: Callable[[], Any], /, besides: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd keeps of a forward pass for the backward pass.

    Parameters
    ----------
    forward : callable
        Runs the forward pass, under whatever context it needs.
    besides : iterable of Tensor, optional
        What exists anyway and does not count: pass the parameters and the batch.

    Returns
    -------
    int
        Each storage is counted once and whole, as often as views of it may be saved. What autograd
        formulas keep outside of saved tensors is not seen, nor is what a checkpoint leaves out.

    Examples
    --------
    >>> import torch
    >>> layer, x = torch.nn.Linear(8, 4), torch.randn(100, 8)
    >>> saved_bytes(lambda: layer(x), besides=layer.parameters())
    3200
    """
    require_callable("forward", forward, "forward()", 0)
    with SavedStorages(listed_tensors(besides, "besides")) as saved:
        result = forward()
    del result
    return saved.bytes
