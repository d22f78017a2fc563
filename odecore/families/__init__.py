"""Families of Runge-Kutta methods as exact objects: rational in their parameters, with proof."""

from odecore.families._certificate import OrderCertificate, Verification
from odecore.families._charts import chart, charts
from odecore.families._chebyshev import rkc1, rkc2
from odecore.families._family import Family
from odecore.families._four_stage import RK3S4, RK4, RK4A, RK4B, RK4C
from odecore.families._implicit import COLLOCATION2, SDIRK2, THETA
from odecore.families._pairs import RK3_PAIR, RK4_PAIR, RK4B_PAIR, cubic_dense_output
from odecore.families._proof import order_is_proved, prove_order
from odecore.families._three_stage import RK2S3, RK3, RK3A, RK3B
from odecore.families._two_stage import RK1S2, RK2

__all__ = [
    "COLLOCATION2",
    "RK1S2",
    "RK2",
    "RK2S3",
    "RK3",
    "RK3A",
    "RK3B",
    "RK3S4",
    "RK3_PAIR",
    "RK4",
    "RK4A",
    "RK4B",
    "RK4B_PAIR",
    "RK4C",
    "RK4_PAIR",
    "SDIRK2",
    "THETA",
    "Family",
    "OrderCertificate",
    "Verification",
    "chart",
    "charts",
    "cubic_dense_output",
    "order_is_proved",
    "prove_order",
    "rkc1",
    "rkc2",
]
