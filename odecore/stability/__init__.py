"""Linear stability of Runge-Kutta methods."""

from odecore.stability._function import StabilityFunction, stability_function

__all__ = ["StabilityFunction", "stability_function"]
