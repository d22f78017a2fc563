"""The restored adjoint: backwards along an interpolant of the forward trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from numbers import Integral, Real
from typing import Any

from array_api_compat import device

from odecore._array import is_readable, limits, namespace
from odecore.adjoint._equation import adjoint_field
from odecore.adjoint._gradients import Gradients
from odecore.interpolation import (
    Interpolant,
    chebyshev_points,
    clenshaw_curtis_weights,
    coefficient_tail,
)
from odecore.solve import Statistics, Status, Trajectory, solve_ivp

__all__ = ["Panel", "record_panels", "restored"]


@dataclass(frozen=True)
class Panel:
    """The trajectory between two output times, by its values at Chebyshev points.

    Parameters
    ----------
    start, end : float or 0-d array
        Output times, in the direction of integration.
    values : (m, ...) array
        States at the m points of the second kind from start to end; both ends are nodes.
    """

    start: Any
    end: Any
    values: Any

    def time(self, s: float) -> Any:
        """From normalised time in [0, 1] to time; inside, not to an end by rounding."""
        time = self.start + (self.end - self.start) * s
        if isinstance(time, float) and 0.0 < s < 1.0:
            low, high = sorted((self.start, self.end))
            gap = float(limits(self.values).eps) * max(abs(low), abs(high))
            time = min(max(time, low + gap), high - gap) if high - low > 2 * gap else time
        return time


def record_panels(
    fun: Callable[[Any, Any], Any],
    times: Sequence[Any],
    y0: Any,
    /,
    *,
    nodes: int = 17,
    steps: int | None = None,
    step_size: float | None = None,
    **options: Any,
) -> tuple[Trajectory, list[Panel]]:
    """Integrate forward and keep the states at the Chebyshev points of each interval.

    Parameters
    ----------
    fun, y0
        As for `odecore.solve.solve_ivp`.
    times : (n,) sequence
        Output times, the first that of `y0`; n >= 2.
    nodes : int, optional
        Chebyshev points of the second kind in each interval between output times, at least 2.
        Their states come from dense output, which has the method's full order.
    steps : int, optional
        Equal steps in each interval between output times, instead of adaptive ones.
    step_size : float, optional
        The largest of equal steps.
    **options
        Further options of `solve_ivp`, but for events, dense output and `throw`.

    Returns
    -------
    Trajectory
        At all nodes. Every (nodes-1)-th state belongs to an output time.
    list of Panel
        One for each interval between output times.

    Raises
    ------
    ValueError
        If there are fewer than 2 times or nodes, or as `solve_ivp` does.
    SolveError
        If the forward solve fails.
    """
    if len(times) < 2:
        raise ValueError(f"`times` must hold at least 2 times, got {len(times)}")
    refused = [name for name in ("events", "dense", "throw", "t_eval") if name in options]
    if refused:
        raise ValueError(f"{', '.join(refused)} can not be given: a panel is a whole interval")
    s = [float(x) for x in chebyshev_points(nodes, interval=(0.0, 1.0))]
    intervals = list(pairwise(times))
    readable = all(not hasattr(t, "shape") or is_readable(t) for t in times)
    if steps is not None or step_size is not None:
        if not readable:
            return _recorded_in_steps(fun, intervals, y0, s, steps, step_size, options)
        options["grid"] = [float(times[0])]
        for a, b in intervals:
            parts = _grid(steps, step_size, b - a)[1:-1]
            options["grid"] += [float(a + (b - a) * x) for x in parts] + [float(b)]
    outputs = [times[0]]
    for a, b in intervals:
        outputs += [a + (b - a) * x for x in s[1:-1]] + [b]
    trajectory = solve_ivp(fun, (outputs[0], outputs[-1]), y0, t_eval=outputs, **options)
    last = nodes - 1
    cuts = range(0, last * len(intervals), last)
    return trajectory, [
        Panel(a, b, trajectory.y[i : i + nodes, ...])
        for (a, b), i in zip(intervals, cuts, strict=True)
    ]


def _recorded_in_steps(
    fun: Callable[[Any, Any], Any],
    intervals: Sequence[tuple[Any, Any]],
    y0: Any,
    s: Sequence[float],
    steps: Any,
    step_size: Any,
    options: dict[str, Any],
) -> tuple[Trajectory, list[Panel]]:
    """Each interval in its normalised time, so that times need not be read."""
    if options.get("jump_at") is not None:
        raise ValueError("`jump_at` needs times that can be read; keep the times on the host")
    panels, times, statistics = [], [intervals[0][0]], Statistics()
    y = y0
    for a, b in intervals:
        panel = Panel(a, b, None)

        def field(x: float, z: Any, panel: Panel = panel) -> Any:
            return (panel.end - panel.start) * fun(panel.time(x), z)

        grid = _grid(steps, step_size, b - a)
        part = solve_ivp(field, (0.0, 1.0), y, t_eval=s, grid=grid, **options)
        panels.append(Panel(a, b, part.y))
        times += [*map(panel.time, s[1:-1]), b]
        statistics = statistics + part.statistics
        y = part.y[-1, ...]
    xp = namespace(y)
    values = [panels[0].values, *(panel.values[1:, ...] for panel in panels[1:])]
    t = namespace(times[0]).stack(times)
    return Trajectory(t, xp.concat(values), Status.SUCCESS, statistics), panels


def _grid(steps: Any, step_size: Any, length: Any) -> list[float]:
    """Equal steps from 0 to 1."""
    if steps is not None and step_size is not None:
        raise ValueError("give one of `steps` and `step_size`, got both")
    if step_size is not None:
        if hasattr(length, "shape") and not is_readable(length):
            raise ValueError(
                "`step_size` needs times that can be read, got times on an accelerator: give "
                "`steps`, or keep the times on the host"
            )
        if not isinstance(step_size, Real) or not 0 < float(step_size) < float("inf"):
            raise ValueError(f"`step_size` must be a positive finite number, got {step_size!r}")
        steps = max(1, ceil(abs(float(length)) / float(step_size) * (1 - 1e-12)))
    if not isinstance(steps, Integral) or steps is True or int(steps) < 1:
        raise ValueError(f"`steps` must be a positive int, got {steps!r}")
    return [k / int(steps) for k in range(int(steps) + 1)]


def restored(
    vjp: Callable[[Any, Any, Any], Any],
    panels: Sequence[Panel],
    cotangents: Sequence[Any],
    /,
    *,
    vjp_parameters: Callable[[Any, Any, Any], tuple[Any, ...]] | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    **options: Any,
) -> Gradients:
    """Integrate the adjoint equation backwards along the recorded panels.

    Parameters
    ----------
    vjp : callable
        `vjp(t, y, a)` returns (df/dy)^T a, of the shape of `y`.
    panels : sequence of Panel
        From `record_panels`, in forward order.
    cotangents : (len(panels) + 1,) sequence of arrays
        dL/dy at each output time, the initial one included.
    vjp_parameters : callable, optional
        `vjp_parameters(t, y, a)` returns the tuple of (df/dtheta)^T a, one array for each group of
        parameters. It is called at the nodes only.
    steps : int, optional
        Equal steps for each panel.
    step_size : float, optional
        Largest step, in units of t.
    **options
        Further options of `solve_ivp`: method, tolerances; `first_step`, `min_step`, `max_step`,
        `step_at` and `jump_at` in units of t.

    Returns
    -------
    Gradients

    Raises
    ------
    ValueError
        If there is no panel, or not one cotangent for each output time.
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
    """
    if not panels:
        raise ValueError("`panels` must hold at least one panel, got none")
    if len(cotangents) != len(panels) + 1:
        raise ValueError(
            f"`cotangents` must hold one array for each of the {len(panels) + 1} output times, got "
            f"{len(cotangents)}"
        )
    lengths: dict[str, Any] = {
        k: options.pop(k) for k in ("first_step", "min_step", "max_step") if k in options
    }
    moments: dict[str, Any] = {k: options.pop(k) for k in ("step_at", "jump_at") if k in options}
    a = cotangents[-1]
    xp = namespace(a)
    tails: list[Any] = []
    total: tuple[Any, ...] = ()
    statistics = Statistics()
    for panel, cotangent in zip(reversed(panels), reversed(cotangents[:-1]), strict=True):
        m = panel.values.shape[0]
        s = [float(x) for x in chebyshev_points(m, interval=(1.0, 0.0))]
        length = panel.end - panel.start
        if steps is not None or step_size is not None:
            options["grid"] = _grid(steps, step_size, length)[::-1]
        for name, value in lengths.items():
            options[name] = value / abs(length)
        for name, values in moments.items():
            options[name] = [(value - panel.start) / length for value in values]
        state = Interpolant(panel.values, (0.0, 1.0))
        field = adjoint_field(vjp, panel.time, state, length)
        backward = solve_ivp(field, (1.0, 0.0), a, t_eval=s, **options)
        statistics = statistics + backward.statistics
        tails.append(coefficient_tail(backward.y))
        if vjp_parameters is not None:
            sums = []
            # At a jump, the node at an end belongs to this panel.
            jumps = list(moments.get("jump_at", ()))
            low, high = (2**-53 * (end in jumps) for end in (panel.start, panel.end))
            for k, weight in enumerate(clenshaw_curtis_weights(m)):
                y_k, a_k = panel.values[m - 1 - k, ...], backward.y[k, ...]
                terms = vjp_parameters(panel.time(min(max(s[k], low), 1 - high)), y_k, a_k)
                scale = length * float(weight / 2)
                scaled = tuple(scale * term for term in terms)
                pairs = zip(total, scaled, strict=True)
                total = tuple(x + y for x, y in pairs) if total else scaled
                sums.append(_projections(terms, a))
            tails.append(coefficient_tail(xp.stack(sums)))
            statistics = statistics + Statistics(evaluations=m)
        a = backward.y[-1, ...] + cotangent
    tail = xp.max(xp.stack(tails))
    return Gradients(a, total, tail, statistics)


def _projections(terms: Sequence[Any], like: Any) -> Any:
    """One number for each group of parameters: its product with the vector cos(1), cos(2), ...

    Smooth in time where the group is, and, unlike a plain sum, not zero by a symmetry of the group.
    """
    xp = namespace(like)
    real = xp.abs(like).dtype
    numbers = []
    for term in terms:
        part = xp.real(term) if xp.isdtype(term.dtype, "complex floating") else term
        flat = xp.astype(xp.reshape(part, (-1,)), real)
        pattern = xp.cos(xp.arange(1, flat.shape[0] + 1, dtype=real, device=device(flat)))
        numbers.append(xp.sum(flat * pattern))
    return xp.stack(numbers)
