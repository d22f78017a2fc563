"""odecore in torch: solves with gradients, trainable solvers, sketched layers, directions."""

from odecore import __version__ as __version__
from torch_bridge._adapt_steps import StepChange, adapt_steps
from torch_bridge._adjoint import odeint_adjoint
from torch_bridge._attack import Attack, Expectation
from torch_bridge._autoattack import autoattack
from torch_bridge._blocks import DenseField, NeuralODE
from torch_bridge._certified_step import StepCertificate, certified_step
from torch_bridge._certifier import Certifier
from torch_bridge._consistency import solver_consistency
from torch_bridge._consistency_report import SolverConsistencyReport
from torch_bridge._conversion import apply, revert
from torch_bridge._convolution import SketchedConv2d
from torch_bridge._counted_rows import counted_rows
from torch_bridge._descent import DescentReport, EquiangularDescent
from torch_bridge._descent_flow import descent_flow
from torch_bridge._ensembles import ModelEnsemble, SolverEnsemble
from torch_bridge._family import TrainableSolver
from torch_bridge._linear import SketchedLinear, sketch_rows, sketched_linear
from torch_bridge._networks import ODENet4, ODENet10, ResidualField
from torch_bridge._noise_report import NoiseReport
from torch_bridge._normalization import NORMALIZATIONS, normalization
from torch_bridge._objectives import equiangular_backward
from torch_bridge._odeint import odeint, odeint_event
from torch_bridge._one_solve import one_solve
from torch_bridge._paired_gap import PairedGap
from torch_bridge._plan import LayerPlan, SketchPlan, plan
from torch_bridge._regimes import SmoothedSolver, SwitchedSolver
from torch_bridge._right_hand_side import RightHandSideFinding, RightHandSideReport, check_rhs
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
from torch_bridge._time_batch_norm import TimeBatchNorm
from torch_bridge._torchjd import EDM, EDMWeighting
from torch_bridge._trajectories import odeint_dense, solve
from torch_bridge._weight_normalization import WEIGHT_NORMALIZATIONS, weight_normalization

__all__ = [
    "Accuracy",
    "Attack",
    "Certifier",
    "DenseField",
    "DescentReport",
    "EDM",
    "EDMWeighting",
    "EquiangularDescent",
    "Expectation",
    "LayerPlan",
    "ModelEnsemble",
    "NORMALIZATIONS",
    "NeuralODE",
    "NoiseReport",
    "ODENet10",
    "ODENet4",
    "PairedGap",
    "ResidualField",
    "RightHandSideFinding",
    "RightHandSideReport",
    "RobustnessReport",
    "SketchPlan",
    "SketchedConv2d",
    "SketchedLinear",
    "SmoothedSolver",
    "SmoothingEffect",
    "SolvedBy",
    "SolverConsistencyReport",
    "SolverEnsemble",
    "StepCertificate",
    "StepChange",
    "SwitchedSolver",
    "TimeBatchNorm",
    "TrainableSolver",
    "TransferReport",
    "WEIGHT_NORMALIZATIONS",
    "adapt_steps",
    "apply",
    "autoattack",
    "certified_step",
    "check_rhs",
    "counted_rows",
    "descent_flow",
    "drawing",
    "equiangular_backward",
    "normalization",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "one_solve",
    "plan",
    "revert",
    "robustness",
    "saved_bytes",
    "share_sketch",
    "sketch_rows",
    "sketched_linear",
    "smoothing_effect",
    "solve",
    "solver_consistency",
    "transfer",
    "weight_normalization",
]
