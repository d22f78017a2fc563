"""Implicit methods on batches: samples that do not see each other have a Jacobian each."""

import pytest
import torch
from torch import nn

from odecore.solve import Newton
from torch_bridge import DenseField, NeuralODE, TimeBatchNorm, odeint, odeint_adjoint, solve
from torch_bridge._jacobian import newton_of

T = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)


class Stiff(DenseField):
    def forward(self, t, y):
        return super().forward(t, y) - 40 * (y - torch.cos(t))


class Normed(Stiff):
    def forward(self, t, y):
        return super().forward(t, y - y.mean(0) / 2)


def problem(kind, samples, width=3):
    torch.manual_seed(samples)
    func = kind(width, 8).double()
    return func, torch.randn(samples, width, dtype=torch.float64, requires_grad=True)


def counted(func):
    rows = []
    func.register_forward_hook(lambda module, inputs, value: rows.append(len(value)))
    return rows


@pytest.mark.parametrize("shape", [(5, 3), (4, 2, 3), (2, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_are_those_of_each_sample(shape, dtype):
    torch.manual_seed(0)
    func = DenseField(shape[-1], 8).to(dtype)
    y = torch.randn(shape, dtype=dtype)
    found = newton_of(func, y, (0.0, 1.0)).jacobian(torch.tensor(0.3), y)
    n = y[0].numel()
    assert found.shape == (len(y), n, n)
    for block, sample in zip(found, y, strict=True):
        wanted = torch.func.jacrev(lambda x: func(torch.tensor(0.3), x[None])[0])(sample)
        torch.testing.assert_close(block, wanted.reshape(n, n))


@pytest.mark.parametrize("shape", [(6,), (1, 6), ()])
def test_states_without_samples_have_one_matrix(shape):
    y = torch.randn(shape, dtype=torch.float64)
    n = y.numel()
    found = newton_of(lambda t, y: -y * y, y, (0.0, 1.0)).jacobian(0.0, y)
    torch.testing.assert_close(found, torch.diag(-2 * y.reshape(-1)).reshape(n, n))


@pytest.mark.parametrize("share", [1.0, 1e-6, 1e-9])
def test_samples_that_see_each_other_are_noticed(share):
    y = torch.randn(6, 3, dtype=torch.float64)
    newton = newton_of(lambda t, y: y.sin() + share * y.mean(0), y, (0.0, 1.0))
    assert newton.jacobian(0.0, y).shape == (18, 18)
    assert newton.jacobian(0.0, y * 0).shape == (18, 18)


def test_samples_that_see_each_other_later():
    def func(t, y):
        return torch.where(t < 0.5, 0.0, 1.0) * y.mean(0) - y

    y = torch.randn(6, 3, dtype=torch.float64)
    newton = newton_of(func, y, (0.0, 1.0))
    assert newton.jacobian(torch.tensor(0.4), y).shape == (6, 3, 3)
    assert newton.jacobian(torch.tensor(0.6), y).shape == (18, 18)
    inside = y.clone().requires_grad_()
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    (found,) = torch.autograd.grad(
        odeint(func, inside, times, method="gl4")[-1].square().sum(), inside
    )
    by_products = solve(
        func, (0.0, 1.0), inside, method="gauss2", steps=1, t_eval=times.tolist(),
        newton=Newton(linear_solver="krylov"),
    ).y[-1]  # fmt: skip
    (wanted,) = torch.autograd.grad(by_products.square().sum(), inside)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("samples", [6, 300, 2100])
@pytest.mark.parametrize(
    ("method", "adjoint"),
    [("gl4", False), ("gl4", True), ("sdirk2", False), ("sdirk2", True), ("kvaerno43", False)],
)
def test_samples_that_see_each_other_within_a_step(samples, method, adjoint):
    coupling = torch.ones((), dtype=torch.float64, requires_grad=True)

    def func(t, y):
        return coupling * (t - 0.5).clamp(min=0) * y.mean(0) - y * y

    y0 = torch.linspace(0.5, 1, 2 * samples, dtype=torch.float64).reshape(-1, 2).requires_grad_()
    inputs = y0, coupling
    adaptive = method == "kvaerno43"
    options = {"rtol": 1e-7, "atol": 1e-7} if adaptive else {"options": {"steps": 1}}
    params = {"adjoint_params": (coupling,)} if adjoint else {}
    run = odeint_adjoint if adjoint else odeint
    found = run(func, y0, T[[0, 2]], method=method, **options, **params)[-1]
    given = options if adaptive else options["options"]
    newton = Newton(linear_solver="krylov")
    name = {"gl4": "gauss2", "sdirk2": "alexander2"}.get(method, method)
    wanted = solve(func, (0.0, 1.0), y0, method=name, newton=newton, **given).y[-1]
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if adaptive else {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(found, wanted, **tolerance)
    gradients = (torch.autograd.grad(y.square().sum(), inputs) for y in (found, wanted))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", [Stiff, Normed])
@pytest.mark.parametrize(
    ("method", "adjoint"),
    [
        ("radauIIA5", False), ("radauIIA5", True), ("sdirk2", True), ("kvaerno43", True),
        pytest.param("sdirk2", False, marks=pytest.mark.long),
        pytest.param("kvaerno43", False, marks=pytest.mark.long),
    ],
)  # fmt: skip
def test_gradients_are_those_of_products(kind, method, adjoint):
    func, y0 = problem(kind, 9)
    adaptive = method == "kvaerno43"
    options = {"rtol": 1e-7, "atol": 1e-7} if adaptive else {"options": {"steps": 6}}
    inputs = (y0, *func.parameters())
    weights = torch.randn(3, 9, 3, dtype=torch.float64)

    def gradients(y):
        return torch.autograd.grad((weights * y).sum(), inputs)

    found = gradients(
        (odeint_adjoint if adjoint else odeint)(func, y0, T, method=method, **options)
    )
    flat = odeint(
        lambda t, y: func(t, y.reshape(9, 3)).reshape(-1),
        y0.reshape(-1),
        T,
        method=method,
        **options,
    )
    wanted = gradients(flat.reshape(3, 9, 3))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_batch_costs_the_evaluations_of_a_sample():
    counts = []
    for samples in (2, 1500):
        func, y0 = problem(Stiff, samples)
        rows = counted(func)
        y = odeint_adjoint(func, y0, T, method="kvaerno54", rtol=1e-4, atol=1e-4)
        y[-1].sum().backward()
        counts.append(len(rows))
    assert counts[1] < 2 * counts[0]


def test_a_block_of_a_large_batch_trains():
    torch.manual_seed(0)
    field, y = Stiff(3, 8), torch.randn(1000, 3)
    block = NeuralODE(field, solver="kvaerno43", rtol=1e-3, atol=1e-3, adjoint="discrete")
    optimizer = torch.optim.Adam(block.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (block(y) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_what_vmap_can_not_map_has_one_matrix():
    class Rows(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y):
            return y.sin()

        @staticmethod
        def backward(ctx, g):
            if bool(g.abs().max() > 1e300):  # reads values
                raise ValueError
            return g * 0.5

    y = torch.randn(3, 2, dtype=torch.float64)
    found = newton_of(lambda t, y: Rows.apply(y), y, (0.0, 1.0)).jacobian(0.0, y)
    torch.testing.assert_close(found, torch.eye(6, dtype=torch.float64) / 2)


def test_a_default_device_has_no_say():
    y = torch.randn(4, 2, dtype=torch.float64)
    with torch.device("meta"):
        found = newton_of(lambda t, y: -y, y, (0.0, 1.0)).jacobian(0.0, y)
    torch.testing.assert_close(found, -torch.eye(2, dtype=torch.float64).expand(4, 2, 2))


def test_batch_normalization_is_seen():
    norm = nn.BatchNorm1d(2).double()
    y = torch.randn(8, 2, dtype=torch.float64)
    assert newton_of(lambda t, y: norm(y), y, (0.0, 1.0)).jacobian(0.0, y).shape == (16, 16)
    norm.eval()
    assert newton_of(lambda t, y: norm(y), y, (0.0, 1.0)).jacobian(0.0, y).shape == (8, 2, 2)


def test_samples_that_see_each_other_beside_larger_ones():
    sizes = torch.tensor([1e9, 1e9, 1.0, 1.0], dtype=torch.float64)[:, None]

    def func(t, y):
        return y * sizes + torch.cat([y[:2] * 0, y[2:].flip(0)])

    y = torch.ones(4, 2, dtype=torch.float64)
    assert newton_of(func, y, (0.0, 1.0)).jacobian(0.0, y).shape == (8, 8)


def test_derivatives_that_are_not_finite_say_nothing_of_samples():
    y = torch.tensor([[0.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    newton = newton_of(lambda t, y: y.sqrt(), y, (0.0, 1.0))
    assert newton.jacobian(0.0, y).shape == (2, 2, 2)
    assert newton.jacobian(0.0, y + 1).shape == (2, 2, 2)


def test_a_large_state_is_looked_at_by_one_product():
    batches = []

    class Rows(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(y):
            return y.sin()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            batches.append(torch._C._functorch.is_batchedtensor(g))
            return g * ctx.saved_tensors[0].cos()

    y = torch.randn(30, 16)
    assert newton_of(lambda t, y: Rows.apply(y.mT).reshape(30, 16), y, (0.0, 1.0)).jacobian is None
    assert batches == [False]
    found = newton_of(lambda t, y: Rows.apply(y), y, (0.0, 1.0)).jacobian(0.0, y)
    torch.testing.assert_close(found, torch.diag_embed(y.cos()))


def test_the_look_at_a_large_state_leaves_no_trace():
    norm = TimeBatchNorm(2, intervals=2).double()

    def func(t, y):
        return norm(t, y) - y

    y = torch.randn(300, 2, dtype=torch.float64)
    odeint(func, y, T[[0, 2]], method="implicit_euler", options={"steps": 2})
    assert int(norm.num_batches_tracked) == 1


def test_where_values_are_not_read():
    y = torch.ones(300, 2)
    with torch.inference_mode():
        found = odeint(lambda t, y: -y, y, T, method="implicit_euler", options={"steps": 2})
    assert found.shape == (3, 300, 2)
    end = lambda y: odeint(lambda t, y: -y * y, y, T, method="sdirk2")[-1].sum()  # noqa: E731
    inside = y.double().requires_grad_()
    (wanted,) = torch.autograd.grad(end(inside), inside)
    torch.testing.assert_close(torch.func.grad(end)(y.double()), wanted)


@pytest.mark.parametrize(
    ("shape", "blocks"), [((30, 16), True), ((30, 17), False), ((4, 99), True)]
)
def test_blocks_are_for_few_numbers_a_sample_or_in_all(shape, blocks):
    y = torch.randn(shape)
    assert (newton_of(lambda t, y: -y, y, (0.0, 1.0)).jacobian is not None) is blocks
