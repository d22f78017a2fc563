"""The restored adjoint: backwards along an interpolant of the forward trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from odecore._array import as_float, is_readable, namespace
from odecore._step_counts import require_one_way
from odecore._tolerances import given_tolerances
from odecore.adjoint._backward_options import require_backward_options, require_positive
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._linearization import Linearize, checked, node_by_node
from odecore.adjoint._nodes import Found, NodeChoice
from odecore.adjoint._panels import Panel
from odecore.adjoint._quadrature import MOST_NODES, Quadrature, accumulated
from odecore.adjoint._step_ends import ends_between, equal_steps, landing_grid, most_steps
from odecore.adjoint._sweep import Crossing, outputs_of, sweep
from odecore.adjoint._unit import in_their_unit, observing
from odecore.interpolation import Interpolant, chebyshev_points, coefficient_tail
from odecore.solve import Statistics, Trajectory, solve_ivp

__all__ = ["Stepping", "restored"]


def restored(
    linearize: Linearize,
    panels: Sequence[Panel],
    cotangents: Sequence[Any],
    /,
    *,
    linearize_nodes: Linearize | None = None,
    parameters: bool = True,
    batch: int | None = None,
    **options: Any,
) -> Gradients:
    """Integrate the adjoint equation backwards along the recorded panels.

    Parameters
    ----------
    linearize : callable
        `linearize(t, y)` returns f(t, y) and `pull(a, parameters)`, which returns (df/dy)^T a and,
        if asked for, the tuple of (df/dtheta)^T a, one array for each group of parameters. The
        convention of `jax.vjp`.
    panels : sequence of Panel
        From `record_panels`, in forward order.
    cotangents : sequence of arrays
        dL/dy at each output time, the initial one included.
    linearize_nodes : callable, optional
        The same for times (m,) and states (m, ...) at once, with parameters summed over the nodes;
        by default `linearize` at one node after another.
    parameters : bool, optional
        Whether the gradient of the parameters is wanted.
    batch : int, optional
        How many nodes are linearized at once for it; by default all of a panel, which keeps what
        so many evaluations of f save.
    **options
        Further options of `solve_ivp`, but for events, dense output, `t_eval` and `throw`: method,
        tolerances; `steps` for each interval between output times, one int or several in forward
        order, or `grid`, the ends of all steps, to which those of the panels are added;
        `step_size`, `first_step`, `min_step`, `max_step`, `step_at` and `jump_at` in units of t.

    Returns
    -------
    Gradients

    Raises
    ------
    ValueError
        If there is no panel, not one cotangent of the state's shape for each output time, or an
        option that a backward solve does not take.
    TypeError
        If there are other things than panels, arrays of another dtype, or unknown options.
    SolveError
        If the backward solve fails.

    Notes
    -----
    Interpolated reverse dynamic method, arXiv 2003.05271: y(t) comes from barycentric interpolation
    instead of integrating the state backwards, which would drift by a factor up to exp(LT). The
    second-kind nodes are used with the second-kind weights; the published implementation mixes the
    kinds, which loses the geometric convergence. Unlike the paper, dL/dtheta is not carried in the
    state of the backward solve: it is the Clenshaw-Curtis quadrature of (df/dtheta)^T a over the
    nodes, where the states are known without interpolation.

    The adjoint is linear in the cotangents, and no absolute tolerance of the state fits their size:
    it is solved in the unit of the largest entry of all cotangents, so that `atol` is relative to
    that entry and gradients are homogeneous, g(s w) = s g(w). A `norm`
    sees the adjoint in this unit; an `observe` sees it as it is, at times and with steps in units
    of t. Where a cotangent is not finite, all gradients are NaN.
    """
    require_backward_options(options, parameters=parameters)
    require_positive("batch", batch, "all nodes")
    require_one_way(*(options.get(name) for name in ("steps", "step_size", "grid")))
    known = outputs_of(panels)
    nodes = node_by_node(linearize) if linearize_nodes is None else checked(linearize_nodes)
    linearize = checked(linearize)
    options |= given_tolerances(options, known[1])
    options = _of_intervals(panels, options)

    def solve(cotangents: Sequence[Any], whole: Any) -> Gradients:
        across = Stepping(linearize, nodes, parameters, batch, observing(options, whole))
        return sweep(panels, cotangents, across)

    return in_their_unit(solve, cotangents, *known)


def _of_intervals(panels: Sequence[Panel], options: dict[str, Any]) -> dict[str, Any]:
    """The options, with the ends of the equal steps of an interval that is several panels, and of
    steps that are others in each.
    """
    equal = {k: options.get(k) for k in ("steps", "step_size")}
    several = isinstance(equal["steps"], Sequence)
    whole = all(panel.is_last for panel in panels) and not several
    if whole or all(value is None for value in equal.values()):
        return options
    ends = [panels[0].start]
    for panel in panels:
        ends += [*map(panel.time, panel.outputs), *([panel.end] if panel.is_last else [])]
    others = {k: v for k, v in options.items() if k not in equal}
    return {**others, "grid": landing_grid(ends, **equal, most=most_steps(options))}


class Stepping:
    """Crosses a panel by a solve of the adjoint equation."""

    def __init__(
        self,
        linearize: Linearize,
        linearize_nodes: Linearize,
        parameters: bool,
        batch: int | None,
        options: dict[str, Any],
    ) -> None:
        self.linearize, self.linearize_nodes = linearize, linearize_nodes
        self.parameters, self.batch = parameters, batch
        options = dict(options)
        self.equal = {k: options.pop(k, None) for k in ("steps", "step_size")}
        grid = options.pop("grid", None)
        lengths, times = ("first_step", "min_step", "max_step"), ("step_at", "jump_at")
        self.lengths = {k: options[k] for k in lengths if options.get(k) is not None}
        self.moments = {k: options[k] for k in times if options.get(k) is not None}
        jumps = self.moments.get("jump_at", ())
        self.ends = None if grid is None else ends_between(grid, jumps)
        self.options = {k: v for k, v in options.items() if k not in (*lengths, *times)}

    def __call__(self, panel: Panel, a: Any) -> Crossing:
        """From the adjoint at the end of the panel."""
        state = Interpolant(panel.values, (0.0, 1.0))

        def field(s: float, a: Any) -> Any:
            _, pull = self.linearize(panel.time(s), state(s))
            return -panel.length * pull(a, False)[0]

        options = self._normalised(panel)
        found, backward = self._solved(field, panel, a, options)
        parts = [(panel.part(p.end, p.start, p.values.shape[0]), p.values) for p in found]
        xp, given = namespace(a), "grid" in options
        tails = [coefficient_tail(p.values) for p in found if p.tail > 1 or not given]
        tail = xp.max(xp.stack(tails)) if tails else 0.0  # given steps are resolved as they are
        start, statistics = backward.y[-1, ...], backward.statistics
        if not self.parameters:
            return Crossing(start, ((), ()), None, tail, 0.0, statistics)
        rtol = 1e-6 if options.get("rtol") is None else options["rtol"]
        jumps = self.moments.get("jump_at", ())
        integral = Quadrature(self.linearize_nodes, jumps, self.batch, rtol)
        most = [4 * p.steps + 1 if given else MOST_NODES for p in found]
        crossed, sums = [], None
        for (part, y), m in zip(parts, most, strict=True):
            of_part = integral(part, xp.flip(y, axis=0), most=m, kinks=not given)
            sums = accumulated(sums, of_part.terms)
            crossed.append(of_part._replace(terms=((), ())))
        assert sums is not None  # there are parts
        slopes = crossed[0].slopes[0], crossed[-1].slopes[1]
        statistics = statistics + Statistics(sum(found.evaluations for found in crossed))
        rough = sum(found.rough for found in crossed)
        return Crossing(start, (sums[0], sums[1]), slopes, tail, 0.0, statistics, rough)

    def _solved(
        self, field: Any, panel: Panel, a: Any, options: dict[str, Any]
    ) -> tuple[list[Found], Trajectory]:
        """Solve across the panel: the adjoint on parts of it, in the order of time, at nodes."""
        span, given, m = (1.0, 0.0), "grid" in options, panel.values.shape[0]
        if not (is_readable(a) and is_readable(panel.values)):
            s = [float(x) for x in chebyshev_points(m, interval=span)]
            backward = solve_ivp(field, span, a, t_eval=s, **options)
            return [Found(*span, backward.y, True, inf, (), (), 0)], backward
        rtol, atol, norm = (options.get(k) for k in ("rtol", "atol", "norm"))
        choice = NodeChoice(span, rtol, atol, norm, options.get("jump_at", ()), given)
        backward = solve_ivp(field, span, a, t_eval=span, dense=choice, **options)
        return choice.found[::-1], backward

    def _normalised(self, panel: Panel) -> dict[str, Any]:
        """The options in the normalised time of a panel."""
        options = dict(self.options)
        for name, values in self.moments.items():
            options[name] = [(value - panel.start) / panel.length for value in values]
        if any(value is not None for value in self.equal.values()):
            most = most_steps(options)
            options["grid"] = equal_steps(**self.equal, length=panel.length, most=most)[::-1]
        elif self.ends is not None:
            _, *inside, _ = self.ends(panel.end, panel.start)
            middle = [(t - panel.start) / panel.length for t in inside]
            options["grid"] = ends_between(middle, options.get("jump_at", ()))(1.0, 0.0)
        for name, value in self.lengths.items():
            options[name] = as_float(value) / abs(panel.length)
        observe = options.get("observe")
        if observe is not None:

            def in_time(what: str, s: float, a: Any, h: float) -> None:
                t = panel.end if s == 1.0 else panel.time(s)
                observe(what, t, a, panel.length * h)

            options["observe"] = in_time
        return options
