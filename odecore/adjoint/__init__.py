"""Gradients of a solve by its adjoint equation; the vector-Jacobian product is an argument."""

from odecore.adjoint._gradients import Gradients
from odecore.adjoint._restored import Panel, record_panels, restored

__all__ = ["Gradients", "Panel", "record_panels", "restored"]
