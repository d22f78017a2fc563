"""Tensors changed between the forward and the backward pass of `odeint_adjoint`."""

import copy
import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.utils.checkpoint import checkpoint

from odecore.errors import ChangedTensorError
from torch_bridge import NeuralODE, TimeBatchNorm, odeint_adjoint

D = torch.float64
T = torch.tensor([0.0, 1.0], dtype=D)
KINDS = ["restored", "reversed", "discrete"]
TIGHT = {"rtol": 1e-6, "atol": 1e-6}


class Decay(nn.Module):
    """A buffer and an attribute that are read, and a count that is not."""

    def __init__(self):
        super().__init__()
        self.register_buffer("rate", torch.tensor(-1.0, dtype=D))
        self.register_buffer("count", torch.tensor(0))
        self.shift = {"of": [torch.tensor(0.5, dtype=D)]}
        self.frozen = nn.Parameter(torch.ones((), dtype=D), requires_grad=False)
        self.w = nn.Parameter(torch.tensor(0.5, dtype=D))

    def forward(self, t, y):
        return self.rate * self.w * y + self.shift["of"][0] * self.frozen


class Counting(Decay):
    def forward(self, t, y):
        with torch.no_grad():
            self.count.add_(1)
        return super().forward(t, y)


def loss_of(func, **options):
    y0 = torch.ones(3, dtype=D, requires_grad=True)
    return odeint_adjoint(func, y0, T, **TIGHT, **options)[-1].sum()


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rate", lambda f: f.rate.mul_(2)),
        ("shift.of.0", lambda f: f.shift["of"][0].fill_(9.0)),
        ("frozen", lambda f: f.frozen.add_(1)),
    ],
)
def test_what_func_reads_must_stay(adjoint, name, change):
    func = Decay()
    loss = loss_of(func, adjoint=adjoint)
    with torch.no_grad():
        change(func)
    with pytest.raises(ChangedTensorError, match=rf"`{name}` was .*after the backward pass"):
        loss.backward()


@pytest.mark.parametrize("adjoint", KINDS)
def test_a_parameter_must_stay_as_for_autograd(adjoint):
    func = Decay()
    loss = loss_of(func, adjoint=adjoint)
    with torch.no_grad():
        func.w.add_(1)
    with pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward()


@pytest.mark.parametrize("adjoint", KINDS)
def test_what_func_only_writes_may_change(adjoint):
    func = Counting()
    first, _ = (loss_of(func, adjoint=adjoint, adjoint_params=[func.w]) for _ in range(2))
    func.count.fill_(-7)
    first.backward()
    wanted = copy.deepcopy(func)
    wanted.w.grad = None
    loss_of(wanted, adjoint=adjoint).backward()
    torch.testing.assert_close(func.w.grad, wanted.w.grad)


@pytest.mark.parametrize("adjoint", [None, *KINDS])
@pytest.mark.parametrize("method", ["rk4", "gl4", "dopri5"])
def test_the_first_state_is_the_callers(adjoint, method):
    func = Decay()

    def solved(y0):
        return odeint_adjoint(func, y0, T, method=method, adjoint=adjoint)[-1].square().sum()

    wanted = torch.autograd.grad(solved(torch.ones(3, dtype=D)), func.w)
    y0 = torch.ones(3, dtype=D)
    loss = solved(y0)
    y0.mul_(5)
    assert torch.autograd.grad(loss, func.w) == wanted
    with torch.inference_mode():
        encoded = torch.ones(3, dtype=D)
    assert torch.autograd.grad(solved(encoded), func.w) == wanted


def test_deep_modules_and_tuples_of_states():
    deep = Decay()
    for _ in range(7):
        deep = nn.ModuleDict({"in": deep})
    func = nn.Module()
    func.inner, parts = deep, (torch.ones(3, dtype=D), torch.ones(2, dtype=D))
    decay = next(m for m in deep.modules() if isinstance(m, Decay))
    call = lambda t, y: tuple(decay(t, x) for x in y)  # noqa: E731
    func.forward = call
    loss = odeint_adjoint(func, parts, T, **TIGHT)[1][-1].sum()
    decay.count.add_(1)
    loss.backward(retain_graph=True)
    decay.rate.add_(1)
    with pytest.raises(ChangedTensorError, match="rate"):
        loss.backward()


def test_what_is_closed_over_must_stay():
    matrix, w = torch.eye(3, dtype=D), torch.ones(3, dtype=D, requires_grad=True)

    def inner(y):
        return y @ matrix

    loss = loss_of(lambda t, y: w * inner(y), adjoint_params=[w])
    matrix.neg_()
    with pytest.raises(ChangedTensorError, match=r"`inner\.matrix`"):
        loss.backward()


@pytest.mark.parametrize("read", ["item", "tolist", "numpy", "bool"])
def test_values_that_go_to_the_host_are_read(read):
    class Steered(Decay):
        def forward(self, t, y):
            rate = self.rate.detach()
            known = {"item": rate.item, "tolist": rate.tolist, "numpy": lambda: float(rate.numpy())}
            return self.w * y * (known[read]() if read in known else 1.0 if rate > 0 else 2.0)

    func = Steered()
    loss = loss_of(func)
    func.rate.neg_()
    with pytest.raises(ChangedTensorError, match="`rate`"):
        loss.backward()


class Normalised(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 3), norm
        self.double()

    def forward(self, t, y):
        y = self.layer(y)
        return self.norm(t, y) if isinstance(self.norm, TimeBatchNorm) else self.norm(y)


@pytest.mark.filterwarnings("ignore::odecore.errors.OdecoreWarning")
@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(3), lambda: TimeBatchNorm(3)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalization(make, training):
    func = Normalised(make()).train(training)
    y0 = torch.randn(8, 3, dtype=D, requires_grad=True)
    first, _ = (odeint_adjoint(func, y0, T, **TIGHT)[-1].square().sum() for _ in range(2))
    if training:  # the second solve has moved the statistics, which the first does not read
        first.backward()
        return
    func.norm.running_var.mul_(4)
    with pytest.raises(ChangedTensorError, match=r"`norm\.running_var`"):
        first.backward()


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_reads_what_there_is_in_its_own_pass(reentrant):
    func = Decay()
    y0 = torch.ones(3, dtype=D, requires_grad=True)
    y = checkpoint(lambda y: odeint_adjoint(func, y, T, **TIGHT), y0, use_reentrant=reentrant)
    y[-1].sum().backward()
    assert func.w.grad is not None


def test_under_torch_func():
    func = Decay()
    names = {"w": func.w.detach().clone()}
    solve = lambda p: torch.func.functional_call(Solved(func), {"func.w": p["w"]}, ())  # noqa: E731
    _, pull = torch.func.vjp(solve, names)
    func.rate.mul_(2)
    with pytest.raises(ChangedTensorError, match="rate"):
        pull(torch.ones((), dtype=D))


class Solved(nn.Module):
    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self):
        return loss_of(self.func)


def test_a_copy_may_change_and_nothing_is_kept_alive():
    func = Decay()
    loss = loss_of(func)
    copy.deepcopy(func).rate.mul_(2)
    loss.backward()
    held = [torch.ones(3, dtype=D)]
    gone = weakref.ref(held[0])
    loss = loss_of(lambda t, y: -y * held[0], adjoint_params=())
    held.clear()
    gc.collect()
    assert gone() is None
    del loss


def test_a_function_without_a_module_is_looked_through():
    made = {}
    exec("def f(t, y): return -y", {"__builtins__": {}}, made)  # noqa: S102
    assert made["f"].__module__ is None
    y0 = torch.ones(2, requires_grad=True)
    odeint_adjoint(made["f"], y0, torch.tensor([0.0, 1.0]), adjoint_params=())[-1].sum().backward()
    assert float(y0.grad[0]) == pytest.approx(0.36788, abs=1e-4)


def doubled_twice(func):
    for _ in range(2):  # the second one may come to lie where the tensors were at first
        vector_to_parameters(2 * parameters_to_vector(func.parameters()), func.parameters())


def turned(func):
    func.w.data = func.w.data.t()


REPLACED = {
    "parameters by a vector": (doubled_twice, "w"),
    "a buffer": (lambda f: setattr(f.rate, "data", f.rate - 1), "rate"),
    "a closed-over tensor": (lambda f: setattr(f.held, "data", f.held + 1), "held"),
    "precision": (lambda f: f.float(), "w"),
    "the order of entries": (turned, "w"),
}


class Held(nn.Module):
    def __init__(self, held):
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 3, dtype=D))
        self.register_buffer("rate", torch.tensor(-1.0, dtype=D))
        self.register_buffer("count", torch.tensor(0.0, dtype=D))
        self.held, self.read = held, lambda y: y * held

    def forward(self, t, y):
        self.count.add_(1)
        return self.rate * torch.tanh(y @ self.w) + self.read(y)


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("change", REPLACED)
def test_what_func_reads_must_keep_its_data(adjoint, change):
    func = Held(torch.ones(3, dtype=D))
    loss = NeuralODE(func, adjoint=adjoint, check="off")(torch.ones(2, 3, dtype=D)).sum()
    change, name = REPLACED[change]
    change(func)
    with pytest.raises(ChangedTensorError, match=rf"`{name}` was .*after the backward pass"):
        loss.backward()


def test_parameters_that_are_not_found_must_keep_their_data():
    hidden = SimpleNamespace(w=torch.ones(3, dtype=D, requires_grad=True))
    loss = loss_of(lambda t, y: hidden.w * y, adjoint_params=[hidden.w])
    hidden.w.data = 2 * hidden.w.data
    with pytest.raises(ChangedTensorError, match=r"`adjoint_params\.0`"):
        loss.backward()


@pytest.mark.parametrize("adjoint", KINDS)
def test_data_may_go_and_come_back(adjoint):
    func = Held(torch.ones(3, dtype=D))
    found = []
    for swaps in (False, True):
        y0 = torch.ones(2, 3, dtype=D, requires_grad=True)
        loss = odeint_adjoint(func, y0, T, **TIGHT, adjoint=adjoint)[-1].sum()
        if swaps:
            kept = [p.data for p in func.parameters()]
            for p in func.parameters():  # an average of the weights, for an evaluation
                p.data = 0.5 * p.data
            for p, data in zip(func.parameters(), kept, strict=True):
                p.data = data
            func.double().requires_grad_()  # as they are
            func.count.data = torch.zeros((), dtype=D)  # which is only written
        found.append(torch.autograd.grad(loss, [y0, *func.parameters()]))
    for wanted, one in zip(*found, strict=True):
        torch.testing.assert_close(one, wanted)


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("name", ["to_sparse", "to_sparse_csr"])
def test_tensors_without_a_storage(name):
    matrix = getattr(torch.eye(3, dtype=D), name)()
    func = lambda t, y: (matrix @ y[:, None])[:, 0]  # noqa: E731
    y0 = torch.ones(3, dtype=D, requires_grad=True)
    odeint_adjoint(func, y0, T, **TIGHT, adjoint_params=())[-1].sum().backward()
    assert float(y0.grad[0]) == pytest.approx(2.71828, abs=1e-4)
