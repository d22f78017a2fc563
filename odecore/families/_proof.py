"""The proof that a family has its order, over the field of rational functions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from odecore.families._certificate import OrderCertificate
from odecore.families._family import Family
from odecore.families._terms import Rational, from_field
from odecore.order import elementary_weights, order_condition_residuals, rooted_trees

__all__ = ["order_is_proved", "prove_order"]


def prove_order(family: Family, /) -> OrderCertificate:
    """Prove that all members of a family have exactly the claimed order.

    Parameters
    ----------
    family : Family

    Returns
    -------
    OrderCertificate
        True as a bool iff proved. The residual of every tree up to order p is computed in the field
        of rational functions over the rationals and is its zero or not; one tree of order p+1 whose
        residual is not zero shows that the order is no higher (on a curve inside the parameter
        space it may be); the denominators are factored, and each factor must be declared.

    Raises
    ------
    TypeError
        If `family` is none.
    ValueError
        If one of its factors is zero for all parameters.

    Examples
    --------
    >>> from odecore.families import RK4
    >>> certificate = prove_order(RK4)
    >>> bool(certificate), certificate.verify().holds, len(certificate.conditions)
    (True, True, 8)
    """
    Family.require(family, instead="odecore.order.order_of_accuracy")

    def rational(entry: Any) -> Rational:
        return from_field(entry, len(family.parameters))

    factors = family.factors(*family.generators)
    if any(factor == 0 for factor in factors):
        raise ValueError(f"a factor of {family.name} is zero for all parameters; leave it out")
    residuals = order_condition_residuals(family, family.order)
    witness = None
    for tree in reversed(rooted_trees(family.order + 1)):  # the bush first: it is cheapest
        weight = elementary_weights([tree], family.A, family.b)[tree]
        residual = weight - Fraction(1, tree.density)
        if residual != 0:
            witness = (tree.level_sequence, rational(residual))
            break
    return OrderCertificate(
        family.name,
        family.parameters,
        family.order,
        tuple(rational(factor)[0] for factor in factors),
        tuple(tuple(map(rational, row)) for row in family.A),
        tuple(map(rational, family.b)),
        tuple((tree.level_sequence, rational(r)) for tree, r in residuals.items()),
        witness,
        _undeclared(family),
    )


def order_is_proved(family: Family, /) -> bool:
    """Decide whether all members have exactly the claimed order p, away from the excluded set.

    Parameters
    ----------
    family : Family

    Returns
    -------
    bool
        What `prove_order` found.

    Notes
    -----
    This is a proof, not a test at sample points: arithmetic in the field is exact. Order p+1 may
    still be reached on a curve inside the parameter space.
    """
    return prove_order(family).proved


def _undeclared(family: Family) -> tuple[str, ...]:
    """Factors of denominators that do not divide any declared factor."""
    declared = [f.numer for f in family.factors(*family.generators) if hasattr(f, "numer")]
    missing: list[str] = []
    for entry in (*family.b, *(a for row in family.A for a in row)):
        if not hasattr(entry, "denom"):
            continue
        rest = _without(entry.denom, declared)
        if not rest.is_ground and str(rest.as_expr()) not in missing:
            missing.append(str(rest.as_expr()))
    return tuple(missing)


def _without(rest: Any, declared: Sequence[Any]) -> Any:
    for factor in declared:
        common = rest.gcd(factor)
        while not common.is_ground:
            rest = rest.exquo(common)
            common = rest.gcd(factor)
    return rest
