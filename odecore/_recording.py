"""Whether derivatives of an array are recorded, which are lost where its values are read."""

from __future__ import annotations

from typing import Any

from odecore._array import is_torch_array, namespace, tracks

__all__ = ["has_tangent", "records"]


def has_tangent(array: Any, /) -> bool:
    """Whether this is a dual number of torch's forward mode; jax does not let them be read."""
    if not is_torch_array(array):
        return False
    return namespace(array).autograd.forward_ad.unpack_dual(array).tangent is not None


def records(array: Any, /) -> bool:
    """Whether what is made of an array has derivatives by it, backward (not under
    `torch.no_grad`, where a tracked one has none) or forward.
    """
    return (tracks(array) and tracks(-array)) or has_tangent(array)
