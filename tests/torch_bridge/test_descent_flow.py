"""The flow of the equiangular direction."""

import numpy as np
import pytest
import torch

from odecore.directions import gramian, pareto_stationarity
from odecore.solve import Event, Status
from torch_bridge import descent_flow

CURVATURES = torch.tensor([[1.0, 4.0, 2.0], [300.0, 100.0, 100.0]], dtype=torch.float64)
MINIMA = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 2.0, 1.0]], dtype=torch.float64)
START = torch.tensor([4.0, 3.0, -5.0], dtype=torch.float64)


def losses(y):
    return (CURVATURES * (y - MINIMA) ** 2).sum(1).unbind()


def jacobian(y):
    return 2 * CURVATURES * (y - MINIMA)


@pytest.mark.parametrize("scaling", ["unit", "harmonic"])
def test_all_losses_fall_to_a_pareto_point(scaling):
    found = descent_flow(losses, START, 100.0, scaling=scaling, rtol=1e-8, atol=1e-10)
    assert found.status is Status.EVENT
    values = np.array([[float(v) for v in losses(y)] for y in found.y])
    assert (np.diff(values, axis=0) < 0).all()
    end = pareto_stationarity(gramian(jacobian(found.y[-1])), tolerance=0.0101)
    assert end.stationary
    assert end.worst_cosine == pytest.approx(0.01, rel=1e-3)
    assert not pareto_stationarity(gramian(jacobian(START)), tolerance=0.0101).stationary


@pytest.mark.long
def test_scalings_of_losses_and_of_the_direction_share_the_curve():
    ends = [
        descent_flow(scaled, START, 100.0, scaling=scaling, rtol=1e-9, atol=1e-11).y[-1]
        for scaling in ("unit", "min")
        for scaled in (losses, lambda y: [1000 * losses(y)[0], losses(y)[1]])
    ]
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], atol=1e-5)


def test_it_is_the_limit_of_small_steps():
    from torch_bridge import equiangular_backward

    y, duration = START.clone().requires_grad_(), 2.0
    flow = descent_flow(losses, y, duration, rtol=1e-9, atol=1e-11)
    assert flow.status is Status.SUCCESS
    assert not flow.y[-1].requires_grad
    errors = []
    for count in (100, 200):
        x = START.clone().requires_grad_()
        for _ in range(count):
            x.grad = None
            equiangular_backward(losses(x), [x], scaling="unit")
            with torch.no_grad():
                x -= duration / count * x.grad
        errors.append(float((x.detach() - flow.y[-1]).norm()))
    assert 1.8 < errors[0] / errors[1] < 2.2  # Euler's method


def test_your_events_and_options_are_kept():
    crossing = Event(lambda t, y: y[2] + 2)
    for events in (crossing, [crossing]):
        found = descent_flow(losses, START, 100.0, events=events, method="bosh3")
        assert found.status is Status.EVENT
        assert float(found.events[1].y[0, 2]) == pytest.approx(-2, abs=1e-4)


def test_a_pole_is_not_stepped_over():
    found = descent_flow(lambda y: [y[0] ** 2, y[0].log().square() + y[1] ** 2], START[:2], 50.0)
    assert found.status is Status.EVENT
    assert found.y[-1][0] > 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: descent_flow(losses, MINIMA[0], 1.0), ValueError, "cosine is 0, and"),
        (lambda: descent_flow(losses, START, 0.0), ValueError, "must be positive, got 0.0"),
        (
            lambda: descent_flow(losses, START, 1.0, worst_cosine=1.0),
            ValueError,
            r"in \(0, 1\), got 1.0",
        ),
        (lambda: descent_flow(losses, [1.0], 1.0), TypeError, "real tensor, got list"),
        (lambda: descent_flow(lambda y: [y], START, 1.0), ValueError, r"is shape \(3,\)"),
        (
            lambda: descent_flow(
                lambda y: [y.sum(), MINIMA.clone().requires_grad_().sum()], START, 1.0
            ),
            ValueError,
            r"losses\[1\] does not depend on y",
        ),
        (lambda: descent_flow(losses, START, 1.0, scaling="x"), ValueError, "`scaling` must be"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
