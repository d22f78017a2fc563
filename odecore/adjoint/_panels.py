"""Recording a trajectory by its values at Chebyshev points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from odecore._array import is_readable, limits, namespace
from odecore._flags import require_flags
from odecore._step_counts import require_one_way
from odecore._times import are_floats, read_times, require_monotone
from odecore._tolerances import given_tolerances
from odecore.adjoint._backward_options import read_times_inside
from odecore.adjoint._budget import budget, within
from odecore.adjoint._nodes import COUNTS, FEW, NodeChoice, panel_ends, times_inside
from odecore.adjoint._one_array import one_array
from odecore.adjoint._step_ends import equal_steps, landing_grid, most_steps
from odecore.interpolation import Interpolant, chebyshev_points, decay_ratio
from odecore.solve import Statistics, Status, Trajectory, solve_ivp

__all__ = ["FEWEST", "Panel", "record_panels"]

UNREAD = 17  # nodes where values can not be looked at
HALVINGS = 4  # of an interval in compiled steps
FEWEST = 3  # outputs inside of a panel that cost more one by one


@dataclass(frozen=True, eq=False)
class Panel:
    """The trajectory between two times, by its values at Chebyshev points.

    Parameters
    ----------
    start, end : float or 0-d array
        In the direction of integration; what can be read at no cost becomes a float.
    values : (m, ...) array
        States at the m points of the second kind from start to end; both ends are nodes.
    is_last : bool
        Whether `end` is an output time; panels in between divide the interval to it.
    tail : float, optional
        Size of the last Chebyshev coefficients in units of the tolerance, if values may be read:
        above 1 the nodes do not resolve the trajectory to it, and no gradient along it is better.
    outputs : tuple of float, optional
        Normalised times of the output times inside, in order.
    """

    start: Any
    end: Any
    values: Any
    is_last: bool = True
    tail: float | None = None
    outputs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            t = getattr(self, name)
            if not isinstance(t, float) and (not hasattr(t, "shape") or is_readable(t)):
                object.__setattr__(self, name, float(t))

    @property
    def length(self) -> Any:
        """Signed length in time."""
        return self.end - self.start

    def part(self, first: float, last: float, m: int) -> Panel:
        """The interpolant from `first` to `last`, normalised times, at `m` nodes of its own."""
        if (first, last, m) == (0.0, 1.0, self.values.shape[0]):
            return self
        values = Interpolant(self.values, (0.0, 1.0))(chebyshev_points(m, interval=(first, last)))
        ends = {0.0: self.start, 1.0: self.end}
        start, end = (ends.get(s, self.time(s)) for s in (first, last))
        outputs = self.outputs if (first, last) == (0.0, 1.0) else ()  # of all of it
        return Panel(start, end, values, self.is_last and last == 1.0, outputs=outputs)

    def divided(self) -> Iterator[Panel]:
        """Panels that end at the outputs, with as many nodes each, from the last to the first."""
        m, end = self.values.shape[0], 1.0
        for start in (*reversed(self.outputs), 0.0):
            yield replace(self.part(start, end, m), is_last=self.is_last or end < 1.0)
            end = start

    def time(self, s: float) -> Any:
        """From normalised time `s` in [0, 1] to time; inside, not to an end by rounding."""
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
    nodes: int | None = None,
    memory: float | None = None,
    rtol: Any = None,
    atol: Any = None,
    norm: Callable[[Any], Any] | None = None,
    steps: int | Sequence[int] | None = None,
    step_size: float | None = None,
    inside: bool = False,
    **options: Any,
) -> tuple[Trajectory, list[Panel]]:
    """Integrate forward and keep the states at Chebyshev points.

    Parameters
    ----------
    fun, y0
        As for `odecore.solve.solve_ivp`; `y0` an array.
    times : (n,) sequence
        Output times, the first that of `y0`; n >= 2.
    nodes : int, optional
        Chebyshev points of the second kind in each interval between output times, at least 2. By
        default as many as the tolerance asks for: of the nested grids with 5, 9, 17 and 33 points
        the first whose last two Chebyshev coefficients are within the tolerance; where 33 are not
        enough, the interval is divided into panels. Given steps have no tolerance: as many as it
        takes to resolve what they do, seen where a step prolonged to the end of the next one misses
        its state. 17 where values may not be read.
    memory : int or infinity, optional
        A budget in bytes for the states at the nodes. Where they need more, every second node is
        dropped; the `tail` of the panels says what it costs.
    rtol, atol, norm : optional
        Of adaptive steps and of the choice of nodes; by default 1e-6, 1e-9 and the root mean
        square. In given steps of the choice of nodes only, and by default as said there.
    steps : int or sequence of int, optional
        Equal steps in each interval between output times, or for each of them, instead of adaptive
        ones.
    step_size : float, optional
        The largest of equal steps.
    inside : bool, optional
        Where nodes are chosen, let panels have output times inside, if there are about as many of
        these as of steps: `collocated` crosses all of them at once.
    **options
        Further options of `solve_ivp`, but for `t_eval`, events, dense output and `throw`.

    Returns
    -------
    Trajectory
        At the ends of all panels and at the nodes between; with `inside` at the output times.
    list of Panel
        In order; each begins where the one before ends.

    Raises
    ------
    ValueError
        If there are fewer than 2 times or nodes, if 2 nodes for each panel are beyond the memory
        budget or that is no positive whole number, or as `solve_ivp` does.
    TypeError
        If `y0` is no single array, or as `solve_ivp` does.
    SolveError
        If the forward solve fails.

    Notes
    -----
    States at nodes come from dense output, which has the method's full order. Where the nodes are
    chosen, the stages of at most 64 steps are kept at a time; with compiled steps (`kernels`) the
    states at the largest grid are, and each interval is one panel or is halved.
    """
    require_flags(inside=inside)
    times = read_times(times, "times")
    if len(times) < 2:
        raise ValueError(f"`times` must hold at least 2 times, got {len(times)}")
    refused = [name for name in ("events", "dense", "throw", "t_eval") if name in options]
    if refused:
        raise ValueError(f"{', '.join(refused)} can not be given: a panel is a whole interval")
    y0, memory = one_array(y0), budget(memory)
    given = given_tolerances({"rtol": rtol, "atol": atol}, y0)
    rtol, atol = given.get("rtol"), given.get("atol")
    reads = are_floats(times)
    require_monotone(times)
    grid = options.pop("grid", None)
    way, most = require_one_way(steps, step_size, grid), most_steps(options)
    if way is None:
        options.update(rtol=rtol, atol=atol, norm=norm)
    elif way == "grid" or reads:
        equal = grid is None
        options["grid"] = landing_grid(times, steps, step_size, most) if equal else grid
    read_times_inside(options)
    jumps = options.get("jump_at") or []
    choice = None
    if reads and is_readable(y0):
        choice = NodeChoice(times, rtol, atol, norm, jumps, way is not None, inside)
    chosen = choice if nodes is None else None
    found = _thinned(fun, times, y0, chosen, options) if chosen else None
    if found is not None:
        trajectory, panels = found
    elif chosen:
        options.pop("kernels", None)
        span = float(times[0]), float(times[-1])
        trajectory = solve_ivp(fun, span, y0, t_eval=times, dense=chosen, **options)
        panels = [Panel(*found[:6]) for found in chosen.found]
    else:
        count = UNREAD if nodes is None else nodes
        s = [float(x) for x in chebyshev_points(count, interval=(0.0, 1.0))]
        if way in ("steps", "step_size") and not reads:
            grid = equal_steps(steps, step_size, times[1] - times[0], most)
            trajectory, panels = _in_normalised_time(fun, times, y0, s, grid, options)
        else:
            ends = panel_ends(times, jumps) if jumps else times
            trajectory, panels = _at_nodes(fun, times, ends, y0, s, options)
    panels = within(memory, panels)
    if choice and (memory, nodes) != (None, None):
        panels = _looked_at(panels, choice)
    if not (inside and chosen):
        trajectory = replace(trajectory, t=_times(panels), y=_values(panels))
    return trajectory, panels


def _at_nodes(
    fun: Any,
    times: Sequence[Any],
    ends: Sequence[Any],
    y0: Any,
    s: Sequence[float],
    options: dict[str, Any],
    inside: bool = False,
) -> tuple[Trajectory, list[Panel]]:
    """From end to end the states at the nodes; the trajectory is that at these, or, if output times
    may be inside of panels, at the output times.
    """
    points = [ends[0]]
    for a, b in pairwise(ends):
        points += [a + (b - a) * x for x in s[1:-1]] + [b]
    span = points[0], points[-1]
    if inside:
        every = sorted({*points, *times}, reverse=times[-1] < times[0])
        row = {t: k for k, t in enumerate(every)}
        trajectory = solve_ivp(fun, span, y0, t_eval=every, **options)
        xp = namespace(trajectory.y)

        def at(some: Sequence[float]) -> Any:
            return xp.stack([trajectory.y[row[t], ...] for t in some])

        values, trajectory = at(points), replace(trajectory, t=np.asarray(times), y=at(times))
    else:
        trajectory = solve_ivp(fun, span, y0, t_eval=points, **options)
        values = trajectory.y
    last, at_output = len(s) - 1, () if ends is times else frozenset(times)
    return trajectory, [
        Panel(
            a, b, values[last * i : last * (i + 1) + 1, ...], ends is times or b in at_output,
            outputs=times_inside(times, a, b) if inside else (),
        )
        for i, (a, b) in enumerate(pairwise(ends))
    ]  # fmt: skip


def _thinned(
    fun: Any,
    times: Sequence[float],
    y0: Any,
    choice: NodeChoice,
    options: dict[str, Any],
) -> tuple[Trajectory, list[Panel]] | None:
    """The largest grid everywhere, from compiled steps, and of it what is needed.

    A panel is an interval, or where there are many outputs all of the time. Where its grid is not
    enough it is halved, or divided at outputs that are far apart, and all is solved again; None
    where that does not end, or steps are not compiled, or are given, with no tolerance to be halved
    for and many outputs.
    """
    many, given = choice.inside and len(times) - 2 >= FEWEST, "grid" in options
    if not options.get("kernels") or (many and given):
        return None
    s = [float(x) for x in chebyshev_points(COUNTS[-1], interval=(0.0, 1.0))]
    ends = panel_ends([times[0], times[-1]] if many else times, choice.jumps)
    for _ in range(1 if given else HALVINGS):
        trajectory, panels = _at_nodes(fun, times, ends, y0, s, options, choice.inside)
        panels = [_fewest(panel, choice) for panel in panels]
        middles = [p.time(0.5) for p in panels if not (p.tail is not None and p.tail <= 1)]
        if not middles:
            return trajectory, panels
        far = trajectory.statistics.accepted > FEW * (len(times) - 1)
        ends = panel_ends(ends, times if many and far else middles)
        many = False
    return None


def _fewest(panel: Panel, choice: NodeChoice) -> Panel:
    """The panel with as few of its nodes as the tolerance asks for."""
    most = panel.values.shape[0] - 1
    for m in COUNTS:
        values = panel.values[:: most // (m - 1), ...]
        tail = float(decay_ratio(values, *choice.least))
        if tail <= 1:
            break
    return replace(panel, values=values, tail=tail)


def _in_normalised_time(
    fun: Any,
    times: Sequence[Any],
    y0: Any,
    s: Sequence[float],
    grid: Sequence[float],
    options: dict[str, Any],
) -> tuple[Trajectory, list[Panel]]:
    """Each interval in its normalised time, so that times need not be read."""
    if options.get("jump_at") is not None:
        raise ValueError("`jump_at` needs times that can be read; keep the times on the host")
    panels, statistics, y = [], Statistics(), y0
    for a, b in pairwise(times):
        panel = Panel(a, b, None)

        def field(x: float, z: Any, panel: Panel = panel) -> Any:
            return panel.length * fun(panel.time(x), z)

        part = solve_ivp(field, (0.0, 1.0), y, t_eval=s, grid=grid, **options)
        panels.append(Panel(a, b, part.y))
        statistics = statistics + part.statistics
        y = part.y[-1, ...]
    return Trajectory(None, None, Status.SUCCESS, statistics), panels


def _looked_at(panels: list[Panel], choice: NodeChoice) -> list[Panel]:
    """Panels with the tails of the nodes that they have, by whatever choice."""
    tolerances = [found.accuracy for found in choice.found] or [choice.least] * len(panels)
    return [
        replace(panel, tail=float(decay_ratio(panel.values, *accuracy)))
        for panel, accuracy in zip(panels, tolerances, strict=True)
    ]


def _times(panels: Sequence[Panel]) -> Any:
    """The times of all nodes, in order."""
    times = [panels[0].start]
    for panel in panels:
        s = chebyshev_points(panel.values.shape[0], interval=(0.0, 1.0))
        times += [*(panel.time(float(x)) for x in s[1:-1]), panel.end]
    arrays = [t for t in times if hasattr(t, "shape")]
    return namespace(arrays[0]).stack(times) if arrays else np.array(times, dtype=np.float64)


def _values(panels: Sequence[Panel]) -> Any:
    """The states at all nodes, in order."""
    parts = [panels[0].values, *(panel.values[1:, ...] for panel in panels[1:])]
    return namespace(parts[0]).concat(parts) if len(parts) > 1 else parts[0]
