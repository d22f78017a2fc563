"""The coefficients of a trained member of a family, computed in Python's numbers.

A formula of 40 operations is 40 kernels on 0-d tensors, and twice as many in the backward pass; on
the host it takes a tenth of their time, and in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import tanh
from typing import Any

import torch
from torch import Tensor

from odecore.families import Family
from odecore.tableaux import Coefficients, coefficients_at
from torch_bridge._fields import is_plain

__all__ = ["Member"]

TINY = 1e-100  # imaginary step; its square is lost in rounding, so the derivative is exact


@dataclass(frozen=True)
class Member:
    """The member of an explicit family at centre + radius tanh(offset).

    Parameters
    ----------
    family : Family
    center : tuple of float
    radius : float
    abscissae : tuple of float or None
        The family's `shared_abscissae`.
    """

    family: Family
    center: tuple[float, ...]
    radius: float
    abscissae: tuple[float | None, ...]

    def parameters(self, offset: Tensor, like: Tensor) -> list[Tensor]:
        """The parameters as 0-d tensors on the device of a state, in its dtype or float32."""
        wide = torch.promote_types(like.dtype.to_real(), torch.float32)
        offsets = offset.to(like.device, wide).unbind()
        pairs = zip(self.center, offsets, strict=True)
        return [middle + self.radius * torch.tanh(x) for middle, x in pairs]

    def coefficients(self, offset: Tensor, like: Tensor) -> Coefficients:
        """Coefficients that carry the gradient to the offset, for a state like this one."""
        if not (is_plain(offset) and is_plain(like)):
            return self.by_tensors(offset, like)
        moves = [tanh(x) for x in offset.tolist()]
        values = [c + self.radius * x for c, x in zip(self.center, moves, strict=True)]
        tables = [self._table(values, k) for k in range(len(values))]
        numbers = [x.real for x in _trained(tables[0])]
        if torch.is_grad_enabled() and offset.requires_grad:
            slopes = [
                [x.imag / TINY * self.radius * (1 - move * move) for x in _trained(table)]
                for table, move in zip(tables, moves, strict=True)
            ]
            found = iter(_Entries.apply(offset, like, self, numbers, slopes).unbind())
        else:
            found = iter(numbers)
        *A, b, c, error = (
            tuple(next(found) if isinstance(x, complex) else float(x) for x in row)
            for row in tables[0]
        )
        return Coefficients(
            A=tuple(A),
            b=b,
            error=error or None,
            order=self.family.order,
            last_stage_is_first=self.family.last_stage_is_first,
            c=c,
        )

    def by_tensors(self, offset: Tensor, like: Tensor) -> Coefficients:
        """The same in the operations of tensors, which transformations follow."""
        named = zip(self.family.parameters, self.parameters(offset, like), strict=True)
        found = coefficients_at(self.family, **dict(named))
        found = replace(found, c=self._abscissae(found.A))
        dtype = like.dtype.to_real()
        if dtype.itemsize >= 4:
            return found

        def rounded(row: Any) -> tuple[Any, ...]:
            return tuple(x.to(dtype) if isinstance(x, Tensor) else x for x in row)

        A, b, error = tuple(map(rounded, found.A)), rounded(found.b), found.error
        return replace(found, A=A, b=b, error=error and rounded(error), c=rounded(found.c))

    def _abscissae(self, rows: Any) -> tuple[Any, ...]:
        pairs = zip(self.abscissae, rows, strict=True)
        return tuple(sum(row[1:], row[0]) if c is None else c for c, row in pairs)

    def _table(self, values: list[float], k: int) -> tuple[tuple[Any, ...], ...]:
        """A, b, c and the error's weights, complex where they depend on the parameters.

        The imaginary part is the derivative with respect to parameter k, times `TINY`.
        """
        shifted = [complex(x, TINY * (i == k)) for i, x in enumerate(values)]
        rows, b = self.family.formula(*shifted)
        error: tuple[Any, ...] = ()
        if self.family.estimator is not None:
            error = tuple(x - y for x, y in zip(b, self.family.estimator(*shifted), strict=True))
        return (*rows, b, self._abscissae(rows), error)


def _trained(table: tuple[tuple[Any, ...], ...]) -> list[complex]:
    return [x for row in table for x in row if isinstance(x, complex)]


class _Entries(torch.autograd.Function):
    """The numbers of a tableau as a tensor; slopes are their derivatives by each offset."""

    @staticmethod
    def forward(
        ctx: Any,
        offset: Tensor,
        like: Tensor,
        member: Member,
        numbers: list[float],
        slopes: list[list[float]],
    ) -> Tensor:
        ctx.save_for_backward(offset)
        ctx.member, ctx.slopes = member, slopes
        return torch.tensor(numbers, dtype=like.dtype.to_real(), device=like.device)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (offset,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            made = ctx.member.by_tensors(offset, g)
            rows = (*made.A, made.b, made.c or (), made.error or ())
            entries = torch.stack([x for row in rows for x in row if isinstance(x, Tensor)])
            (found,) = torch.autograd.grad(entries, offset, g, create_graph=True)
        else:
            slopes = torch.tensor(ctx.slopes, dtype=torch.float64, device=g.device)
            found = (slopes * g).sum(1).to(offset.dtype)
        return found, None, None, None, None
