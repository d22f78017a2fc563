"""odecore in torch: solves with gradients, trainable solvers, sketched layers, directions."""

from torch_bridge._adjoint import odeint_adjoint
from torch_bridge._attack import Attack, Expectation, autoattack
from torch_bridge._blocks import DenseField, NeuralODE
from torch_bridge._certified_step import StepCertificate, certified_step
from torch_bridge._certifier import Certifier
from torch_bridge._conversion import apply, revert
from torch_bridge._convolution import SketchedConv2d
from torch_bridge._counted_rows import counted_rows
from torch_bridge._descent import DescentReport, EquiangularDescent
from torch_bridge._descent_flow import descent_flow
from torch_bridge._ensembles import ModelEnsemble, SolverEnsemble
from torch_bridge._family import TrainableSolver
from torch_bridge._linear import SketchedLinear, sketch_rows, sketched_linear
from torch_bridge._noise_report import NoiseReport
from torch_bridge._normalization import NORMALIZATIONS, normalization
from torch_bridge._objectives import equiangular_backward
from torch_bridge._odeint import odeint, odeint_event
from torch_bridge._plan import LayerPlan, SketchPlan, plan
from torch_bridge._regimes import SmoothedSolver, SwitchedSolver
from torch_bridge._robustness import (
    Accuracy,
    RobustnessReport,
    TransferReport,
    robustness,
    transfer,
)
from torch_bridge._saved import saved_bytes
from torch_bridge._sketched_module import share_sketch
from torch_bridge._smoothing_effect import SmoothingEffect, smoothing_effect
from torch_bridge._solved_by import SolvedBy
from torch_bridge._solver_draws import drawing
from torch_bridge._torchjd import EDM, EDMWeighting
from torch_bridge._trajectories import odeint_dense, solve

__all__ = [
    "EDM",
    "NORMALIZATIONS",
    "Accuracy",
    "Attack",
    "Certifier",
    "DenseField",
    "DescentReport",
    "EDMWeighting",
    "EquiangularDescent",
    "Expectation",
    "LayerPlan",
    "ModelEnsemble",
    "NeuralODE",
    "NoiseReport",
    "RobustnessReport",
    "SketchPlan",
    "SketchedConv2d",
    "SketchedLinear",
    "SmoothedSolver",
    "SmoothingEffect",
    "SolvedBy",
    "SolverEnsemble",
    "StepCertificate",
    "SwitchedSolver",
    "TrainableSolver",
    "TransferReport",
    "apply",
    "autoattack",
    "certified_step",
    "counted_rows",
    "descent_flow",
    "drawing",
    "equiangular_backward",
    "normalization",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "plan",
    "revert",
    "robustness",
    "saved_bytes",
    "share_sketch",
    "sketch_rows",
    "sketched_linear",
    "smoothing_effect",
    "solve",
    "transfer",
]
