"""odecore in torch: solves with gradients, trainable solvers, sketched layers, directions."""

from torch_bridge._adjoint import odeint_adjoint
from torch_bridge._blocks import DenseField, NeuralODE
from torch_bridge._certifier import Certifier
from torch_bridge._conversion import apply, revert
from torch_bridge._convolution import SketchedConv2d
from torch_bridge._counted_rows import counted_rows
from torch_bridge._descent import DescentReport, EquiangularDescent
from torch_bridge._family import TrainableSolver
from torch_bridge._linear import SketchedLinear, sketch_rows, sketched_linear
from torch_bridge._networks import ODENet4, ODENet10, ResidualField
from torch_bridge._noise_report import NoiseReport
from torch_bridge._normalization import NORMALIZATIONS, normalization
from torch_bridge._objectives import equiangular_backward
from torch_bridge._odeint import odeint, odeint_event
from torch_bridge._one_solve import one_solve
from torch_bridge._plan import LayerPlan, SketchPlan, plan
from torch_bridge._regimes import SmoothedSolver
from torch_bridge._right_hand_side import RightHandSideFinding, RightHandSideReport, check_rhs
from torch_bridge._saved import saved_bytes
from torch_bridge._sketched_module import share_sketch
from torch_bridge._time_batch_norm import TimeBatchNorm
from torch_bridge._torchjd import EDM, EDMWeighting
from torch_bridge._trajectories import odeint_dense, solve
from torch_bridge._weight_normalization import WEIGHT_NORMALIZATIONS, weight_normalization

__all__ = [
    "EDM",
    "NORMALIZATIONS",
    "WEIGHT_NORMALIZATIONS",
    "Certifier",
    "DenseField",
    "DescentReport",
    "EDMWeighting",
    "EquiangularDescent",
    "LayerPlan",
    "NeuralODE",
    "NoiseReport",
    "ODENet10",
    "ODENet4",
    "ResidualField",
    "RightHandSideFinding",
    "RightHandSideReport",
    "SketchPlan",
    "SketchedConv2d",
    "SketchedLinear",
    "SmoothedSolver",
    "TimeBatchNorm",
    "TrainableSolver",
    "apply",
    "check_rhs",
    "counted_rows",
    "equiangular_backward",
    "normalization",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "one_solve",
    "plan",
    "revert",
    "saved_bytes",
    "share_sketch",
    "sketch_rows",
    "sketched_linear",
    "solve",
    "weight_normalization",
]
