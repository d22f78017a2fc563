"""How far a gradient is from that of the flow, found by a better one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from math import prod
from numbers import Real
from typing import Any

from odecore._array import all_finite, as_float, constant_like, largest, limits, namespace
from odecore._times import read_unordered
from odecore._tolerances import tolerance_like
from odecore.adjoint._backward_options import require_backward_options
from odecore.adjoint._collocation import Collocation, at_one_node
from odecore.adjoint._gradients import Gradients
from odecore.adjoint._linearization import Linearize, checked
from odecore.adjoint._panels import Panel, record_panels
from odecore.adjoint._quadrature import least, node_times, norm_of
from odecore.adjoint._sweep import outputs_of, sweep
from odecore.adjoint._unit import checked_cotangents, in_their_unit
from odecore.interpolation import decay_ratio, integration_matrix
from odecore.solve import Statistics

__all__ = ["Certificate", "certify"]

SHARPER = 1e-2  # tolerance of a reference, in units of that of the gradient or reference before
SWEEPS = 25
DIVERGED = 1e3  # growth of a correction at which sweeps are given up


@dataclass(frozen=True, eq=False)
class Certificate:
    """An estimate of the relative error of a gradient.

    Parameters
    ----------
    error : float
        Euclidean distance to the reference, relative to it: of dL/dy0 and of the gradient of all
        parameters together, the larger of those that are asked for. The cotangent of the initial
        time is no part of dL/dy0 here, because it is exact. Where the rest is smaller than
        atol / (100 rtol), in the unit of the largest entry of the other cotangents, which the
        reference does not know to rtol, its distance is relative to that.
    reference : Gradients
        The better gradient; it took its own evaluations.
    swept, stepped : int
        Panels whose trajectory was made better by sweeps over the nodes, and by smaller steps.
    """

    error: float
    reference: Gradients
    swept: int
    stepped: int


def certify(
    found: Gradients,
    linearize_nodes: Linearize,
    panels: Sequence[Panel],
    cotangents: Sequence[Any],
    /,
    *,
    rtol: Any = 1e-6,
    atol: Any = 1e-9,
    asked: Sequence[bool] | None = None,
    parameters: Sequence[Any] = (),
    jump_at: Sequence[float] = (),
    rounding: Any = 0.0,
    **stepping: Any,
) -> Certificate:
    """Estimate the error of a gradient against that of the exact flow.

    Parameters
    ----------
    found : Gradients
        By whatever adjoint.
    linearize_nodes, panels, cotangents, jump_at
        As for `collocated`, with the states that `found` belongs to or others of that accuracy.
    rtol, atol : float or array, optional
        Tolerances with which `found` was computed; atol in the unit of the largest entry of all
        cotangents, as for the adjoint.
    asked : sequence of bool, optional
        Of y0 and of each parameter, whether its gradient is asked for: the error is that of these;
        by default of all.
    parameters : sequence of arrays, optional
        The parameters: by their size a gradient is known that is zero but for rounding, and has no
        error.
    rounding : float, optional
        Relative error of what `linearize_nodes` gives, where that is above the rounding of the
        states, as of products in half precision: the reference is not asked for more.
    **stepping
        Further options of `solve_ivp`, where panels are solved in smaller steps.

    Returns
    -------
    Certificate
        For the cotangents as they are: that dL/dy was computed from inexact states is not seen.

    Raises
    ------
    ValueError
        If `asked` is not for y0 and each parameter, or for none of them, or for an option or
        tolerance that a backward solve does not take.
    TypeError
        If `found` are no Gradients, or there are other things than panels.
    SolveError
        If the reference can not be computed.

    Notes
    -----
    The trajectory is made better first: on twice as many nodes, z <- z_start + S f(z) is swept over
    each panel, each sweep one evaluation at all nodes, until it is a hundred times as good as the
    tolerance; where sweeps diverge or the nodes do not resolve the solution, the panel is solved
    again with a hundredth of the tolerance. The adjoint equation is then collocated along it, and
    stepped through where nodes do not resolve it: at a kink of f its derivative jumps. The
    distance to this gradient contains the errors of state, interpolation, adjoint and quadrature at
    once, with their amplification, and nothing that is not there: an estimate, not a bound. A
    distance within the tolerance of the reference may be the reference's own error, as where steps
    land on many outputs and are better than their tolerance: then all is made a hundred times
    better again, down to rounding.
    """
    require_backward_options(stepping)
    if not isinstance(found, Gradients):
        raise TypeError(f"`found` must be Gradients of an adjoint, got {type(found).__name__}")
    if not isinstance(rounding, Real) or not 0 <= as_float(rounding) < 1:
        raise ValueError(f"`rounding` must be a number with 0 <= rounding < 1, got {rounding!r}")
    outputs, jump_at = outputs_of(panels), read_unordered(jump_at, "jump_at")
    rtol, atol = (tolerance_like(*one, outputs[1]) for one in (("rtol", rtol), ("atol", atol)))
    asked = _asked(asked, len(found.parameters))
    for one in parameters if isinstance(parameters, Iterable) else [parameters]:
        if not hasattr(one, "shape"):
            raise TypeError(f"`parameters` must be a sequence of arrays, got {one!r}")
    cotangents = checked_cotangents(cotangents, *outputs)
    resolved = _resolved(cotangents[1:], rtol, atol)
    lowest = max(100 * float(limits(found.y0).eps), float(rounding))
    xp, statistics = namespace(found.y0), Statistics()
    noise = rounding and rounding * largest(xp.max(xp.abs(p.values)) for p in panels)  # of states
    while True:
        rtol, atol = SHARPER * rtol + rounding, SHARPER * atol
        improved = _Improvement(linearize_nodes, rtol, atol + noise, jump_at, stepping)
        better = improved(panels)
        across = Collocation(
            linearize_nodes, bool(found.parameters), _steppable(rtol, found.y0),
            atol + rounding, None, jump_at, None, stepping, strict=True,
        )  # fmt: skip
        reference = in_their_unit(
            lambda w, _: sweep(better, w, across),  # noqa: B023
            cotangents,
            *outputs,
        )
        statistics = statistics + reference.statistics + improved.statistics
        mine, theirs = (replace(g, y0=g.y0 - cotangents[0]) for g in (found, reference))
        error = _error(mine, theirs, asked, panels[0].values[0, ...], parameters, resolved)
        if not (error <= least(rtol) and SHARPER * least(rtol) >= lowest):
            break
    reference = replace(reference, statistics=statistics)
    return Certificate(error, reference, improved.swept, improved.stepped)


def _asked(asked: Any, parameters: int) -> list[bool]:
    """Of y0 and each parameter, whether its gradient is asked for."""
    if asked is None:
        return [True] * (1 + parameters)
    if not isinstance(asked, Iterable) or isinstance(asked, str | bytes):
        raise TypeError(f"`asked` must be a sequence of bool, got {asked!r}")
    told = list(asked)
    if len(told) != 1 + parameters or not any(told):
        raise ValueError(
            f"`asked` must tell of y0 and each of the {parameters} parameters whether its gradient "
            f"is asked for, and one must be, got {told}"
        )
    return told


def _error(
    found: Gradients,
    reference: Gradients,
    asked: Sequence[bool],
    y0: Any,
    parameters: Sequence[Any],
    least_y0: float,
) -> float:
    """The larger relative distance, of the state and of the parameters, if asked for."""
    errors = [_relative([found.y0], [reference.y0], least_y0)] if asked[0] else []
    if any(asked[1:]) and not all(g.is_rounding(y0, parameters) for g in (found, reference)):
        mine, theirs = (list(compress(g.parameters, asked[1:])) for g in (found, reference))
        errors.append(_relative(mine, theirs, 0.0))
    return largest(errors)


def _relative(found: Sequence[Any], wanted: Sequence[Any], smallest: float) -> float:
    """The distance relative to what is wanted or the smallest size, or as it is if that is zero."""
    xp = namespace(wanted[0])
    gap = norm_of([x - y for x, y in zip(found, wanted, strict=True)], xp)
    return float(gap / (max(norm_of(wanted, xp), smallest) or 1.0))


def _resolved(cotangents: Sequence[Any], rtol: Any, atol: Any) -> float:
    """The norm of an adjoint whose entries a reference just knows to a part rtol."""
    size, loosest = prod(cotangents[0].shape) if cotangents else 0, -least(-rtol)
    if not (size and loosest):
        return 0.0
    xp = namespace(cotangents[0])
    unit = largest(xp.max(xp.abs(w)) for w in cotangents)
    return float(unit * size**0.5 * SHARPER * least(atol) / loosest)


class _Improvement:
    """A better trajectory, panel by panel."""

    def __init__(
        self,
        linearize: Linearize,
        rtol: Any,
        atol: Any,
        jumps: Sequence[float],
        stepping: dict[str, Any],
    ) -> None:
        self.linearize, self.jumps, self.stepping = checked(linearize), jumps, stepping
        self.rtol, self.atol = rtol, atol
        self.swept = self.stepped = 0
        self.statistics = Statistics()

    def __call__(self, panels: Sequence[Panel]) -> list[Panel]:
        better: list[Panel] = []
        y = panels[0].values[0, ...]
        for panel in panels:
            made = self._swept(panel, y) or self._stepped(panel, y)
            better += made
            y = made[-1].values[-1, ...]
        return better

    def _swept(self, panel: Panel, y: Any) -> list[Panel]:
        """Sweeps over the nodes; nothing where they do not lead to a solution."""
        m = 2 * panel.values.shape[0] - 1
        panel = panel.part(0.0, 1.0, m)
        xp = namespace(y)
        times = node_times(panel, self.jumps)
        matrix = constant_like(integration_matrix(m) / 2, y)
        z = panel.values + (y - panel.values[0, ...])
        unit = self.atol + self.rtol * xp.max(xp.abs(z), axis=0)
        rounding = 8 * float(limits(y).eps) * float(xp.max(xp.abs(z)))
        first = None
        for _ in range(SWEEPS):
            slopes = self.linearize(times, z)[0]
            new = y + panel.length * xp.tensordot(matrix, slopes, axes=1)
            change = xp.abs(new - z)
            self.statistics = self.statistics + Statistics(evaluations=m)
            size = float(xp.max(change / unit))
            z, first = new, size if first is None else first
            if not size < DIVERGED * max(first, 1.0):
                return []
            if size <= 1 or float(xp.max(change)) <= rounding:
                break
        else:
            return []
        if not all_finite(z) or decay_ratio(z, self.rtol, self.atol) > 10:
            return []
        self.swept += 1
        return [replace(panel, values=z, tail=None)]

    def _stepped(self, panel: Panel, y: Any) -> list[Panel]:
        """The panel solved again, in smaller steps."""
        point = at_one_node(self.linearize)
        inside = [t for t in self.jumps if t in (panel.start, panel.end)]
        trajectory, made = record_panels(
            lambda t, y: point(t, y)[0],
            [panel.start, *map(panel.time, panel.outputs), panel.end],
            y,
            inside=bool(panel.outputs),
            rtol=_steppable(self.rtol, y),
            atol=self.atol,
            jump_at=inside or None,
            **self.stepping,
        )
        self.statistics = self.statistics + trajectory.statistics
        self.stepped += 1
        return [*made[:-1], replace(made[-1], is_last=panel.is_last)]


def _steppable(rtol: Any, y: Any) -> float:
    """A relative tolerance that steps can meet in the precision of y."""
    return max(least(rtol), 4 * float(limits(y).eps))
