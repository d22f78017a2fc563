"""Gradients of a solve by its adjoint equation; the linearization of f is an argument."""

from odecore.adjoint._at_once import AtOnce, Rules, cross_at_once
from odecore.adjoint._backsolve import backsolve
from odecore.adjoint._budget import budget
from odecore.adjoint._certificate import Certificate, certify
from odecore.adjoint._collocation import collocated
from odecore.adjoint._discrete import discrete
from odecore.adjoint._events import EventCotangent, event_cotangent
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._linearization import Linearize, Pull, node_by_node
from odecore.adjoint._panels import Panel, record_panels
from odecore.adjoint._restored import restored
from odecore.adjoint._step_record import StepRecord, record_steps
from odecore.adjoint._steps_at_once import Undone, steps_at_once
from odecore.adjoint._transposed_run import transposed_run

__all__ = [
    "AtOnce",
    "Certificate",
    "EventCotangent",
    "Gradients",
    "Linearize",
    "Panel",
    "Pull",
    "Rules",
    "StepRecord",
    "Undone",
    "backsolve",
    "budget",
    "certify",
    "collocated",
    "cross_at_once",
    "discrete",
    "event_cotangent",
    "node_by_node",
    "record_panels",
    "record_steps",
    "restored",
    "steps_at_once",
    "transposed_run",
]
