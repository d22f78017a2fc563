"""A neural ODE as a layer, and a dense right-hand side with a choice of normalization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn

from odecore.solve import Adams
from odecore.tableaux import ButcherTableau, Coefficients
from torch_bridge._adjoint import odeint_adjoint
from torch_bridge._block_arguments import (
    SETTINGS,
    check_batched,
    check_settings,
    times_of_block,
    tolerances,
)
from torch_bridge._certifier import Certifier
from torch_bridge._draws import in_backward
from torch_bridge._ensembles import SolverEnsemble
from torch_bridge._fields import constant_times
from torch_bridge._kinds import require_callable
from torch_bridge._normalization import normalization as normalization_layer
from torch_bridge._normalization import normalized
from torch_bridge._numbers import require_whole
from torch_bridge._odeint import odeint
from torch_bridge._one_solve import untraced
from torch_bridge._right_hand_side import can_be_checked, check_rhs
from torch_bridge._signature import check_function
from torch_bridge._states import layout_of
from torch_bridge._time_batch_norm import TimeBatchNorm
from torch_bridge._unknown_options import keywords_of, refuse_unknown, require_choice
from torch_bridge._weight_normalization import weight_normalization

__all__ = ["DenseField", "NeuralODE"]

CHECKS = ("warn", "raise", "off")
UNREPLACED: tuple[Any, int] = (None, 1)


class NeuralODE(nn.Module):
    """The flow of a right-hand side, as a layer.

    Parameters
    ----------
    func : Module or callable
        `func(t, y)` as for `odeint`.
    solver : str, ButcherTableau, Coefficients, Adams, Module or None, optional
        A method as for `odeint`, where None is "dopri5", or a Module that makes `Coefficients` from
        a state at each call, such as `TrainableSolver`, `SmoothedSolver` and `SwitchedSolver`, or a
        `SolverEnsemble`.
    t : sequence of float, optional
        Default output times, at least two; by default 0 and 1.
    steps : int, optional
        Steps between output times, for fixed steps; needed where the solver has no error estimate.
    rtol, atol : float, optional
        Tolerances of adaptive steps, by default 1e-6 and 1e-8, and of Adams methods in given ones.
        The defaults are too small for states in half precision, such as those of layers under
        autocast: give fixed steps, rtol >= eps, or `y.float()`.
    adjoint : {"direct", "restored", "reversed", "discrete"}, optional
        Gradients through the steps (exact for the discrete map), or by `odeint_adjoint`, whose
        memory does not grow with the steps. Under autocast, "direct" also keeps a copy of the
        weights for each evaluation.
    nodes : int, optional
        For the restored adjoint.
    certificate : Certifier, float or bool, optional
        As for `odeint_adjoint`; for adjoints other than "direct".
    compile : bool, optional
        As for `odeint` and `odeint_adjoint`, for other adjoints than "reversed", and for solvers
        whose coefficients stay: a Module's are others at each call.
    check : {"warn", "raise", "off"}, optional
        What to do if `check_rhs` finds something at the first solve, and at the first one in the
        other mode of training: two calls of `func`, three in training, unless somebody watches its
        calls by hooks or dispatch modes, compiles or transforms it; then at a later solve.

    Raises
    ------
    ValueError
        For another value of `adjoint` or `check`, fewer than two times, or such as are not finite
        or not monotone, an unknown or unfit solver, missing or bad `steps`, bad tolerances,
        tolerances, `nodes` or `certificate` where they have no effect, `batched` ensembles with
        another adjoint than "direct", or `compile` where there is nothing to compile.
    TypeError
        For a function that can not be called with two arguments, a `solver` of another type, and
        a `t` that holds no numbers.
    odecore.errors.RightHandSideError
        At the first call, with `check="raise"`.

    Warns
    -----
    odecore.errors.RightHandSideWarning
        At the first call, with `check="warn"`.

    Notes
    -----
    All options are attributes, `compile` as `compiles`, which may be set, and are checked then as
    here. ``torch.export.export(model, inputs, strict=False)`` records fixed steps
    of explicit methods between the block's own times, with adjoint="direct".

    Examples
    --------
    >>> import torch
    >>> layer = NeuralODE(DenseField(8, 16, "layer"), solver="rk4", steps=4)
    >>> layer(torch.zeros(5, 8)).shape
    torch.Size([5, 8])
    """

    def __init__(
        self,
        func: Callable[[Tensor, Tensor], Tensor],
        *,
        solver: str | ButcherTableau | Coefficients | Adams | nn.Module | None = "dopri5",
        t: Sequence[float] = (0.0, 1.0),
        steps: int | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        adjoint: str = "direct",
        nodes: int | None = None,
        certificate: Certifier | float | bool | None = None,
        compile: bool = False,
        check: str = "warn",
    ) -> None:
        super().__init__()
        check_function(func)
        self.func = func
        self.solver = solver
        self.t = t
        self.steps = steps
        self.rtol, self.atol = rtol, atol
        self.adjoint = adjoint
        self.nodes, self.certificate, self.compiles = nodes, certificate, compile
        self.check = check
        self._checked: tuple[bool, ...] = ()  # the modes in which it was
        self._replaced: dict[int | None, tuple[Any, int]] = {}  # by thread; None: for all
        self._last = self.replaced
        check_settings(**{each: getattr(self, each) for each in SETTINGS})

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; options of the block are checked as when it is made."""
        if name in SETTINGS and "_last" in vars(self):
            check_settings(**{each: getattr(self, each) for each in SETTINGS} | {name: value})
            if name == "solver":
                self._modules.pop(name, None)  # which takes Modules only
        elif name == "t":
            value = times_of_block(value)
        elif name == "check":
            require_choice(name, value, CHECKS)
        super().__setattr__(name, value)

    @property
    def replaced(self) -> tuple[Any, int]:
        """A solver in place of the block's for now, or None, and how many times as many steps.

        Each thread has its own, so that it sees its own `SolvedBy` only.
        """
        return self._replaced.get(get_ident(), self._replaced.get(None, UNREPLACED))

    @replaced.setter
    def replaced(self, value: tuple[Any, int]) -> None:
        if value == UNREPLACED:
            self._replaced.pop(get_ident(), None)
        else:
            self._replaced[get_ident()] = value

    def _replicate_for_data_parallel(self) -> Any:
        """A replica, which another thread calls, has the solver of the thread that made it."""
        replica: Any = super()._replicate_for_data_parallel()
        replica._replaced = {} if self.replaced == UNREPLACED else {None: self.replaced}
        return replica

    @untraced
    def forward(self, y0: Any, t: Tensor | None = None) -> Any:
        """Map the state `y0` to the final one, or to the (n, ...) states at given times `t` (n,).

        A state is a tensor or a tuple of tensors.
        """
        self._check(y0, t)
        replaced = self.replaced
        if self._last[0] is not replaced[0] or self._last[1] != replaced[1]:
            if in_backward():
                raise RuntimeError(
                    "a checkpoint repeats this block with another solver than its forward pass "
                    "had: checkpoint outside of SolvedBy, not inside"
                )
            self._last = replaced
        solver = self.solver if replaced[0] is None else replaced[0]
        if isinstance(solver, SolverEnsemble):
            check_batched(solver, self.adjoint)
            return solver.average(lambda method, y: self._solved(method, y, t), y0)
        if isinstance(solver, nn.Module):  # others at each call: a program for each
            return self._solved(solver(layout_of(y0).vector(y0)), y0, t)
        return self._solved(solver, y0, t, self.compiles)

    def _solved(self, method: Any, y0: Any, t: Tensor | None, compiles: bool = False) -> Any:
        steps = None if self.steps is None else {"steps": self.steps * self.replaced[1]}
        rtol, atol = tolerances(self.rtol, self.atol)
        arguments: dict[str, Any] = {
            "rtol": rtol,
            "atol": atol,
            "method": method,
            "options": steps,
            "compile": compiles,
        }
        times = constant_times(self.t) if t is None else t
        if self.adjoint == "direct" or torch.compiler.is_exporting():  # a program has no adjoint
            y = odeint(self.func, y0, times, **arguments)
        else:
            y = odeint_adjoint(
                self.func,
                y0,
                times,
                adjoint=self.adjoint,
                nodes=self.nodes,
                certificate=self.certificate,
                adjoint_params=None if isinstance(self.func, nn.Module) else (),
                **arguments,
            )
        return y if t is not None else layout_of(y0).at(y, -1)

    def _check(self, y0: Any, t: Tensor | None) -> None:
        """Look at the right-hand side once in each mode."""
        if self.check == "off" or self.training in self._checked:
            return
        times = torch.tensor(self.t[:1], dtype=torch.float64, device="cpu") if t is None else t
        if not can_be_checked(self.func, times, y0):
            return
        report = check_rhs(self.func, times[0], y0)
        if self.check == "raise":
            report.raise_if_any()
        self._checked = (*self._checked, self.training)
        report.warn(stacklevel=6)

    def extra_repr(self) -> str:
        """Show what is not a submodule."""
        shown = f"adjoint={self.adjoint!r}, t={self.t}, steps={self.steps}"
        return shown if isinstance(self.solver, nn.Module) else f"solver={self.solver!r}, {shown}"


class DenseField(nn.Module):
    """Right-hand side f(t, y) = W2 tanh(norm(W1 y + b1 + t w)) + b2 for states (batch, width).

    Parameters
    ----------
    width : int
        Size of the state.
    hidden : int
    normalization : {"none", "layer", "group", "batch", "time batch"}, optional
        Applied to the hidden features; see `torch_bridge.normalization`.
    weights : {"none", "weight", "spectral"}, optional
        Applied to both matrices; see `torch_bridge.weight_normalization`.
    groups : int, optional
        For "group".
    linear : callable, optional
        Makes a linear layer from two sizes; `torch.nn.Linear` by default, or for example
        ``functools.partial(SketchedLinear, ratio=0.2)``.
    **options
        Of `TimeBatchNorm`, for "time batch".

    Raises
    ------
    ValueError
        For unknown names and options, sizes that are no whole numbers from 1, and groups that do
        not divide the hidden features.
    TypeError
        If `linear` is not callable with two sizes.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        normalization: str = "none",
        *,
        weights: str = "none",
        groups: int = 4,
        linear: Callable[[int, int], nn.Module] = nn.Linear,
        **options: Any,
    ) -> None:
        super().__init__()
        refuse_unknown(options, keywords_of(DenseField, TimeBatchNorm), "a DenseField")
        require_whole(width=width, hidden=hidden)
        require_callable("linear", linear, "linear(inputs, outputs)", 2)
        self.inner = weight_normalization(linear(width, hidden), weights)
        self.drift = nn.Parameter(torch.zeros(hidden))
        self.norm = normalization_layer(normalization, hidden, groups=groups, **options)
        self.outer = weight_normalization(linear(hidden, width), weights)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the field at the time `t` and the states `y` (batch, width)."""
        return self.outer(torch.tanh(normalized(self.norm, t, self.inner(y) + t * self.drift)))
