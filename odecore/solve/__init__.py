"""Initial value problems: one step, a controller, a trajectory with its status."""

from odecore.solve._accepted import Accepted
from odecore.solve._adams import Adams
from odecore.solve._adaptive_leap import Leap, adaptive_leap, adaptive_step
from odecore.solve._controllers import StepControl
from odecore.solve._dense_output import DenseOutput, DenseStep
from odecore.solve._events import Event, EventRecord, as_events
from odecore.solve._explicit_step import Attempt, explicit_step
from odecore.solve._implicit_step import implicit_step
from odecore.solve._integration import solve_ivp
from odecore.solve._kernels import Kernels, given_run, given_steps
from odecore.solve._newton import Newton
from odecore.solve._one_sided import one_sided
from odecore.solve._per_sample import solve_per_sample
from odecore.solve._reuse import refusing_reuse
from odecore.solve._status import Statistics, Status
from odecore.solve._tracing import explaining_reads
from odecore.solve._trajectory import Samples, Trajectory
from odecore.solve._transposed_stages import transposed_inverse, transposed_stages

__all__ = [
    "Accepted",
    "Adams",
    "Attempt",
    "DenseOutput",
    "DenseStep",
    "Event",
    "EventRecord",
    "Kernels",
    "Leap",
    "Newton",
    "Samples",
    "Statistics",
    "Status",
    "StepControl",
    "Trajectory",
    "adaptive_leap",
    "adaptive_step",
    "as_events",
    "explaining_reads",
    "explicit_step",
    "given_run",
    "given_steps",
    "implicit_step",
    "one_sided",
    "refusing_reuse",
    "solve_ivp",
    "solve_per_sample",
    "transposed_inverse",
    "transposed_stages",
]
