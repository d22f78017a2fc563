"""Solving until an event, and the gradient of its time."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, isnan
from typing import Any

import torch
from torch import Tensor

from odecore.errors import MaxStepsError
from odecore.solve import Event, Status, solve_ivp
from torch_bridge._fields import inside_torch_func
from torch_bridge._once import first_only, once_only
from torch_bridge._own_derivatives import unwatched
from torch_bridge._parametrized import cached_apart

__all__ = ["moved_to_event", "solved_again", "until_event"]

FARTHEST = 1e300  # the horizon of a solve that ends at an event, where the dtype reaches as far
SEGMENT = 1000  # given steps made at once
MOST_STEPS = 100_000  # given steps, unless `max_num_steps` says more

NO_SECOND_DERIVATIVE = (
    "the gradient of an event's time can not be differentiated again; "
    "differentiate it numerically, or solve to a fixed time"
)
HELD = (
    "`odeint_adjoint(event_fn=...)` holds the event's time, whose gradient is wanted here: "
    "`odeint_event(..., odeint_interface=odeint_adjoint)` has it; or detach the time"
)
NO_DERIVATIVE = (
    "the event's time has no gradient: where it happened, the value of `event_fn` does not change "
    "with t and y, as a constant, a sign or a detached value does not; return a difference, such "
    "as `t - end`, or detach the time and the state at it"
)


def until_event(
    field: Callable[[Any, Any], Tensor],
    function: Callable[[Any, Tensor], Tensor],
    y0: Tensor,
    times: list[float],
    arguments: dict[str, Any],
    step_size: float | None,
    most: int | None,
) -> tuple[float, Tensor]:
    """The time of the event and the state there, with the gradient of the state at a fixed time.

    Several outputs of the function are one event: the first of them to change its sign.

    Raises
    ------
    ValueError, TypeError
        For a start that is not finite, values at the start that have no sign, and a step without
        an event that ends where one is NaN.
    """
    start, forward = times[0], times[-1] > times[0]
    if not isfinite(start) or isnan(times[-1]):
        raise ValueError(
            f"an event needs a finite time to start from, and a direction, got {times}"
        )
    direction = 1.0 if forward else -1.0
    with torch.no_grad(), cached_apart():
        signs = _signs(function(_time(start, y0), y0.detach()), start)
    if bool((signs == 0).any()):
        return start, y0
    search = _Search(function, signs, arguments.get("observe"))
    event = Event(search.value, terminal=True)
    arguments = {k: v for k, v in arguments.items() if k not in ("grid", "steps", "max_steps")}
    arguments["observe"] = search.observe
    if "rtol" in arguments:
        horizon = direction * min(FARTHEST, torch.finfo(y0.dtype.to_real()).max / 4)
        span = (start, horizon)
        limit = {} if most is None else {"max_steps": most}
        found = solve_ivp(field, span, y0, events=event, t_eval=[start], **limit, **arguments)
        if found.status is not Status.EVENT:
            raise MaxStepsError(f"no event up to t = {horizon:.3g}, where times end", found)
        return _end(found)
    if step_size is None:
        raise ValueError(
            "an event in given steps needs the option `step_size`: there is no last time to divide"
        )
    left = most or MOST_STEPS
    perturbs = arguments.pop("jump_at", None) is not None
    t, y = start, y0
    while left > 0:
        count = min(SEGMENT, left)
        grid = [t + direction * step_size * k for k in range(count + 1)]
        if perturbs:
            arguments["jump_at"] = grid
        span, ends = (t, grid[-1]), grid[-1:]  # of all states between none is kept
        found = solve_ivp(field, span, y, grid=grid, t_eval=ends, events=event, **arguments)
        if found.status is Status.EVENT:
            return _end(found)
        t, y = grid[-1], found.y[-1]
        left -= count
    raise MaxStepsError(f"no event up to t = {t}; raise `max_num_steps`", found)


class _Search:
    """What a solve looks for: the least of the entries, in the units of their signs at the start.

    It is NaN where one of the entries is, so that those parts of steps are searched which come
    before; a step that follows such an end, without an event, raises ValueError.

    Parameters
    ----------
    function : callable
    signs : Tensor
    observer : callable or None
        The user's own `observe`.
    """

    def __init__(self, function: Callable[[Any, Tensor], Tensor], signs: Tensor, observer: Any):
        self.function, self.signs, self.observer = function, signs, observer
        self.undefined: dict[Any, int] = {}  # times, and the first entry that is NaN there

    def value(self, t: Any, y: Tensor) -> Tensor:
        with torch.no_grad(), cached_apart():
            values = self.function(_time(t, y), y.detach()) * self.signs
            least = torch.min(values)
        if isnan(least):
            self.undefined[t] = int(values.reshape(-1).isnan().nonzero()[0])
        return least

    def observe(self, what: str, t: Any, y: Tensor, h: Any) -> None:
        if t in self.undefined and what == "step":
            raise ValueError(
                f"entry {self.undefined[t]} of `event_fn` is nan at t = {t}, where events of all "
                "entries would not be seen: return numbers wherever the solve may go before its "
                "event, say by torch.where, or let another entry end it before"
            )
        if self.observer is not None:
            self.observer(what, t, y, h)


def _signs(values: Any, start: float) -> Tensor:
    """The signs at the start, one of which will change."""
    kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
    if not isinstance(values, Tensor) or values.dtype is torch.bool or values.is_complex():
        raise TypeError(
            "`event_fn` must return a tensor of real numbers, one of which changes its sign at the "
            f"event, got {kind}; for a condition return a difference, such as `t - 0.5`"
        )
    if not values.numel() or bool(values.isnan().any()):
        found = f"nan at t = {start}" if values.numel() else "no entries"
        raise ValueError(
            f"`event_fn` must return numbers at the start, where the search begins, got {found}"
        )
    return torch.sign(values)


def _end(found: Any) -> tuple[float, Tensor]:
    return float(found.events[0].t[0]), found.events[0].y[0]


def moved_to_event(
    field: Callable[[Any, Any], Tensor],
    function: Callable[[Any, Tensor], Tensor],
    t: Tensor,
    y: Tensor,
) -> tuple[Tensor, Tensor]:
    """The event's time and state with the gradients of the implicit function theorem.

    From g(t*, y(t*)) = 0: dt* = -(g_y dy + g_theta dtheta) / (g_t + g_y f), and the state moves
    along f with t*. Second derivatives raise RuntimeError, and first ones where g_t + g_y f is 0.
    """
    if not torch.is_grad_enabled():
        return t, y
    active, partial_t, partial_y = _partials(function, t.detach(), y.detach())
    slope = field(t.detach(), y.detach()).detach()
    rate = torch.zeros((), dtype=t.dtype, device=t.device) if partial_t is None else partial_t
    if partial_y is not None:
        rate = rate + (partial_y.conj() * slope).real.sum()
    g = function(t, y).reshape(-1)[active]
    if rate == 0:
        moved = once_only(t, (t, y, g), NO_DERIVATIVE)
    else:
        moved = t - ((g - g.detach()) / rate.detach()).to(t.dtype)
        moved = first_only(moved, NO_SECOND_DERIVATIVE)
    return moved, y + slope * (moved - moved.detach()).to(y.dtype)


def _partials(
    function: Callable[[Any, Tensor], Tensor], t: Tensor, y: Tensor
) -> tuple[int, Tensor | None, Tensor | None]:
    """Which of the values is at the event, and its partial derivatives, None for zero."""
    if inside_torch_func():  # where a leaf may not be made
        values, pull = torch.func.vjp(lambda t, y: function(t, y).reshape(-1), t, y)
        active = int(values.abs().argmin())
        one = torch.zeros_like(values)
        one[active] = 1.0
        return active, *pull(one)
    with torch.enable_grad(), unwatched():
        t0, y0 = t.requires_grad_(), y.requires_grad_()
        values = function(t0, y0).reshape(-1)
        active = int(values.detach().abs().argmin())
        if not values.requires_grad:
            return active, None, None
        found = torch.autograd.grad(values[active], (t0, y0), allow_unused=True)
    return active, *found


def solved_again(
    find: Callable[..., Any], solve: Callable[..., Any], func: Any, y0: Any, t: Tensor, event: Any
) -> tuple[Tensor, Any]:
    """Find the event, and solve again up to it: how far memory reaches is known then.

    A gradient of the time raises RuntimeError.
    """
    with torch.no_grad(), cached_apart():
        time, _ = find(func, y0, t, event_fn=event)
    ends = [t[0], time]
    if ends[0] == time:
        ends.pop()
    y = solve(func, y0, torch.stack(ends))
    if len(ends) == 1:
        y = tuple(torch.cat([s, s]) for s in y) if isinstance(y, tuple) else torch.cat([y, y])
    return once_only(time, y, HELD), y


def _time(t: Any, y: Tensor) -> Tensor:
    return t if isinstance(t, Tensor) else torch.tensor(t, dtype=y.dtype.to_real(), device=y.device)
