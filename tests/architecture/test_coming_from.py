"""What the pages for users of other packages say, held against those packages."""

import numpy as np
import pytest

from odecore.order import order_of_accuracy
from odecore.solve import Event, solve_ivp
from odecore.stability import real_interval, ssp_coefficient
from odecore.tableaux import catalogue, tableau


def test_scipy():
    from scipy.integrate import solve_ivp as peer

    fall = lambda t, y: np.array([y[1], -9.81])  # noqa: E731
    ground = lambda t, y: y[0]  # noqa: E731
    ground.terminal = True
    options = {"rtol": 1e-8, "atol": 1e-10}
    theirs = peer(fall, (0, 10), [10.0, 5.0], events=ground, dense_output=True, **options)
    event = Event(lambda t, y: y[0], terminal=True)
    ours = solve_ivp(
        fall, (0, 10), [10.0, 5.0], method="dopri5", events=event, dense=True, **options
    )
    np.testing.assert_allclose(ours.events[0].t, theirs.t_events[0], rtol=1e-10)
    np.testing.assert_allclose(ours(0.5), theirs.sol(0.5), rtol=1e-10)
    assert (theirs.y.shape[0], ours.y.shape[1]) == (2, 2)
    assert {"bosh3", "dop853", "kvaerno54"} < set(catalogue())
    assert len(catalogue()) == 176


def test_diffrax():
    diffrax, jax = pytest.importorskip("diffrax"), pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    field = lambda t, y, args: -args * y  # noqa: E731
    ts = np.array([0.0, 1.0, 2.0])
    theirs = diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, 2.0, 0.1, jax.numpy.ones(3), 0.5,
        saveat=diffrax.SaveAt(ts=ts), stepsize_controller=diffrax.PIDController(1e-8, 1e-8),
    )  # fmt: skip
    ours = solve_ivp(
        lambda t, y: field(t, y, 0.5), (0.0, 2.0), np.ones(3), method="tsit5", rtol=1e-8, atol=1e-8,
        t_eval=ts,
    )  # fmt: skip
    np.testing.assert_allclose(ours.y, theirs.ys, atol=1e-7)
    assert hasattr(diffrax, "BacksolveAdjoint")
    assert hasattr(diffrax, "RecursiveCheckpointAdjoint")


@pytest.mark.filterwarnings("ignore")
def test_nodepy():
    rk = pytest.importorskip("nodepy.runge_kutta_method")
    theirs, ours = rk.loadRKM("RK44"), tableau("classic")
    assert theirs.order() == order_of_accuracy(ours) == 4
    np.testing.assert_array_equal(np.array(theirs.b, dtype=float), np.array(ours.b, dtype=float))
    assert real_interval(ours).length == pytest.approx(theirs.real_stability_interval(), rel=1e-6)
    radius = rk.loadRKM("SSP104").absolute_monotonicity_radius()
    assert float(ssp_coefficient(tableau("ssp104"))) == pytest.approx(radius, rel=1e-6)


def test_torchjd():
    pytest.importorskip("torchjd")
    import torch
    from torchjd.autojac import backward, jac_to_grad

    from torch_bridge import EDM, equiangular_backward

    found = []
    for way in ("theirs", "ours"):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 2)
        y = model(torch.randn(16, 4))
        losses = [y[:, 0].square().mean(), 100 * y[:, 1].square().mean()]
        if way == "theirs":
            backward(losses)
            jac_to_grad(model.parameters(), EDM())
        else:
            equiangular_backward(losses, model.parameters())
        found.append(model.weight.grad)
    torch.testing.assert_close(found[0], found[1])
