"""Batches of samples as a loader gives them, of torch or of another library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from torch_bridge._evaluation import require_values

__all__ = ["batches_of", "tensor_of"]


def batches_of(
    loader: Iterable[Any], model: Any, progress: bool | Callable[[float], None]
) -> Iterator[tuple[Any, Any]]:
    """Inputs and labels, or None: for a Module tensors on its device, else NumPy's arrays too.

    Raises
    ------
    TypeError
        For one batch in place of a loader, a Dataset, batches of which some have labels, inputs
        that are no arrays, and a `progress` that is none.
    ValueError
        For a model or a batch on the meta device.
    """
    _require_batches(loader)
    if not (isinstance(progress, bool | np.bool_) or callable(progress)):
        raise TypeError(f"`progress` must be True, False or callable, got {progress!r}")
    module = isinstance(model, nn.Module)
    device = next((p.device for p in model.parameters()), None) if module else None
    try:
        count = len(loader)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):  # as of a DataLoader of an iterable
        count = 0
    shown, labelled = loader, None
    if progress is True:
        from tqdm.auto import tqdm

        shown = tqdm(loader, desc="solver consistency")
    for k, batch in enumerate(shown):
        x, y = (*batch, None)[:2] if isinstance(batch, tuple | list) else (batch, None)
        require_values(model, x, y)
        if not isinstance(x, Tensor):
            if not hasattr(x, "__array__"):
                raise TypeError(f"batches must be arrays or pairs (x, y), got {type(x).__name__}")
            x = np.array(x)
            x = torch.from_numpy(x) if module else x
        if len(x):
            if labelled not in (None, y is not None):
                raise TypeError(
                    f"batch {k} has {'no' if labelled else ''} labels, unlike those before: give "
                    "all batches as pairs (x, y), or none".replace("  ", " ")
                )
            labelled = y is not None
            yield x.to(device) if isinstance(x, Tensor) else x, y
        if callable(progress):
            progress((k + 1) / count if count else k + 1)


def tensor_of(array: Any) -> Any:
    """The array of any library as a tensor; what is none as it is."""
    if isinstance(array, Tensor) or not hasattr(array, "__array__"):
        return array
    return torch.from_numpy(np.array(array))


def _require_batches(loader: Any) -> None:
    """Refuse what iterates over samples, or over the inputs and labels of one batch, or not."""
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise TypeError(f"`loader` must give batches, got {loader!r}: give a list, or a DataLoader")
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        raise TypeError(
            f"`loader` must give batches, a {type(loader).__name__} gives samples: give "
            "DataLoader(dataset, batch_size=256)"
        )
    one = hasattr(loader, "__array__")
    if not one and isinstance(loader, tuple | list) and len(loader) == 2:
        arrays = [tensor_of(part) for part in loader]
        if all(isinstance(array, Tensor) for array in arrays):
            x, y = arrays
            one = isinstance(loader, tuple) or (x.is_floating_point() and not y.is_floating_point())
    if one:
        raise TypeError(
            f"`loader` must give batches, got one batch, a {type(loader).__name__}: give [(x, y)], "
            "or [x] without labels"
        )
