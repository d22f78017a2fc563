"""Families of Runge-Kutta methods as exact objects: rational in their parameters, with proof."""

from odecore.families._certificate import order_is_proved
from odecore.families._family import Family
from odecore.families._four_stage import RK4
from odecore.families._three_stage import RK3
from odecore.families._two_stage import RK2

__all__ = ["RK2", "RK3", "RK4", "Family", "order_is_proved"]
