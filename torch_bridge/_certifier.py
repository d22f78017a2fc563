"""Certificates of the gradients of a training run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import nan
from numbers import Real
from typing import Any

from torch import Tensor

from odecore.adjoint import Certificate, Gradients, Linearize, Panel, certify
from odecore.errors import UncertifiedGradientError, UncertifiedGradientWarning
from torch_bridge._numbers import require_whole
from torch_bridge._unknown_options import require_choice

__all__ = ["Certifier"]

ACTIONS = ("warn", "raise", "refine")


class Certifier:
    """Estimates the error of gradients in the backward pass of `odeint_adjoint`.

    Parameters
    ----------
    limit : float, optional
        Relative error above which a gradient is not certified; by default 100 times rtol.
    on_uncertified : {"warn", "raise", "refine"}, optional
        UncertifiedGradientWarning, UncertifiedGradientError, or return the better gradient that
        the estimate compared with.
    every : int, optional
        Look at each backward pass (default), or only at every so many.

    Attributes
    ----------
    errors : list of float
        The estimates so far; NaN where dL/dy was not finite, as the gradient is then. Of this
        nothing else is said.
    last : odecore.adjoint.Certificate or None

    Raises
    ------
    ValueError
        If an argument breaks a rule.

    Notes
    -----
    `odecore.adjoint.certify` says what is estimated and what it costs: several times the
    evaluations of the gradient, but in batches.

    The error is that of the gradients that are asked for: of dL/dy0 and of the gradient of all
    parameters together, each relative to its own size, the larger one (of a dL/dy0 that has decayed
    below what atol resolves, relative to that: see `odecore.adjoint.Certificate`). Within the
    parameters a small gradient may be wrong beside a large one. What the loss has of y0 itself is
    no part of dL/dy0 there, because it is exact; gradients of `t` are not looked at.

    The estimate is that of the gradient for dL/dy as it is. Where the loss is not linear, dL/dy was
    itself computed from inexact states, and this error is not seen: it is about that of the states
    times the second derivative of the loss, and can be many times the estimate.

    Examples
    --------
    >>> import torch
    >>> from torch_bridge import DenseField, odeint_adjoint
    >>> field, certifier = DenseField(2, 8), Certifier()
    >>> y = odeint_adjoint(field, torch.ones(3, 2), torch.tensor([0.0, 1.0]), rtol=1e-4, atol=1e-4,
    ...                    certificate=certifier)
    >>> y[-1].sum().backward()
    >>> certifier.errors[0] < 1e-2
    True
    """

    def __init__(
        self, limit: float | None = None, on_uncertified: str = "warn", every: int = 1
    ) -> None:
        positive = isinstance(limit, Real) and limit is not True and limit > 0
        if limit is not None and not positive:
            raise ValueError(
                f"`limit` must be positive, got {limit!r}; leave it out, or give "
                "`certificate=True`, for 100 rtol"
            )
        require_choice("on_uncertified", on_uncertified, ACTIONS)
        require_whole(every=every)
        self.limit, self.on_uncertified, self.every = limit, on_uncertified, every
        self.errors: list[float] = []
        self.last: Certificate | None = None
        self.passes = 0

    def __repr__(self) -> str:
        return (
            f"Certifier(limit={self.limit}, on_uncertified={self.on_uncertified!r}, "
            f"every={self.every})"
        )

    @classmethod
    def of(cls, given: Certifier | float | bool | None) -> Certifier | None:
        """What a user has `given`: a Certifier, a limit, or True for the default."""
        if given is None or given is False:
            return None
        if isinstance(given, Certifier):
            return given
        return cls(None if given is True else given)

    def checked(
        self,
        found: Gradients,
        linearize_nodes: Linearize,
        panels: Callable[[], Sequence[Panel]],
        cotangents: Sequence[Tensor],
        rtol: float,
        options: dict[str, Any],
    ) -> Gradients:
        """The gradients, or, where they are to be refined, better ones.

        Parameters
        ----------
        found, linearize_nodes, panels, cotangents
            As for `odecore.adjoint.certify`, `panels` as a function that gives them.
        rtol : float
            Of the forward solve; 100 times it is the limit where none was given.
        options : dict
            All others of `certify`.
        """
        self.passes += 1
        if (self.passes - 1) % self.every or found.y0.numel() == 0:
            return found
        if not all(bool(w.isfinite().all()) for w in cotangents):
            self.errors.append(nan)
            return found
        self.last = certify(found, linearize_nodes, panels(), cotangents, **options)
        self.errors.append(self.last.error)
        limit = 100 * rtol if self.limit is None else self.limit
        if self.last.error <= limit:
            return found
        if self.on_uncertified == "refine":
            return self.last.reference
        message = (
            f"the relative error of this gradient is about {self.last.error:.0e}, above "
            f"{limit:.0e}: tighten `rtol` and `atol`, or give on_uncertified='refine'"
        )
        if self.on_uncertified == "raise":
            raise UncertifiedGradientError(message)
        warnings.warn(message, UncertifiedGradientWarning, stacklevel=4)
        return found
