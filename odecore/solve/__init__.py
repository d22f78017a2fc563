"""Initial value problems: one step, a controller, a trajectory with its status."""

from odecore.solve._explicit_step import Attempt, explicit_step
from odecore.solve._integration import solve_ivp
from odecore.solve._status import Statistics, Status
from odecore.solve._trajectory import Trajectory

__all__ = ["Attempt", "Statistics", "Status", "Trajectory", "explicit_step", "solve_ivp"]
