"""The adjoint equation collocated at the nodes: parallel in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from odecore._array import (
    all_finite,
    constant_like,
    is_readable,
    limits,
    namespace,
    on_host,
)
from odecore._krylov import gmres
from odecore._times import read_unordered
from odecore._tolerances import tolerance_like
from odecore.adjoint._at_once import AtOnce, Rules, cross_at_once, unit_of
from odecore.adjoint._backward_options import (
    require_backward_options,
    require_kernel,
    require_positive,
)
from odecore.adjoint._directly import solved_directly
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._inner_outputs import across_outputs
from odecore.adjoint._linearization import Linearize, Pull, checked
from odecore.adjoint._panels import Panel
from odecore.adjoint._quadrature import (
    MOST_NODES,
    Quadrature,
    accumulated,
    fall_at_kinks,
    least,
    node_times,
    norm_of,
)
from odecore.adjoint._restored import Stepping
from odecore.adjoint._sweep import Crossing, outputs_of, sweep
from odecore.adjoint._unit import in_their_unit, observing
from odecore.interpolation import coefficient_tail, decay_ratio, integration_matrix
from odecore.solve import Statistics

__all__ = ["Collocation", "at_one_node", "collocated"]

PASSES = 30
FEW = 4  # entries of a state: their Jacobians cost no more passes than GMRES would make
UNREAD_PASSES = 12  # where no value may be read
FEWEST_COMPILED = 9  # nodes; each number of them is a program of its own
HALVINGS = 3  # of a panel where GMRES does not converge; then it is stepped through
HOPELESS = 0.5  # part of the residual after which halves would not converge either


def collocated(
    linearize_nodes: Linearize,
    panels: Sequence[Panel],
    cotangents: Sequence[Any],
    /,
    *,
    parameters: bool = True,
    rtol: Any = 1e-6,
    atol: Any = 1e-9,
    passes: int | None = None,
    jump_at: Sequence[float] | None = None,
    kernel: Callable[..., AtOnce | None] | None = None,
    **stepping: Any,
) -> Gradients:
    """Solve the adjoint equation at all nodes of a panel at once.

    Parameters
    ----------
    linearize_nodes : callable
        `linearize_nodes(t, y)` for times (m,) and states (m, ...) returns f at all nodes and
        `pull(a, parameters)` for a (m, ...), with the parameters summed over the nodes. It is
        called once for each panel, and its pull once for each pass: the transposed passes share one
        evaluation of f, whose intermediate values are kept that long.
    panels, cotangents, parameters
        As for `restored`.
    rtol, atol : float or array, optional
        The residual and the last Chebyshev coefficients of the adjoint are to be within these;
        atol in the unit of the largest entry of all cotangents, see `restored`.
    passes : int, optional
        Transposed passes at most; by default 30, or, where values may not be read, exactly 12.
    jump_at : sequence of float, optional
        Times at which f jumps, where panels end: `record_panels` divides at those it is given.
    kernel : callable, optional
        `kernel(t, y, end, length, (rtol, atol), rules)` gives what `cross_at_once` does, or None:
        what a compiler made of it, for panels whose values may be read. Where its checks fail, the
        library goes its own way; `torch_bridge.odeint_adjoint(compile=True)` is the way to use it.
    **stepping
        Further options of `restored` for panels that are stepped through.

    Returns
    -------
    Gradients
        `residual` is zero for panels that were stepped through.

    Raises
    ------
    ValueError, TypeError
        As `restored`.
    SolveError
        If the equation is stepped through and that fails.

    Notes
    -----
    With y(t) known the adjoint equation is linear: a = a_end + S (df/dy)^T a, with S the matrix
    that integrates the interpolant from the end. States of at most 4 real numbers have their
    Jacobians formed and the system solved by elimination; for others GMRES solves it in about as
    many passes as the exponential series of the panel's Jacobian has terms, each pass over all
    nodes. Where the adjoint asks for more nodes than the state has, the state is interpolated to
    more; where GMRES does not converge, because the panel is long or stiff, it is halved, and in
    the end stepped through. Where values may not be read none of this is done, and `residual`
    tells.
    """
    require_backward_options(stepping, parameters=parameters)
    outputs = outputs_of(panels)
    rtol, atol = (tolerance_like(*one, outputs[1]) for one in (("rtol", rtol), ("atol", atol)))
    require_positive("passes", passes, "as many as it takes")
    require_kernel(kernel, "kernel(t, y, end, length, tolerances, rules)")
    most = parameters, rtol, atol, passes, read_unordered(jump_at, "jump_at"), kernel

    def solve(cotangents: Sequence[Any], whole: Any) -> Gradients:
        across = Collocation(linearize_nodes, *most, observing(stepping, whole))
        return sweep(panels, cotangents, across)

    return in_their_unit(solve, cotangents, *outputs)


class Collocation:
    """Crosses a panel by the collocated equation.

    A strict one makes steps where the most nodes do not resolve the adjoint, as at the kinks of f.
    """

    def __init__(
        self,
        linearize: Linearize,
        parameters: bool,
        rtol: Any,
        atol: Any,
        passes: int | None,
        jumps: Sequence[float],
        kernel: Callable[..., AtOnce | None] | None,
        stepping: dict[str, Any],
        strict: bool = False,
    ) -> None:
        self.strict = strict
        linearize = checked(linearize)
        self.linearize, self.parameters, self.jumps = linearize, parameters, jumps
        self.kernel = kernel
        self.rtol, self.atol, self.passes = rtol, atol, passes
        self.quadrature = Quadrature(linearize, jumps, None, rtol)
        options = {"rtol": rtol, "atol": atol, "jump_at": jumps or None, **stepping}
        self.step = Stepping(at_one_node(linearize), linearize, parameters, None, options)

    def __call__(self, panel: Panel, a: Any) -> Crossing:
        """From the adjoint at the end of the panel."""
        if isinstance(panel.start, float) and is_readable(panel.values) and is_readable(a):
            compiled = None if self.kernel is None else self._compiled(panel, a)
            return compiled or self._refined(panel, a, HALVINGS)
        passes = UNREAD_PASSES if self.passes is None else self.passes
        found = cross_at_once(
            self.linearize, self.parameters, node_times(panel, self.jumps), panel.values, a,
            panel.length, (self.rtol, self.atol), Rules.like(panel.values), passes, namespace(a),
        )  # fmt: skip
        return _crossed(found, panel, found.checks[4], found.checks[2])

    def _compiled(self, panel: Panel, a: Any) -> Crossing | None:
        """By the compiled program, at more nodes if need be; None where it does not do."""
        assert self.kernel is not None
        m = max(panel.values.shape[0], FEWEST_COMPILED)
        while m <= MOST_NODES:
            panel = panel.part(0.0, 1.0, m)
            times, rules = node_times(panel, self.jumps), Rules.like(panel.values)
            tolerances = self.rtol, self.atol
            found = self.kernel(times, panel.values, a, panel.length, tolerances, rules)
            if found is None or not found.is_solved():
                break
            *_, share, decay, tail, estimate, rough = on_host(found.checks).tolist()
            if decay <= 1 and estimate <= least(self.rtol):
                whole = norm_of(found.parameters[0], namespace(a))
                rough *= whole if rough > 10 * least(self.rtol) else 0.0
                return _crossed(found, panel, tail, share)._replace(rough=rough)
            m = 2 * m - 1
        return None

    def _refined(self, panel: Panel, a: Any, halvings: int) -> Crossing:
        """With more nodes, in halves, or by steps, until the equation is solved."""
        found, spent, resolved = self.at_enough_nodes(panel, a)
        panel, solved = found.panel, found.left <= found.limit
        if resolved or (solved and not halvings and not self.strict):
            return self._crossing(found._replace(statistics=spent))
        if halvings and (not self.strict if solved else found.left <= HOPELESS):
            m = panel.values.shape[0]
            late = self._refined(panel.part(0.5, 1.0, m), a, halvings - 1)
            early = self._refined(panel.part(0.0, 0.5, m), late.start, halvings - 1)
            crossing = _joined(early, late)
        else:
            crossing = self.step(panel, a)
        return crossing._replace(statistics=crossing.statistics + spent)

    def at_enough_nodes(self, panel: Panel, a: Any) -> tuple[_Solution, Statistics, bool]:
        """The equation solved at as many nodes as it takes, and whether they resolve it."""
        spent = Statistics()
        while True:
            found = self._solve(panel, a)
            spent = spent + found.statistics
            m, solved = panel.values.shape[0], found.left <= found.limit
            resolved = solved and decay_ratio(found.a, self.rtol, self.atol) <= 1
            if resolved or not solved or m >= MOST_NODES:
                return found, spent, resolved
            panel = panel.part(0.0, 1.0, 2 * m - 1)

    def with_outputs(
        self, panel: Panel, end: Any, cotangents: Sequence[Any]
    ) -> tuple[Crossing, Sequence[Any]] | None:
        """Across a panel with outputs inside, with f at these; None where it does not do."""
        if not (is_readable(panel.values) and is_readable(end)):
            return None
        return across_outputs(self, panel, end, cotangents)

    def _solve(self, panel: Panel, end: Any) -> _Solution:
        """The adjoint at the nodes, from one evaluation of f there."""
        m = panel.values.shape[0]
        value, pull = self.linearize(node_times(panel, self.jumps), panel.values)
        real = not namespace(end).isdtype(end.dtype, "complex floating")
        if 0 < prod(end.shape) <= FEW and real:
            direct = solved_directly(pull, end, panel.length, m)
            if direct is not None:
                counts = Statistics(evaluations=m, newton=prod(end.shape))
                return _Solution(panel, direct[0], value, pull, 0.0, 0.0, direct[1], counts)
        matrix = integration_matrix(m, "last") / 2
        return self.iterated(panel, value, pull, namespace(end).stack([end] * m), matrix)

    def iterated(
        self, panel: Panel, value: Any, pull: Pull, constant: Any, numbers: Any
    ) -> _Solution:
        """Solve a = constant + length numbers J^T a by GMRES."""
        xp, m = namespace(constant), constant.shape[0]
        matrix = constant_like(numbers, constant)

        def integrated(a: Any) -> Any:
            return panel.length * xp.tensordot(matrix, pull(a, False)[0], axes=1)

        passes = PASSES if self.passes is None else self.passes
        right = integrated(constant)
        if not all_finite(right):  # the steps will say what it is
            return _Solution(panel, right, value, pull, inf, 0.0, 0.0, Statistics(m, newton=1))
        unit = unit_of(constant, right, self.rtol, self.atol, xp)
        length = float(xp.linalg.vector_norm(right / unit))
        limit = prod(right.shape) ** 0.5 / (10 * length) if length else 1.0
        more, left, count = gmres(
            lambda a: a - integrated(a * unit) / unit, right / unit, limit, passes
        )
        norm = xp.linalg.vector_norm
        share = left * norm(right) / xp.where(norm(constant) > 0, norm(constant), 1.0)
        if float(share) <= 50 * float(limits(constant).eps):
            left = 0.0  # all that rounding allows
        counts = Statistics(evaluations=m, newton=count + 1)
        return _Solution(panel, constant + unit * more, value, pull, left, limit, share, counts)

    def _crossing(self, found: _Solution) -> Crossing:
        panel, pull, counts = found.panel, found.pull, found.statistics
        rough, terms, slopes = 0.0, ((), ()), (found.value[0, ...], found.value[-1, ...])
        if self.parameters:
            integral = self.quadrature(panel, found.a, (found.value, pull))
            terms, slopes, state, more, rough = integral
            counts = counts + Statistics(evaluations=more)
        else:
            state = self.quadrature.of_state(panel, found.a, pull)
        tail = found.tail(state)[0]
        return Crossing(found.a[0, ...], terms, slopes, tail, found.share, counts, rough)


class _Solution(NamedTuple):
    """The collocated adjoint of a panel: the part of the first residual that is left, how much of
    it may be, and the residual relative to the adjoint.
    """

    panel: Panel
    a: Any
    value: Any
    pull: Pull
    left: Any
    limit: float
    share: Any
    statistics: Statistics

    def tail(self, state: Any) -> tuple[Any, float]:
        """The relative error of the adjoint, from the distances (2, ...) of the rules for its
        integral, and by what these fall at kinks; 0 where there are none.
        """
        xp, tail = namespace(self.a), coefficient_tail(self.a)
        nodes = np.reshape(on_host(self.a), (self.a.shape[0], -1))
        size = np.linalg.norm(nodes, axis=1).max() or 1.0
        first, second = (norm_of([state[k, ...]], xp) / size for k in (0, 1))
        if first <= 100 * float(limits(self.a).eps):
            return tail, 0.0
        fall = fall_at_kinks(first, second)
        error = xp.asarray(first * fall, dtype=tail.dtype, device=device(tail))
        return xp.maximum(tail, error), fall


def _crossed(found: AtOnce, panel: Panel, tail: Any, residual: Any) -> Crossing:
    counts = Statistics(evaluations=panel.values.shape[0], newton=found.passes + 1)
    return Crossing(found.start, found.parameters, found.slopes, tail, residual, counts)


def _joined(early: Crossing, late: Crossing) -> Crossing:
    """Two neighbouring parts as one."""
    slopes = None
    if early.slopes is not None and late.slopes is not None:
        slopes = early.slopes[0], late.slopes[1]
    xp = namespace(early.start)
    total, gap = accumulated(early.parameters, late.parameters)
    return Crossing(
        early.start,
        (total, gap),
        slopes,
        xp.maximum(early.tail, late.tail),
        max(early.residual, late.residual),
        early.statistics + late.statistics,
        early.rough + late.rough,
    )


def at_one_node(linearize_nodes: Linearize) -> Linearize:
    """The linearization at a point, from that at nodes."""

    def linearize(t: Any, y: Any) -> tuple[Any, Pull]:
        xp = namespace(y)
        t = xp.stack([t]) if hasattr(t, "shape") else constant_like([t], xp.abs(y))
        value, pull = linearize_nodes(t, xp.stack([y]))

        def pull_one(a: Any, parameters: bool) -> tuple[Any, tuple[Any, ...]]:
            state, found = pull(xp.stack([a]), parameters)
            return state[0, ...], found

        return value[0, ...], pull_one

    return linearize
