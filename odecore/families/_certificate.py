"""The proof that a family has its order: every order condition is the zero rational function."""

from __future__ import annotations

from odecore.families._family import Family
from odecore.order import order_condition_residuals

__all__ = ["order_is_proved"]


def order_is_proved(family: Family, /) -> bool:
    """Decide whether all members have exactly the claimed order p, away from the excluded set.

    Parameters
    ----------
    family : Family

    Returns
    -------
    bool
        True if the residual of every tree up to order p is the zero element of the field of
        rational functions, and that of some tree of order p+1 is not.

    Notes
    -----
    This is a proof, not a test at sample points: arithmetic in the field is exact. Order p+1 may
    still be reached on a curve inside the parameter space.
    """
    residuals = order_condition_residuals(family, family.order + 1)
    held = all(r == 0 for tree, r in residuals.items() if tree.order <= family.order)
    sharp = any(r != 0 for tree, r in residuals.items() if tree.order == family.order + 1)
    return held and sharp
