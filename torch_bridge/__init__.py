"""odecore in torch: solves with gradients, trainable solvers, sketched layers, directions."""

from torch_bridge._adjoint import odeint_adjoint
from torch_bridge._blocks import DenseField, NeuralODE
from torch_bridge._certifier import Certifier
from torch_bridge._family import TrainableSolver
from torch_bridge._linear import SketchedLinear, sketched_linear
from torch_bridge._normalization import NORMALIZATIONS, normalization
from torch_bridge._objectives import equiangular_backward
from torch_bridge._odeint import odeint, odeint_event
from torch_bridge._regimes import SmoothedSolver
from torch_bridge._trajectories import odeint_dense, solve

__all__ = [
    "NORMALIZATIONS",
    "Certifier",
    "DenseField",
    "NeuralODE",
    "SketchedLinear",
    "SmoothedSolver",
    "TrainableSolver",
    "equiangular_backward",
    "normalization",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "sketched_linear",
    "solve",
]
