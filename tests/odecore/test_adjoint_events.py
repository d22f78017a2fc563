"""Gradients of the times of events, and of states there, against formulas."""

import numpy as np
import pytest

from odecore.adjoint import (
    collocated,
    discrete,
    event_cotangent,
    node_by_node,
    record_panels,
    record_steps,
    restored,
)
from odecore.solve import Event, solve_ivp
from tests.conftest import load

WAYS = ("collocated", "restored", "discrete")
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def ball(xp, gravity):
    """A body that falls: states are height and speed, the parameter is gravity's pull."""

    def linearize(t, y):
        def pull(a, parameters):
            state = xp.stack([a[0] * 0, a[0]])
            return state, ((xp.stack([-a[1]]),) if parameters else ())

        return xp.stack([y[1], y[1] * 0 - gravity]), pull

    return linearize


def backward(way, linearize, times, y0, cotangents, options):
    """The gradients of a solve between times, by each adjoint of the package."""
    fun = lambda t, y: linearize(t, y)[0]  # noqa: E731
    if way == "discrete":
        _, record = record_steps(fun, times, y0, **options)
        return discrete(linearize, record, cotangents)
    _, panels = record_panels(fun, times, y0, **options)
    if way == "restored":
        return restored(linearize, panels, cotangents, **options)
    return collocated(node_by_node(linearize), panels, cotangents, **options)


def until(linearize, event, y0, options, start=0.0):
    """The time of the event, the state there and its slope."""
    fun = lambda t, y: linearize(t, y)[0]  # noqa: E731
    event = Event(event, terminal=True, direction=-1)
    found = solve_ivp(fun, (start, start + 100.0), y0, events=event, **options)
    t, y = float(found.events[0].t[0]), found.events[0].y[0, ...]
    return t, y, fun(t, y)


@pytest.mark.long_on_jax
@pytest.mark.parametrize("way", WAYS)
def test_a_body_that_falls_on_a_raised_floor(way, xp, dtype, array, eps):
    h, v, g, floor = 3.0, 1.5, 2.0, 0.5
    tolerance = max(1e-10, 30 * eps)
    options = {"rtol": tolerance, "atol": tolerance}
    linearize, y0 = ball(xp, g), array([h, v])
    t, _, slope = until(linearize, lambda t, y: y[0] - floor, y0, options)
    impact = np.sqrt(v**2 + 2 * g * (h - floor))
    assert t == pytest.approx((v + impact) / g, rel=300 * eps + 1e-9)
    # The loss is 2 t + 3 (height) + 5 (speed) at the event; there the height is that of the floor.
    partials = array(0.0), array([1.0, 0.0]), (array([-1.0]),)
    found = event_cotangent(slope, partials, array([3.0, 5.0]), 2.0)
    gradients = backward(way, linearize, [0.0, t], y0, [array([0.0, 0.0]), found.state], options)
    over = np.array([g, v]) / impact  # the derivative of the impact's speed
    y0_exact = 2 * (over + [0, 1]) / g - 5 * over
    g_exact = 2 * ((h - floor) / impact / g - (v + impact) / g**2) - 5 * (h - floor) / impact
    floor_exact = -2 / impact + 3 + 5 * g / impact
    precision = {"rtol": max(1e-7, 1000 * eps)}
    np.testing.assert_allclose(np.asarray(gradients.y0), y0_exact, **precision)
    np.testing.assert_allclose(np.asarray(gradients.parameters[0]), [g_exact], **precision)
    np.testing.assert_allclose(np.asarray(found.parameters[0]), [floor_exact], **precision)
    assert float(found.rate) == pytest.approx(-impact, rel=max(1e-7, 1000 * eps))
    assert found.state.dtype == y0.dtype
    # The twin: without the event's motion the gradient is another one.
    held = [array([0.0, 0.0]), array([3.0, 5.0])]
    twin = backward(way, linearize, [0.0, t], y0, held, options)
    assert np.abs(np.asarray(twin.y0) - y0_exact).max() > 0.1


def test_bounces_are_solves_joined_at_their_events():
    # L is the time of the second bounce, the height a while after it times 0.7.
    h, v, g, keep, end = 1.3, 0.4, 2.0, 0.8, 4.2
    linearize, partials = ball(np, g), (0.0, np.array([1.0, 0.0]), ())
    legs, start, y = [], 0.0, np.array([h, v])
    for _ in range(2):
        t, y_end, slope = until(linearize, lambda t, y: y[0], y, TIGHT, start)
        legs.append((start, t, y, y_end, slope))
        start, y = t, np.array([0.0, -keep * y_end[1]])
    assert end > start
    zeros, pull = np.zeros(2), np.zeros(1)
    found = backward("collocated", linearize, [start, end], y, [zeros, np.array([0.7, 0])], TIGHT)
    pull += found.parameters[0]
    restitution, a, moves = 0.0, found.y0, 1.0 + found.times[0]
    for first, last, y, y_end, slope in reversed(legs):
        restitution += -y_end[1] * a[1]
        before = np.array([0.0, -keep * a[1]])  # through the bounce
        there = event_cotangent(slope, partials, before, moves)
        found = backward("collocated", linearize, [first, last], y, [zeros, there.state], TIGHT)
        pull += found.parameters[0]
        a, moves = found.y0, found.times[0]

    def loss(h, v, g, keep):
        impact = np.sqrt(v**2 + 2 * g * h)
        second = (v + impact) / g + 2 * keep * impact / g
        left = end - second
        return second + 0.7 * (keep**2 * impact * left - g * left**2 / 2)

    given = np.array([h, v, g, keep])
    exact = [(loss(*(given + d)) - loss(*(given - d))) / 2e-5 for d in 1e-5 * np.eye(4)]
    np.testing.assert_allclose([*a, *pull, restitution], exact, rtol=1e-7)


def kepler(t, y):
    x, u = y[:2], y[2:]
    r = np.linalg.norm(x)

    def pull(a, parameters):
        moved = -a[2:] / r**3 + 3 * x * (x @ a[2:]) / r**5
        return np.concatenate([moved, a[:2]]), ()

    return np.concatenate([u, -x / r**3]), pull


@pytest.mark.parametrize("way", WAYS)
def test_the_section_of_a_kepler_orbit(way):
    # From (r, 0) with speed (0, v) it crosses y = 0 after half a period, at 2 a - r on the other
    # side: pi a^(3/2), 1 / a = 2 / r - v^2.
    r, v = 1.0, 1.15
    y0, axis = np.array([r, 0, 0, v]), 1 / (2 / r - v**2)
    t, _, slope = until(kepler, lambda t, y: y[1], y0, TIGHT)
    assert t == pytest.approx(np.pi * axis**1.5, rel=1e-9)
    a_r, a_v = 2 * axis**2 / r**2, 2 * axis**2 * v
    normal = 0.0, np.array([0.0, 1.0, 0.0, 0.0]), ()

    def gradient(cotangent, moves):
        cotangents = [np.zeros(4), event_cotangent(slope, normal, cotangent, moves).state]
        return backward(way, kepler, [0.0, t], y0, cotangents, TIGHT).y0

    rate = 1.5 * np.pi * axis**0.5
    np.testing.assert_allclose(gradient(np.zeros(4), 1.0)[[0, 3]], [rate * a_r, rate * a_v], 1e-7)
    of_place = gradient(np.array([-1.0, 0, 0, 0]), 0.0)
    np.testing.assert_allclose(of_place[[0, 3]], [2 * a_r - 1, 2 * a_v], 1e-7)
    for k in (1, 2):  # the directions without a formula
        moved = 1e-5 * np.eye(4)[k]
        late, early = (until(kepler, lambda t, y: y[1], y0 + d, TIGHT)[0] for d in (moved, -moved))
        assert gradient(np.zeros(4), 1.0)[k] == pytest.approx((late - early) / 2e-5, rel=1e-5)


def test_an_event_that_moves_with_time():
    # y = exp(t) y0 meets 2 + t / 2.
    fun = lambda t, y: (y, lambda a, parameters: (a, ()))  # noqa: E731
    t, _, slope = until(fun, lambda t, y: 2 + t / 2 - y[0], np.ones(1), TIGHT)
    found = event_cotangent(slope, (0.5, -np.ones(1), ()), np.zeros(1), 1.0)
    exact = -np.exp(t) / (np.exp(t) - 0.5)
    assert np.exp(t) * found.state[0] == pytest.approx(exact, rel=1e-8)


def test_complex_states():
    # y = exp(i t) y0 has no real part at t = pi / 2 - arg y0.
    y0 = np.array([1.0 + 0.5j])
    fun = lambda t, y: (1j * y, lambda a, parameters: (-1j * a, ()))  # noqa: E731
    t, _, slope = until(fun, lambda t, y: y[0].real, y0, TIGHT)
    assert t == pytest.approx(np.pi / 2 - np.angle(y0[0]))
    there = event_cotangent(slope, (0.0, np.ones(1, complex), ()), 0 * y0, 1.0)
    found = backward("discrete", fun, [0.0, t], y0, [0 * y0, there.state], TIGHT).y0[0]
    exact = (y0[0].imag - 1j * y0[0].real) / abs(y0[0]) ** 2
    assert found == pytest.approx(exact, rel=1e-8)


def test_under_jit():
    import jax

    jnp = load("jax")

    @jax.jit
    def found(slope, normal):
        cotangent = jnp.ones(2)
        return event_cotangent(slope, (0.0, normal, ()), cotangent, 2.0).state

    # L = 2 t + y1 + y2 moves by 2 + 3 + 4 while the event's function moves by 3.
    moved = found(jnp.asarray([3.0, 4.0]), jnp.asarray([1.0, 0.0]))
    np.testing.assert_allclose(moved, [1 - 9 / 3, 1.0])


@pytest.mark.parametrize("normal", [np.array([0.0, 1.0]), np.array([1.0, -1.0]), np.zeros(2)])
def test_a_trajectory_that_touches_the_event_is_refused(normal):
    slope = np.array([1.0, 1.0]) if normal[0] else np.array([1.0, 0.0])
    with pytest.raises(ValueError, match=r"must cross its zero.*rate"):
        event_cotangent(slope, (0.0, normal, ()), np.ones(2), 1.0)


def test_shapes_and_dtypes_must_be_those_of_the_state():
    slope = np.ones(3)
    with pytest.raises(ValueError, match="`cotangent` must be float64 of shape"):
        event_cotangent(slope, (0.0, slope, ()), np.ones(1))
    with pytest.raises(TypeError, match=r"`partials\[1\]` must be float64"):
        event_cotangent(slope, (0.0, np.ones(3, np.float32), ()), slope)


@pytest.mark.parametrize(
    "partials", [(0.0, np.ones(3)), np.ones(3), None, (0.0, np.ones(3), (), 1)]
)
def test_there_are_three_partials(partials):
    with pytest.raises(TypeError, match=r"`partials` must be \(g_t, g_y, \(g_theta, ...\)\), got"):
        event_cotangent(np.ones(3), partials, np.ones(3))
    with pytest.raises(TypeError, match="`slope` must be an array"):
        event_cotangent([1.0, 1.0], (0.0, np.ones(2), ()), np.ones(2))
