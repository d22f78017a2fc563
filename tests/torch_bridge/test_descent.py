"""Equiangular steps: shared features, any optimizer, scalers, processes, accumulation."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from odecore.directions import equiangular_weights
from odecore.errors import FreedGraphError, NonfiniteGradientError
from tests.helpers.two_processes import in_two_processes
from torch_bridge import EDM, DescentReport, EDMWeighting, EquiangularDescent, equiangular_backward
from torch_bridge._objective_rows import gramian_of

SCALES = (1.0, 40.0, 0.03)


class Tasks(nn.Module):
    """A trunk with a head for each of three tasks."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(4)
        self.trunk = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5), nn.Tanh()).to(dtype)
        self.heads = nn.ModuleList(nn.Linear(5, 2) for _ in SCALES).to(dtype)
        self.x = torch.randn(12, 6, dtype=dtype)
        self.y = torch.randn(3, 12, 2, dtype=dtype)

    def losses(self, rows=slice(None)):
        z = self.trunk(self.x[rows])
        found = [
            s * (head(z) - y[rows]).square().mean()
            for s, head, y in zip(SCALES, self.heads, self.y, strict=True)
        ]
        return z, found


def jacobian(losses, parameters):
    rows = [torch.autograd.grad(x, parameters, retain_graph=True) for x in losses]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]).double().numpy()


def flat(parameters):
    return torch.cat([p.grad.flatten() for p in parameters]).double().numpy()


@pytest.mark.parametrize("chunk", [1, 2, 3])
@pytest.mark.parametrize("features", [False, True])
def test_all_ways_give_one_direction(chunk, features):
    model = Tasks()
    trunk, heads = list(model.trunk.parameters()), list(model.heads.parameters())
    z, losses = model.losses()
    J = jacobian(losses, trunk)
    own = [
        torch.autograd.grad(x, list(h.parameters()), retain_graph=True)
        for x, h in zip(losses, model.heads, strict=True)
    ]
    found = equiangular_backward(
        losses, trunk, shared=z if features else None, task_specific=heads, chunk=chunk
    )
    np.testing.assert_allclose(found.weights, equiangular_weights(J @ J.T).weights, rtol=1e-10)
    d = flat(trunk)
    np.testing.assert_allclose(d, J.T @ found.weights, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found.rates, J @ d, rtol=1e-10)
    for head, gradient in zip(model.heads, own, strict=True):
        for p, g in zip(head.parameters(), gradient, strict=True):
            torch.testing.assert_close(p.grad, g)


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_zero_gradient_is_a_gradient(chunk):
    p, own = torch.tensor([1.0, 2.0], requires_grad=True), torch.ones(2, requires_grad=True)
    elsewhere = torch.ones(2, requires_grad=True)
    losses = lambda: [(p * own).sum(), p[0] * 3 + (0 * own).sum()]  # noqa: E731
    with pytest.raises(ValueError, match=r"number 0 belongs to losses \[0, 1\]"):
        equiangular_backward(losses(), [p], task_specific=[own], chunk=chunk)
    with pytest.raises(ValueError, match=r"losses\[1\] depends on none of the `parameters`"):
        equiangular_backward([p.sum(), elsewhere.sum()], [p], chunk=chunk)
    assert p.grad is own.grad is None
    inner = 2 * p
    equiangular_backward(
        [inner.sum(), (3 * inner[0]).sum()], [p], chunk=chunk, task_specific=[elsewhere]
    )
    assert elsewhere.grad is None


def test_weights_from_the_features_take_one_pass():
    model = Tasks()
    trunk = list(model.trunk.parameters())
    z, losses = model.losses()
    J, K = jacobian(losses, [z]), jacobian(losses, trunk)
    passes = []
    model.trunk[0].register_forward_hook(lambda *a: a[2].register_hook(passes.append) and None)
    z, losses = model.losses()
    found = equiangular_backward(losses, trunk, shared=[z], gramian="features")
    assert len(passes) == 1
    np.testing.assert_allclose(found.weights, equiangular_weights(J @ J.T).weights, rtol=1e-10)
    np.testing.assert_allclose(flat(trunk), K.T @ found.weights, rtol=1e-9, atol=1e-14)


def test_a_loss_that_goes_around_the_features_is_refused():
    model = Tasks()
    trunk = list(model.trunk.parameters())
    z, losses = model.losses()
    losses[1] = losses[1] + trunk[2].square().sum()
    with pytest.raises(ValueError, match=r"losses\[1\] must reach .* reaches parameters\[2\]"):
        equiangular_backward(losses, trunk, shared=z)
    assert all(p.grad is None for p in trunk)


def refusals():
    model = Tasks()
    z, losses = model.losses()
    trunk, heads = list(model.trunk.parameters()), list(model.heads.parameters())
    alone = torch.ones(2, dtype=torch.float64, requires_grad=True)
    doubled = 2 * alone
    call = equiangular_backward
    yield "do not detach", lambda: call(losses, trunk, shared=z.detach())
    yield "at least one tensor", lambda: call(losses, trunk, shared=[])
    yield "at least one tensor", lambda: call(losses, trunk, gramian="features")
    yield (
        "`gramian` must be one of parameters, features",
        lambda: call(losses, trunk, gramian="heads"),
    )
    yield "`chunk` must be", lambda: call(losses, trunk, chunk=0)
    yield "nothing in common", lambda: call(losses, trunk, task_specific=trunk[:1])
    yield (
        r"belongs to losses \[0, 1, 2\]",
        lambda: call(losses, trunk[:2], task_specific=trunk[2:]),
    )
    yield (
        r"losses\[1\] depends on none of the features",
        lambda: call([losses[0], alone.sum()], trunk, shared=z),
    )
    yield (
        "`shared` depends on none",
        lambda: call([doubled.sum()], heads, shared=doubled),
    )
    yield (
        r"losses\[0\] depends on none of the `parameters`",
        lambda: call([alone.sum()], trunk, task_specific=[alone]),
    )


@pytest.mark.parametrize("case", range(10))
def test_bad_arguments_are_refused(case):
    message, call = list(refusals())[case]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["parameters", "task_specific"])
def test_a_tensor_is_no_list_of_parameters(name):
    model = Tasks()
    weight, trunk = model.heads[0].weight, list(model.trunk.parameters())
    for one in (weight, None):
        with pytest.raises(TypeError, match=f"`{name}` must be a list of tensors.*give a list"):
            equiangular_backward(model.losses()[1], **{"parameters": trunk, name: one})
    if name == "task_specific":
        with pytest.raises(TypeError, match="`task_specific` must be a list of tensors"):
            EquiangularDescent(torch.optim.SGD(trunk, lr=0.1), task_specific=weight)
    assert all(p.grad is None for p in model.parameters())


def test_the_optimizer_must_hold_what_belongs_to_one_loss():
    model = Tasks()
    optimizer = torch.optim.SGD(model.trunk.parameters(), lr=0.1)
    descent = EquiangularDescent(optimizer, task_specific=model.heads.parameters())
    with pytest.raises(
        ValueError, match=r"does not hold those of shapes \[\(2, 5\).*add_param_group"
    ):
        descent.step(lambda: model.losses()[1])
    assert all(p.grad is None for p in model.parameters())
    optimizer.add_param_group({"params": list(model.heads.parameters())})
    before = model.heads[0].weight.detach().clone()
    descent.step(lambda: model.losses()[1])
    assert not torch.equal(before, model.heads[0].weight)


@pytest.mark.parametrize("chunk", [1, 2])
def test_losses_are_a_list_of_real_numbers(chunk):
    w = torch.ones(2, requires_grad=True)
    for losses, message in (
        ([w.sum(), (w * 1j).sum()], r"losses\[1\] is torch.complex64: give its real part"),
        (w.sum(), "got one Tensor; give each loss for itself"),
        (None, "must be a list of scalar tensors, got one NoneType"),
    ):
        with pytest.raises(TypeError, match=message):
            equiangular_backward(losses, [w], chunk=chunk)
        descent = EquiangularDescent(torch.optim.SGD([w], lr=0.1), chunk=chunk)
        with pytest.raises(TypeError, match=message):
            descent.step(lambda losses=losses: losses)
    assert w.grad is None


def test_the_features_must_be_the_features():
    x = torch.ones(2, requires_grad=True)
    z, other = 2 * x, 3 * x
    with pytest.raises(ValueError, match="depends on none of the features"):
        equiangular_backward([other.sum()], [torch.ones(1, requires_grad=True)], shared=z)
    with pytest.raises(TypeError, match="`shared` must hold tensors, got int"):
        equiangular_backward([z.sum()], [x], shared=[1])


def test_freed_graphs_and_non_finite_gradients_have_their_own_errors():
    model = Tasks()
    trunk = list(model.trunk.parameters())
    z, losses = model.losses()
    losses[0].backward(retain_graph=False)
    model.zero_grad()
    with pytest.raises(FreedGraphError, match=r"losses\[0\] was freed .*retain_graph=True"):
        equiangular_backward(losses, trunk)
    z, losses = model.losses()
    torch.autograd.grad(z.sum(), trunk)
    with pytest.raises(FreedGraphError, match="of `shared` was freed"):
        equiangular_backward(losses, trunk, shared=z)
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    with pytest.raises(NonfiniteGradientError) as caught:
        equiangular_backward([x.sum(), x.sqrt().sum(), (x / 0).sum()], [x])
    assert caught.value.objectives == (1, 2)
    assert pickle.loads(pickle.dumps(caught.value)).objectives == (1, 2)  # noqa: S301
    assert x.grad is None


def _own():
    x, own = torch.tensor([1.0, 2.0], requires_grad=True), torch.zeros(1, requires_grad=True)
    return lambda: [x[0] ** 2, x[1] ** 2 + own.sqrt().sum()], [x], {"task_specific": [own]}


def _own_above_features():
    w, own = torch.ones(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    z = w * 2
    options = {"task_specific": [own], "shared": z, "gramian": "features"}
    return lambda: [z[0] ** 2, z[1] ** 2 + own.sqrt().sum()], [w], options


def _below_features():
    w = torch.zeros(2, requires_grad=True)
    z = torch.tensor([1.0, 2.0]) + w.sqrt()
    return lambda: [z[0] ** 2, z[1] ** 2], [w], {"shared": z, "gramian": "features"}


def _dead_below_features():
    w = torch.tensor([-1.0, 2.0], requires_grad=True)
    z = w.relu()
    return lambda: [z[1] ** 2, z[0].sqrt() + z[1]], [w], {"shared": z, "gramian": "features"}


@pytest.mark.parametrize(
    ("case", "objectives"),
    [
        (_own, (1,)),
        (_own_above_features, (1,)),
        (_below_features, (0, 1)),
        (_dead_below_features, (1,)),
    ],
)
def test_no_gradient_that_is_not_finite_is_put(case, objectives):
    losses, parameters, options = case()
    every = [*parameters, *options.get("task_specific", ())]
    with pytest.raises(NonfiniteGradientError) as caught:
        equiangular_backward(losses(), parameters, **options, retain_graph=True)
    assert caught.value.objectives == objectives
    assert all(p.grad is None for p in every)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.SGD(every, lr=0.1)
    before = [p.detach().clone() for p in every]
    found = equiangular_backward(losses(), parameters, **options, scaler=scaler)
    assert np.isnan(found.weights).all()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0
    for p, old in zip(every, before, strict=True):
        torch.testing.assert_close(p.detach(), old)


def test_a_step_with_own_gradients_that_are_not_finite_changes_nothing():
    losses, (x,), options = _own()
    (own,) = options["task_specific"]
    descent = EquiangularDescent(torch.optim.SGD([x, own], lr=0.1), task_specific=[own])
    with pytest.raises(NonfiniteGradientError, match=r"objectives \[1\]"):
        descent.step(losses)
    assert own.tolist() == [0]
    assert x.tolist() == [1, 2]


def test_the_gramian_of_long_rows_is_that_of_float64(rng):
    sizes = (3, 40000, 1, 16384, 7)
    J = rng.standard_normal((4, sum(sizes))).astype(np.float32) * [[1], [1e-20], [1e10], [1]]
    J = J.astype(np.float32)
    rows = [tuple(torch.tensor(p) for p in np.split(r, np.cumsum(sizes)[:-1])) for r in J]
    rows[1] = (*rows[1][:4], None)
    J[1, -7:] = 0
    wide = J.astype(np.float64)
    np.testing.assert_allclose(gramian_of(rows, 5).numpy(), wide @ wide.T, rtol=1e-9)
    np.testing.assert_allclose(gramian_of(rows, 1).numpy(), wide[:, :3] @ wide[:, :3].T, rtol=1e-12)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"])
@pytest.mark.parametrize("closure", [False, True])
def test_any_optimizer_takes_the_step(kind, closure):
    model, other = Tasks(), Tasks()
    own, theirs = (
        getattr(torch.optim, kind)(list(m.trunk.parameters()), lr=0.01) for m in (model, other)
    )
    descent = EquiangularDescent(own, report=True)
    for _ in range(3):
        if closure:
            found = descent.step(lambda: model.losses()[1])
        else:
            descent.zero_grad()
            descent.backward(model.losses()[1])
            found = descent.step()
        assert isinstance(found, DescentReport)
        assert (found.decrease is not None) is closure
        theirs.zero_grad()
        equiangular_backward(other.losses()[1], other.trunk.parameters())
        theirs.step()
    for p, q in zip(model.trunk.parameters(), other.trunk.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_the_report_tells_the_decrease_of_the_step_that_was_taken():
    model = Tasks()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    descent = EquiangularDescent(optimizer, task_specific=model.heads.parameters(), report=True)
    found = descent.step(lambda: model.losses()[1])
    np.testing.assert_allclose(found.expected, found.decrease, rtol=1e-3)
    assert min(found.decrease) > 0
    # Without parameters of their own, plain steps fall as the rates of the direction say.
    model = Tasks()
    descent = EquiangularDescent(torch.optim.SGD(model.parameters(), lr=1e-3), report=True)
    found = descent.step(lambda: model.losses()[1])
    np.testing.assert_allclose(found.expected, 1e-3 * found.weights.rates, rtol=1e-9)


@pytest.mark.parametrize("kind", ["SGD", "LBFGS", "scaler"])
def test_the_report_of_losses_that_differentiate(kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 9), nn.Tanh(), nn.Linear(9, 1)).double()
    t = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None].requires_grad_()

    def closure():
        u = model(t)
        (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        return [(slope + u).square().mean(), 10 * (u[0] - 1).square().sum()]

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8) if kind == "scaler" else None
    optimizer = getattr(torch.optim, "LBFGS" if kind == "LBFGS" else "SGD")
    options = {"max_iter": 1} if kind == "LBFGS" else {}
    descent = EquiangularDescent(
        optimizer(model.parameters(), lr=1e-5, **options), scaler=scaler, report=True
    )
    found = descent.step(closure)
    np.testing.assert_allclose(found.expected, found.decrease, rtol=1e-3)


@pytest.mark.parametrize("when", ["added", "frozen", "in the closure"])
def test_the_report_where_what_requires_a_gradient_changes(when):
    a, b, c = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (1.0, 2.0, 3.0))
    losses = lambda: [(a * b).sum(), (a + 3 * b).square().sum()]  # noqa: E731
    optimizer = torch.optim.SGD([a, b], lr=1e-6)
    descent = EquiangularDescent(optimizer, report=True)
    if when == "in the closure":

        def closure():
            b.requires_grad_(False)
            return losses()

        found = descent.step(closure)
    else:
        descent.backward(losses())
        if when == "added":
            optimizer.add_param_group({"params": [c]})
        else:
            a.requires_grad_(False)
        before = [float(x.detach()) for x in losses()]
        found = descent.step()
        after = [float(x.detach()) for x in losses()]
        np.testing.assert_allclose(found.expected, np.subtract(before, after), rtol=1e-3)
    np.testing.assert_allclose(found.expected, 1e-6 * found.weights.rates)


def test_the_report_shows_a_preconditioner_that_conflicts():
    x = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    losses = lambda: [(x * g).sum() for g in ROWS]  # noqa: E731
    ROWS = torch.tensor([[1.0, 0.02], [-0.9, 0.02]], dtype=torch.float64)
    plain = EquiangularDescent(torch.optim.SGD([x], lr=0.1), report=True).step(losses)
    assert min(plain.expected) > 0
    signs = EquiangularDescent(torch.optim.Adam([x], lr=0.1), report=True).step(losses)
    assert min(signs.expected) < 0 < min(signs.weights.rates)
    np.testing.assert_allclose(signs.expected, signs.decrease, atol=1e-12)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_an_optimizer_that_evaluates_again(search):
    model = Tasks()
    optimizer = torch.optim.LBFGS(model.trunk.parameters(), max_iter=5, line_search_fn=search)
    descent = EquiangularDescent(optimizer, report=True)
    first = [float(x.detach()) for x in model.losses()[1]]
    for _ in range(6):
        found = descent.step(lambda: model.losses()[1])
        if search:
            assert found.weights.weights @ found.decrease > 0
    last = [float(x.detach()) for x in model.losses()[1]]
    assert sum(b < a for a, b in zip(first, last, strict=True)) >= 2


def test_what_an_optimizer_that_evaluates_again_can_not_have():
    model = Tasks()
    optimizer = torch.optim.LBFGS(model.parameters())
    with pytest.raises(ValueError, match=r"`task_specific` must be empty for LBFGS.*got 6"):
        EquiangularDescent(optimizer, task_specific=model.heads.parameters())
    with pytest.raises(ValueError, match="`closure` must be given for LBFGS"):
        EquiangularDescent(optimizer).step()
    with pytest.raises(ValueError, match="`scaler` must be None for LBFGS"):
        EquiangularDescent(optimizer, scaler=torch.amp.GradScaler("cpu"))


@pytest.mark.parametrize("what", ["loss", "gradient", "closure"])
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_a_step_that_fails_in_a_later_evaluation_is_undone(what, search):
    model, calls = Tasks(), []
    parameters = list(model.trunk.parameters())
    optimizer = torch.optim.LBFGS(parameters, lr=0.1, max_iter=5, line_search_fn=search)
    descent = EquiangularDescent(optimizer)

    def closure():
        calls.append(None)
        losses = model.losses()[1]
        if len(calls) == 3:
            if what == "closure":
                raise KeyError("batch")
            bad = torch.nan if what == "loss" else (parameters[0] * 0).sum().sqrt()
            losses[1] = losses[1] + bad
        return losses

    before = [p.detach().clone() for p in parameters]
    with pytest.raises(KeyError if what == "closure" else NonfiniteGradientError) as caught:
        descent.step(closure)
    if what != "closure":
        assert caught.value.objectives == ((1,) if what == "loss" else (0, 1, 2))
    assert len(calls) == 3
    for p, old in zip(parameters, before, strict=True):
        assert torch.equal(p, old)
    descent.step(closure)
    assert all(not torch.equal(p, old) for p, old in zip(parameters, before, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk": 0}, "`chunk` must be"),
        ({"chunk": 2.5}, "`chunk` must be"),
        ({"scaling": "foo"}, "`scaling` must be"),
        ({"on_zero": "foo"}, "`on_zero` must be"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match=message):
        EquiangularDescent(optimizer, **options)


@pytest.mark.parametrize("scaler", [1024.0, True])
def test_a_number_is_no_scaler(scaler):
    p = torch.ones(2, requires_grad=True)
    with pytest.raises(TypeError, match=r"must be a torch.amp.GradScaler, got"):
        equiangular_backward([p.sum()], [p], scaler=scaler)
    with pytest.raises(TypeError, match=r"must be a torch.amp.GradScaler, got"):
        EquiangularDescent(torch.optim.SGD([p], lr=0.1), scaler=scaler)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.LBFGS])
def test_a_closure_keeps_the_number_of_its_losses(kind):
    p, calls = torch.ones(2, requires_grad=True), []
    descent = EquiangularDescent(kind([p], lr=0.1), report=True)

    def closure():
        calls.append(1)
        return [p[0] ** 2, 3 * p[1] ** 4, (p**2).sum()][: 1 + len(calls)]

    with pytest.raises(ValueError, match=r"as many losses in all .* of a step, 2 at first, got 3"):
        descent.step(closure)


def test_micro_batches_accumulate_to_the_direction_of_the_batch():
    model, whole = Tasks(), Tasks()
    descent = EquiangularDescent(torch.optim.SGD(model.parameters(), lr=0.1))
    for rows in (slice(0, 4), slice(4, 8), slice(8, 12)):
        _, losses = model.losses(rows)
        descent.backward([x / 3 for x in losses])
    found = descent.step()
    expected = equiangular_backward(whole.losses()[1], whole.parameters())
    np.testing.assert_allclose(found.weights.weights, expected.weights, rtol=1e-10)
    for p, q in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_micro_batches_must_keep_their_parameters():
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([a, b], lr=0.1)
    descent = EquiangularDescent(optimizer)
    losses = lambda: [(a + 2 * b).sum(), (a * b)[0]]  # noqa: E731
    a.requires_grad_(False)
    descent.backward(losses())
    a.requires_grad_(True)
    b.requires_grad_(False)
    with pytest.raises(ValueError, match=r"keep their parameters.* 1 are gone, 1 are new"):
        descent.backward(losses())
    b.requires_grad_(True)
    descent.zero_grad()
    descent.backward(losses())
    optimizer.add_param_group({"params": [torch.ones(1, requires_grad=True)]})
    with pytest.raises(ValueError, match=r"keep their parameters.* 0 are gone, 1 are new"):
        descent.backward(losses())


def test_misuse_of_the_optimizer():
    model = Tasks()
    with pytest.raises(TypeError, match=r"must be a torch.optim.Optimizer, got list"):
        EquiangularDescent([])
    descent = EquiangularDescent(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="got none since the last step"):
        descent.step()
    descent.backward(model.losses()[1])
    with pytest.raises(TypeError, match="`closure` must be callable"):
        descent.step(model.losses()[1])
    descent.step()  # nothing was forgotten
    descent.backward(model.losses()[1])
    with pytest.raises(ValueError, match=r"keep their number, 3; got 2"):
        descent.backward(model.losses()[1][:2])
    descent.zero_grad()
    with pytest.raises(ValueError, match="got none since"):
        descent.combine()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="shared parameter that requires a gradient"):
        descent.backward([torch.ones((), requires_grad=True) * 1])


def test_no_losses_between_combine_and_step():
    model = Tasks()
    descent = EquiangularDescent(torch.optim.SGD(model.parameters(), lr=0.1))
    descent.backward(model.losses()[1])
    first = descent.combine()
    before = [p.grad.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=r"combined already.*`step`.*`zero_grad`"):
        descent.backward(model.losses()[1])
    with pytest.raises(ValueError, match=r"combined already.*`step`.*`zero_grad`"):
        descent.combine()
    for p, grad in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=0, atol=0)
    assert descent.step().weights is first
    descent.backward(model.losses()[1])
    descent.combine()
    descent.zero_grad()
    descent.backward(model.losses()[1])
    descent.step()


@pytest.mark.parametrize("scaling", ["harmonic", "min", "unit"])
def test_a_gradient_scaler_changes_nothing(scaling):
    model, plain = Tasks(torch.float32), Tasks(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trunk = list(model.trunk.parameters())
    z, losses = model.losses()
    found = equiangular_backward(losses, trunk, shared=z, scaling=scaling, scaler=scaler)
    scaler.unscale_(torch.optim.SGD(trunk, lr=1.0))
    expected = equiangular_backward(plain.losses()[1], plain.trunk.parameters(), scaling=scaling)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-4)
    for p, q in zip(trunk, plain.trunk.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6)


def test_a_gradient_scaler_skips_what_overflows():
    p = torch.tensor([1.0, 2.0], requires_grad=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    descent = EquiangularDescent(torch.optim.SGD([p], lr=0.1), scaler=scaler, report=True)
    found = descent.step(lambda: [4 * p[0], p[1] / 4])
    assert np.isnan(found.weights.weights).all()
    assert found.expected == found.decrease == (0, 0)
    assert p.tolist() == [1, 2]
    assert scaler.get_scale() == 2.0**126
    small = torch.amp.GradScaler("cpu", init_scale=4.0)
    descent = EquiangularDescent(torch.optim.SGD([p], lr=0.1), scaler=small, report=True)
    found = descent.step(lambda: [4 * p[0], p[1] / 4])
    np.testing.assert_allclose(found.expected, found.decrease, rtol=1e-4)


@pytest.mark.parametrize("scales", [(1024.0, 2.0), (2.0, 2.0), (4.0, 1024.0)])
def test_the_scale_may_change_while_gradients_accumulate(scales):
    steps = []
    for changes in ((4.0, 4.0), scales):
        x = torch.tensor([3.0, 1.0], requires_grad=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        descent = EquiangularDescent(torch.optim.SGD([x], lr=0.1), scaler=scaler, report=True)
        for scale in changes:
            descent.backward([x[0] ** 2, 100 * x[1] ** 2])
            scaler.update(new_scale=scale)
        steps.append((descent.step().expected, x.tolist()))
    np.testing.assert_allclose(steps[1][0], steps[0][0], rtol=1e-6)
    np.testing.assert_allclose(steps[1][1], steps[0][1], rtol=1e-6)


def test_autocast():
    model = Tasks(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, losses = model.losses()
    found = equiangular_backward(losses, model.trunk.parameters(), shared=z)
    assert found.worst_cosine > 0
    assert all(p.grad.dtype == torch.float32 for p in model.trunk.parameters())


def test_half_precision_parameters_are_combined_in_float32():
    p = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    losses = [p[0] * k for k in (1.0, 1.01, 0.99, 1.02)]
    found = equiangular_backward(losses, [p])
    assert p.grad.dtype == torch.bfloat16
    assert float(p.grad[0]) == pytest.approx(1.0, rel=2**-7)
    assert found.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_weights_that_the_precision_does_not_hold(dtype):
    p = torch.ones(2, dtype=dtype, requires_grad=True)
    losses = [p[0].real * 2.0**-100 * 2.0**-30, p[1].real]  # the first weight is 7e38
    equiangular_backward(losses, [p], scaling="unit")
    np.testing.assert_allclose(p.grad.real.float(), 0.5, rtol=2**-7)
    p.grad = None
    losses = [p[0].real * 1e-12, p[1].real * 1e30]  # the second weight is 1e-42
    found = equiangular_backward(losses, [p])
    expected = found.weights * [1e-12, 1e30]
    rounding = 2**-7 if dtype == torch.bfloat16 else 1e-6
    np.testing.assert_allclose(p.grad.real.float(), expected, rtol=rounding)


def _rank(rank):
    rows = slice(0, 6) if rank == 0 else slice(6, 12)
    found = []
    for options in ({}, {"gramian": "features"}):
        model = Tasks()
        z, losses = model.losses(rows)
        got = equiangular_backward(
            losses,
            model.trunk.parameters(),
            task_specific=model.heads.parameters(),
            shared=z,
            **options,
        )
        found.append((got.weights.tolist(), [p.grad.tolist() for p in model.parameters()]))
    model = Tasks()
    alone = equiangular_backward(
        model.losses(rows)[1], model.parameters(), synchronize=False
    ).weights.tolist()
    found.append((alone, [p.grad.tolist() for p in model.parameters()]))
    model = Tasks()
    wrapped = nn.parallel.DistributedDataParallel(model.trunk)
    descent = EquiangularDescent(torch.optim.LBFGS(wrapped.parameters(), max_iter=2))
    descent.step(lambda: [wrapped(model.x[rows])[:, i].square().mean() for i in range(3)])
    found.append([p.tolist() for p in model.trunk.parameters()])
    model = Tasks()
    parts = slice(0, 2) if rank == 0 else slice(2, 12)  # losses of other sizes: other line searches
    optimizer = torch.optim.LBFGS(model.trunk.parameters(), line_search_fn="strong_wolfe")
    descent = EquiangularDescent(optimizer, report=True)
    for _ in range(3):
        report = descent.step(lambda: model.losses(parts)[1])
    found.append([report.decrease, optimizer.state_dict()["state"][0]["func_evals"]])
    p, one_sided, nobodys = (torch.ones(2, requires_grad=True) for _ in range(3))
    losses = [(p * p).sum(), p[0] + (one_sided.sum() if rank == 0 else 0)]
    equiangular_backward(losses, [p], task_specific=[one_sided, nobodys])
    found.append([one_sided.grad.tolist(), nobodys.grad])
    found.append([_refusal(rank, **options) for options in ({}, {"gramian": "features"})])
    return found


def _refusal(rank, **options):
    """What is said where one process has a loss less."""
    w = torch.ones(3, requires_grad=True)
    z = 2 * w
    try:
        equiangular_backward(z.unbind()[rank:], [w], shared=z, **options)
    except ValueError as error:
        return str(error)


def test_two_processes_take_the_direction_of_the_whole_batch():
    first, second = in_two_processes(_rank)
    alone = first.pop(2), second.pop(2)
    assert first == second
    assert all("as many losses, got 2 to 3" in refusal for refusal in first.pop())
    assert first[-1] == [[0.5, 0.5], None]
    for (weights, grads), rows in zip(alone, (slice(0, 6), slice(6, 12)), strict=True):
        model = Tasks()  # without synchronization each process takes its own direction
        here = equiangular_backward(model.losses(rows)[1], model.parameters())
        np.testing.assert_allclose(weights, here.weights, rtol=1e-9)
        for p, g in zip(model.parameters(), grads, strict=True):
            np.testing.assert_allclose(p.grad, g, atol=1e-12)
    for (weights, grads), options in zip(first[:2], ({}, {"gramian": "features"}), strict=True):
        model = Tasks()
        z, losses = model.losses()
        found = equiangular_backward(
            losses,
            model.trunk.parameters(),
            task_specific=model.heads.parameters(),
            shared=z,
            **options,
        )
        np.testing.assert_allclose(weights, found.weights, rtol=1e-9)
        for p, g in zip(model.parameters(), grads, strict=True):
            np.testing.assert_allclose(p.grad, g, atol=1e-12)


def test_torchjd_takes_the_direction():
    aggregation = pytest.importorskip("torchjd.aggregation")
    J = torch.tensor([[1.0, 0.0, 2.0], [0.0, 100.0, 1.0], [-1e-3, 1e-3, 1e-3]])
    wide = J.double().numpy()
    found = equiangular_weights(wide @ wide.T)
    weighting, aggregator = EDMWeighting(), EDM(scaling="min", on_zero="drop")
    assert isinstance(weighting, aggregation.Weighting)
    assert isinstance(aggregator, aggregation.GramianWeightedAggregator)
    np.testing.assert_allclose(weighting(J.double() @ J.double().mT), found.weights, rtol=1e-12)
    d = aggregator(J).double().numpy()
    c = wide @ d / np.linalg.norm(wide, axis=1) / np.linalg.norm(d)
    np.testing.assert_allclose(c, found.cosines, atol=1e-6)
    autojac = pytest.importorskip("torchjd.autojac")
    model, other = Tasks(), Tasks()
    z, losses = model.losses()
    autojac.mtl_backward(losses, features=z)
    autojac.jac_to_grad(list(model.trunk.parameters()), EDM())
    z, losses = other.losses()
    equiangular_backward(losses, other.trunk.parameters(), shared=z)
    np.testing.assert_allclose(
        flat(model.trunk.parameters()), flat(other.trunk.parameters()), rtol=1e-9, atol=1e-14
    )


def test_torchjd_combines_half_precision_without_rounding():
    pytest.importorskip("torchjd")
    J = torch.tensor([[1e-3, 0.0], [-6e4 * 0.6, 6e4 * 0.8]], dtype=torch.float16)
    J.requires_grad_()
    d = EDM()(J)
    assert d.dtype == torch.float16
    wide = J.detach().double()
    c = wide @ d.double() / wide.norm(dim=1) / d.double().norm()
    found = equiangular_weights((wide @ wide.mT).numpy())
    np.testing.assert_allclose(c.detach(), found.cosines, atol=2**-10)
    assert d.requires_grad


def test_torchjd_aggregators_refuse_what_they_do_not_know():
    pytest.importorskip("torchjd")
    for make in (EDM, EDMWeighting):
        with pytest.raises(ValueError, match="`scaling` must be"):
            make(scaling="foo")
        with pytest.raises(ValueError, match="`on_zero` must be"):
            make(on_zero="foo")
    with pytest.raises(TypeError, match=r"must be real, got torch.complex64"):
        EDM()(torch.ones(2, 3, dtype=torch.complex64))
    with pytest.raises(TypeError, match="real"):
        EDMWeighting()(torch.eye(2, dtype=torch.complex64))
    for made in (EDM(), EDMWeighting()):
        with pytest.raises(TypeError, match=r"must hold floating-point numbers, got torch.int64"):
            made(torch.eye(2, dtype=torch.int64))


def test_torchjd_aggregators_can_be_pickled():
    pytest.importorskip("torchjd")
    J = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    for made in (EDM(scaling="unit", on_zero="drop"), EDMWeighting(scaling="unit", on_zero="drop")):
        made.eval()
        for copied in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):  # noqa: S301
            assert type(copied) is type(made)
            assert repr(copied) == f"{type(made).__name__}(scaling='unit', on_zero='drop')"
            assert not copied.training
            torch.testing.assert_close(copied(J), made(J), rtol=0, atol=0)
            assert copied(J).tolist() == [1, 0]


def test_without_torchjd_the_remedy_is_told(monkeypatch):
    import sys

    from torch_bridge import _torchjd

    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    monkeypatch.setitem(sys.modules, "torchjd", None)
    _torchjd._classes.cache_clear()
    with pytest.raises(ImportError, match="equiangular_backward"):
        EDM()
