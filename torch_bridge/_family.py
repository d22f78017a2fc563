"""A Runge-Kutta family whose parameters are trained along with the model."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from numbers import Rational
from typing import Any

import torch
from torch import Tensor, nn

from odecore.families import Family
from odecore.tableaux import Coefficients
from torch_bridge._member import Member

__all__ = ["TrainableSolver", "exact_box", "exact_center"]


class TrainableSolver(nn.Module):
    """A member of a family, trainable inside a box that is free of singular parameters.

    Each parameter is centre + radius tanh(offset), and the offsets, zero at first, are trained.
    Every value of the offsets is a valid method of the family's full order; a clamp would have no
    gradient outside its box.

    Parameters
    ----------
    family : Family
        An explicit one.
    center : mapping from str to int or Fraction
        Initial parameters, such as ``{"u": Fraction(1, 3), "v": Fraction(2, 3)}``.
    radius : int or Fraction
        Half the side of the box, positive.

    Attributes
    ----------
    offset : Parameter, shape (number of parameters,)

    Raises
    ------
    TypeError
        If a parameter is missing, unknown or not exact, and for an implicit family.
    ValueError
        If the radius is not positive.
    odecore.errors.SingularParameterError
        If the closed box meets the excluded set, which is decided exactly.

    Examples
    --------
    >>> from odecore.families import RK4
    >>> solver = TrainableSolver(RK4, {"u": Fraction(1, 3), "v": Fraction(2, 3)}, Fraction(1, 20))
    >>> [round(x.item(), 4) for x in solver.parameters_of_family(torch.zeros(())).values()]
    [0.3333, 0.6667]
    """

    def __init__(self, family: Family, center: Mapping[str, Rational], radius: Rational) -> None:
        super().__init__()
        Family.require(family)
        if not family.is_explicit:
            raise TypeError(
                f"{family.name} is implicit: its stages are solved for with coefficients that are "
                "numbers, which have no gradient; choose an explicit family, or a SmoothedSolver"
            )
        self.family = family
        self.center, self.radius = exact_box(family, center, radius)
        middle = tuple(map(float, self.center.values()))
        abscissae = tuple(c if c is None else float(c) for c in family.shared_abscissae)
        self._member = Member(family, middle, float(self.radius), abscissae)
        self.offset = nn.Parameter(torch.zeros(len(self.center)))

    def parameters_of_family(self, like: Tensor) -> dict[str, Tensor]:
        """The parameters as 0-d tensors, on the device of a state `like`, of float32 or wider."""
        values = self._member.parameters(self.offset, like)
        return dict(zip(self.family.parameters, values, strict=True))

    def forward(self, like: Tensor) -> Coefficients:
        """Coefficients that carry the gradient to the offsets, for a state `like` this one.

        Tensors, and floats where no gradient is wanted.
        """
        return self._member.coefficients(self.offset, like)

    def extra_repr(self) -> str:
        """Show the family and the box."""
        box = ", ".join(f"{name}={value}" for name, value in self.center.items())
        return f"{self.family.name}, {box}, radius={self.radius}"


def exact_box(
    family: Family, center: Mapping[str, Rational], radius: Rational
) -> tuple[dict[str, Fraction], Fraction]:
    """Check a box of parameters and prove that the family is regular on it."""
    middle = exact_center(family, center)
    _require_exact("radius", radius)
    if radius <= 0:
        raise ValueError(f"`radius` must be positive, got {radius}")
    r = Fraction(radius)
    family.require_box([x - r for x in middle.values()], [x + r for x in middle.values()])
    return middle, r


def exact_center(family: Family, center: Mapping[str, Rational]) -> dict[str, Fraction]:
    """Check the parameters of a member, in the family's order."""
    Family.require(family)
    if not isinstance(center, Mapping):
        raise TypeError(
            f"`center` must be a mapping from parameters to exact numbers, got {center!r}"
        )
    values = family.values(dict(center))
    for name, value in zip(family.parameters, values, strict=True):
        _require_exact(name, value)
    return {name: Fraction(v) for name, v in zip(family.parameters, values, strict=True)}


def _require_exact(name: str, value: Any) -> None:
    if not isinstance(value, Rational):
        raise TypeError(
            f"`{name}` must be exact, int or Fraction, got {value!r} of type "
            f"{type(value).__name__}: parameters are proved not to be singular"
        )
