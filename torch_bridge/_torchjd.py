"""The equiangular direction as an aggregator of TorchJD, where that is installed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from odecore.directions import equiangular_weights
from torch_bridge._objectives import OnZero, Scaling

__all__ = ["EDM", "EDMWeighting"]


def EDMWeighting(*, scaling: Scaling = "harmonic", on_zero: OnZero = "stop") -> Any:
    """A `torchjd.aggregation.Weighting`: from a Gramian to equiangular weights.

    Parameters
    ----------
    scaling, on_zero : str, optional
        As for `odecore.directions.equiangular_weights`.

    Returns
    -------
    torchjd.aggregation.Weighting

    Raises
    ------
    ImportError
        If torchjd is not installed.
    ValueError
        For another value of `scaling` or `on_zero`.

    Notes
    -----
    Written for TorchJD 0.18. Weights have the dtype and device of the Gramian and no history. A
    Gramian in float32 limits the angles to about 1e-3 and the gradients to norms above 1e-19;
    `EDM` forms it in float64, in which it also combines the rows.
    """
    return _made(0, scaling, on_zero)


def EDM(*, scaling: Scaling = "harmonic", on_zero: OnZero = "stop") -> Any:
    """A `torchjd.aggregation.Aggregator`: from a Jacobian to its equiangular direction.

    Parameters
    ----------
    scaling, on_zero : str, optional
        As for `odecore.directions.equiangular_weights`.

    Returns
    -------
    torchjd.aggregation.GramianWeightedAggregator
        For `mtl_backward`, `jac_to_grad` and calls on a Jacobian, which must hold real
        floating-point numbers: TypeError.

    Raises
    ------
    ImportError
        If torchjd is not installed.
    ValueError
        For another value of `scaling` or `on_zero`.
    """
    return _made(1, scaling, on_zero)


def _made(kind: int, scaling: Any, on_zero: Any) -> Any:
    """What pickle and copy call: no module holds the classes."""
    return _classes()[kind](scaling, on_zero)


def _require_real_floating(matrix: Tensor, name: str) -> None:
    if matrix.is_complex():
        raise TypeError(
            f"the {name} must be real, got {matrix.dtype}: give the Jacobian's real and imaginary "
            "parts side by side, or use `torch_bridge.equiangular_backward`"
        )
    if not matrix.is_floating_point():
        raise TypeError(
            f"the {name} must hold floating-point numbers, got {matrix.dtype}, to which weights "
            "would be rounded: convert it first"
        )


@lru_cache(maxsize=1)
def _classes() -> tuple[type, type]:
    """Weighting and aggregator; their bases are looked up when they are first wanted."""
    try:
        from torchjd.aggregation import GramianWeightedAggregator, Weighting
    except ImportError as error:
        raise ImportError(
            "TorchJD's aggregators need the package torchjd, which can not be imported; install "
            "it, or use `torch_bridge.equiangular_backward`, which does not need it"
        ) from error

    class EDMWeighting(Weighting):
        """Equiangular weights from a Gramian."""

        def __init__(self, scaling: Any, on_zero: Any) -> None:
            super().__init__()
            equiangular_weights([[1.0]], scaling=scaling, on_zero=on_zero)  # refuses other values
            self.scaling, self.on_zero = scaling, on_zero

        @torch.no_grad()
        def forward(self, gramian: Tensor, /) -> Tensor:
            _require_real_floating(gramian, "Gramian")
            found = equiangular_weights(gramian, scaling=self.scaling, on_zero=self.on_zero)
            return torch.as_tensor(found.weights, dtype=gramian.dtype, device=gramian.device)

        def __repr__(self) -> str:
            return f"EDMWeighting(scaling={self.scaling!r}, on_zero={self.on_zero!r})"

        def __reduce__(self) -> tuple[Any, ...]:
            return _made, (0, self.scaling, self.on_zero), self.__dict__

    class EDM(GramianWeightedAggregator):
        """The equiangular direction of a Jacobian."""

        def __init__(self, scaling: Any, on_zero: Any) -> None:
            super().__init__(EDMWeighting(scaling, on_zero))

        def forward(self, matrix: Tensor, /) -> Tensor:
            _require_real_floating(matrix, "Jacobian")
            wide = matrix.to(torch.float64)
            gramian = wide.detach() @ wide.detach().mT
            return (self.gramian_weighting(gramian) @ wide).to(matrix.dtype)

        def __repr__(self) -> str:
            return repr(self.gramian_weighting).replace("EDMWeighting", "EDM", 1)

        def __reduce__(self) -> tuple[Any, ...]:
            weighting = self.gramian_weighting
            return _made, (1, weighting.scaling, weighting.on_zero), self.__dict__

    return EDMWeighting, EDM
