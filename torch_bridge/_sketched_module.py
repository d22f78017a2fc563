"""What sketched layers have in common: their options, what they share, and what they report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_bridge._kinds import require_flags
from torch_bridge._noise_report import NoiseMeter, NoiseReport
from torch_bridge._row_sketch import RowSketch, require_options
from torch_bridge._shared_sketch import SharedSketch
from torch_bridge._sketched_product import require_rows_of

__all__ = ["SketchedModule", "share_sketch"]


class SketchedModule:
    """Options of a layer that sketches its input; mixed into a torch Module, whose state it leaves.

    All of it stays in attributes outside of parameters and buffers, so that a Module may become
    sketched, and plain again, in place.
    """

    def sketching(
        self,
        ratio: float,
        sketch: str = "uniform",
        centred: bool = False,
        storage: torch.dtype | None = None,
        report: bool = False,
    ) -> None:
        """Set the options, `ratio`, `sketch`, `centred`, `storage` and `report`."""
        require_flags(centred=centred, report=report)
        require_options(ratio, sketch, storage, report)
        # A compiler takes a float attribute for a variable; the size of a sketch is a constant.
        self._ratio = repr(float(ratio))
        self.sketch, self.centred, self.storage = sketch, bool(centred), storage
        self.meter = NoiseMeter() if report else None
        self.shared: SharedSketch | None = None

    @property
    def ratio(self) -> float:
        """The share of rows that is kept; may be set at any time."""
        return float(self._ratio)

    @ratio.setter
    def ratio(self, ratio: float) -> None:
        require_options(ratio, self.sketch)
        self._ratio = repr(float(ratio))

    def options(self) -> dict[str, Any]:
        """What `sketched_linear` takes."""
        require_options(self.ratio, self.sketch, self.storage, self.meter is not None)
        return {
            "ratio": self.ratio,
            "sketch": self.sketch,
            "centred": self.centred,
            "storage": self.storage,
            "measured": self.meter is not None,
        }

    def rows_for(
        self,
        input: Tensor,
        given: RowSketch | None,
        make: Callable[[], RowSketch],
        stride: tuple[int, ...] | None = None,
    ) -> RowSketch:
        """The sketch of an `input`: one that is `given`, or what the layer or its group makes.

        By `make()`; a group shares it for one `stride`.
        """
        if given is not None:
            if self.meter is None:
                require_rows_of(given, input, stride)
                return given
            raise ValueError(
                "the noise of `rows` that were made elsewhere is not measured: call share_sketch "
                "for layers that read one tensor, or set report=False"
            )
        if self.shared is None:
            return make()
        autocast = torch.is_autocast_enabled(input.device.type)
        return self.shared.of(input, self, (autocast, stride, self.options()), make)

    def noise_report(self, *, reset: bool = False) -> NoiseReport:
        """What was measured since the layer was made or reset.

        Parameters
        ----------
        reset : bool, optional
            Whether to start again afterwards.

        Raises
        ------
        RuntimeError
            If the layer has `report=False`, or before its first backward pass.
        """
        if self.meter is None:
            raise RuntimeError("this layer measures no noise: make it with report=True")
        require_flags(reset=reset)
        found = self.meter.report()
        if reset:
            self.meter = NoiseMeter()
        return found

    def extra_repr(self) -> str:
        """Show the sketch beside the sizes."""
        shown = f"{super().extra_repr()}, ratio={self.ratio}, sketch={self.sketch!r}"  # type: ignore[misc]
        if self.centred:
            shown += ", centred=True"
        if self.storage is not None:
            shown += f", storage={self.storage}"
        return shown


def share_sketch(*layers: SketchedModule) -> None:
    """Let layers that read the same tensor keep one sketch of it together.

    Parameters
    ----------
    *layers : SketchedLinear or SketchedConv2d
        Of equal options. The first that runs draws; the others, if they get that very tensor, keep
        what it kept. With another tensor, under torch.func and in compiled regions, each draws for
        itself.

    Raises
    ------
    TypeError
        If something else is given.
    ValueError
        If their options differ, so that they could never share.

    Notes
    -----
    Queries, keys and values then keep one sketch in place of three, which at ratio 0.5 would be
    more than the one input that three exact layers share. Their weight gradients are each unbiased
    as before, but their errors are not independent.

    Examples
    --------
    >>> from torch_bridge import SketchedLinear
    >>> q, k, v = (SketchedLinear(8, 8, ratio=0.2) for _ in range(3))
    >>> share_sketch(q, k, v)
    """
    for layer in layers:
        if not isinstance(layer, SketchedModule):
            raise TypeError(f"only sketched layers share sketches, got {type(layer).__name__}")
        first, own = (
            {**one.options(), "stride": getattr(one, "stride", None)} for one in (layers[0], layer)
        )
        if own != first:
            raise ValueError(f"layers share a sketch of equal options, got {first} and {own}")
    group = SharedSketch()
    for layer in layers:
        layer.shared = group
