"""`odeint_adjoint`: nodes, collocation, the other adjoints, certificates."""

import copy
import math
import warnings
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from odecore import errors
from odecore.tableaux import tableau
from tests.helpers.two_processes import in_two_processes
from torch_bridge import (
    Certifier,
    DenseField,
    _step_adjoints,
    odeint,
    odeint_adjoint,
    odeint_event,
)
from torch_bridge._products import Products

D = torch.float64


class Field(nn.Module):
    def __init__(self, width=4, hidden=16, scale=1.0, batch_norm=False):
        super().__init__()
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.net = nn.Sequential(
            nn.Linear(width, hidden), norm, nn.Tanh(), nn.Linear(hidden, width)
        )
        self.double()
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(scale)
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        return self.net(y) * torch.cos(t)


def vector(found):
    return torch.cat([g.ravel() for g in found])


def gradients(func, y0, t, solve=odeint_adjoint, **options):
    start = y0.clone().requires_grad_()
    y = solve(func, start, t, **options)
    func.calls = 0
    return vector(torch.autograd.grad((y[1:] ** 2).sum(), [start, *func.parameters()]))


def exact(func, y0, t, **options):
    return gradients(func, y0, t, solve=odeint, rtol=1e-11, atol=1e-12, **options)


T = torch.tensor([0.0, 0.4, 1.0], dtype=D)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("method", ["dopri5", "tsit5", "dopri8", "kvaerno43"])
@pytest.mark.parametrize("t", [T, T.flip(0)], ids=["forward", "backward"])
def test_gradients_are_within_the_tolerance(scale, method, t):
    func, y0 = Field(scale=scale), torch.randn(7, 4, dtype=D)
    wanted = exact(func, y0, t)
    for tolerance in (1e-4, 1e-7):
        found = gradients(func, y0, t, rtol=tolerance, atol=tolerance, method=method)
        assert (found - wanted).norm() / wanted.norm() < 100 * tolerance


def test_func_is_evaluated_once_for_each_panel():
    func, y0 = Field(), torch.randn(7, 4, dtype=D)
    gradients(func, y0, T, rtol=1e-6, atol=1e-6)
    assert func.calls == 2  # two intervals between output times, a panel each
    gradients(func, y0, T, rtol=1e-6, atol=1e-6, adjoint_method="dopri5", adjoint_options={})
    assert func.calls > 20


def test_what_vmap_can_not_do_goes_node_by_node():
    class Branching(Field):
        def forward(self, t, y):
            self.calls += 1
            return self.net(y) if float(y.detach().sum()) < 1e9 else y

    func, y0 = Branching(), torch.randn(3, 4, dtype=D)
    found = gradients(func, y0, T, rtol=1e-7, atol=1e-7)
    wanted = exact(func, y0, T)
    assert (found - wanted).norm() / wanted.norm() < 1e-5
    func = Field(batch_norm=True)  # its running statistics change in place
    y0 = torch.randn(16, 4, dtype=D)
    other = copy.deepcopy(func)
    found, wanted = gradients(func, y0, T, rtol=1e-7, atol=1e-7), exact(other, y0, T)
    assert (found - wanted).norm() / wanted.norm() < 1e-5


def test_an_error_of_func_is_its_own():
    class Failing(Field):
        broken = False

        def forward(self, t, y):
            if self.broken:
                raise KeyError("mine")
            return super().forward(t, y)

    func = Failing()
    y = odeint_adjoint(func, torch.randn(3, 4, dtype=D), T, rtol=1e-5, atol=1e-5)
    func.broken = True
    with pytest.raises(KeyError, match="mine"):
        y.sum().backward()


def test_a_field_that_differentiates_inside():
    class Hamiltonian(Field):
        def forward(self, t, y):
            self.calls += 1
            with torch.enable_grad():
                x = y if y.requires_grad else y.detach().requires_grad_()
                energy = self.net(x).square().sum()
                (slope,) = torch.autograd.grad(energy, x, create_graph=True)
            q, p = slope.chunk(2, -1)
            return torch.cat([p, -q], -1)

    func, y0 = Hamiltonian(), torch.randn(3, 4, dtype=D)
    found, wanted = gradients(func, y0, T, rtol=1e-7, atol=1e-7), exact(func, y0, T)
    assert (found - wanted).norm() / wanted.norm() < 1e-5


class Held:
    """A saved tensor; its storage is counted, once, while it is kept."""

    live, most = Counter(), 0

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # with its history an output would keep itself alive
        storage = tensor.untyped_storage()
        self.key = storage.data_ptr(), storage.nbytes()
        Held.live[self.key] += 1
        Held.most = max(Held.most, sum(size for (_, size), n in Held.live.items() if n))

    def __del__(self):
        Held.live[self.key] -= 1


@pytest.mark.parametrize("memory", [pytest.param(2**19, marks=pytest.mark.long), 2**20, 2**22])
def test_a_memory_budget_is_kept(memory):
    func, y0 = Field(hidden=512), torch.randn(64, 4, dtype=D)
    wanted = exact(func, y0, T)
    func.calls = 0
    start = y0.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        y = odeint_adjoint(func, start, T, rtol=1e-5, atol=1e-5, memory=memory)
        Held.live.clear()
        Held.most = 0
        found = torch.autograd.grad((y[1:] ** 2).sum(), [start, *func.parameters()])
    error = vector(found) - wanted
    assert error.norm() / wanted.norm() < 1e-3
    assert 0 < Held.most < memory + 2**19  # one evaluation saves 2**18 bytes


@pytest.mark.parametrize("adjoint", ["restored", "discrete"])
def test_a_memory_budget_may_be_infinite(adjoint):
    func, y0 = Field(), torch.randn(7, 4, dtype=D)
    wanted = gradients(func, y0, T, rtol=1e-5, atol=1e-5, adjoint=adjoint, memory=10**9)
    calls = func.calls
    found = gradients(func, y0, T, rtol=1e-5, atol=1e-5, adjoint=adjoint, memory=float("inf"))
    assert torch.equal(found, wanted)
    assert func.calls <= calls


def test_nodes_and_warnings():
    func = Field(scale=3.0)
    y0 = torch.randn(3, 4, dtype=D)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradients(func, y0, T, rtol=1e-9, atol=1e-9)  # as many nodes as it takes
    with pytest.warns(errors.UnresolvedInterpolantWarning):
        gradients(func, y0, T, rtol=1e-9, atol=1e-9, nodes=4)
    with pytest.warns(errors.UnresolvedInterpolantWarning):
        gradients(func, y0, T, rtol=1e-9, atol=1e-9, memory=2000)


def test_collocation_after_fixed_steps():
    func, y0 = Field(), torch.randn(3, 4, dtype=D)
    options = {"method": "rk4", "options": {"steps": 40}, "adjoint_method": "collocation"}
    found = gradients(func, y0, T, **options)
    assert func.calls == 2
    wanted = exact(func, y0, T)
    assert (found - wanted).norm() / wanted.norm() < 1e-5
    loose = gradients(func, y0, T, adjoint_rtol=0.1, adjoint_atol=0.1, **options)
    assert (loose - wanted).norm() / wanted.norm() > 1e-5


def test_float32():
    func, y0 = Field().float(), torch.randn(3, 4)
    found = gradients(func, y0, T.float(), rtol=1e-5, atol=1e-5)
    wanted = exact(Field(), y0.double(), T)
    assert found.dtype == torch.float32
    assert (found - wanted).norm() / wanted.norm() < 1e-3


KINDS = ["restored", "reversed", "discrete"]


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_all_adjoints_agree(adjoint, scale):
    func, y0 = Field(scale=scale), torch.randn(7, 4, dtype=D)
    found = gradients(func, y0, T, rtol=1e-8, atol=1e-8, adjoint=adjoint)
    wanted = exact(func, y0, T)
    assert (found - wanted).norm() / wanted.norm() < 1e-5


@pytest.mark.parametrize("memory", [None, 3 * 7 * 4 * 8])
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "options": {"steps": 9}}])
def test_the_discrete_adjoint_is_that_of_the_steps(memory, options):
    func, y0 = Field(scale=2.0), torch.randn(7, 4, dtype=D)
    found = gradients(
        func, y0, T, rtol=1e-3, atol=1e-3, adjoint="discrete", memory=memory, **options
    )
    more = options or {"options": {"step_t": T}}  # steps land on the output times
    wanted = gradients(func, y0, T, solve=odeint, rtol=1e-3, atol=1e-3, **more)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("memory", [None, 3 * 5 * 4 * 8])
@pytest.mark.parametrize("method", ["implicit_midpoint", "sdirk2", "radauIIA5"])
def test_the_discrete_adjoint_is_that_of_implicit_steps(memory, method):
    # Autograd goes through Newton's method by the implicit function theorem.
    func, y0 = Field(scale=2.0), torch.randn(5, 4, dtype=D)
    options = {"method": method, "options": {"steps": 4}}
    found = gradients(func, y0, T, adjoint="discrete", memory=memory, **options)
    wanted = gradients(func, y0, T, solve=odeint, **options)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("adjoint", KINDS)
def test_implicit_steps_of_large_states_have_adjoints(adjoint):
    # Beyond 400 unknowns no matrix is formed.
    func, y0 = Field(scale=2.0), torch.randn(110, 4, dtype=D)
    t = torch.tensor([0.0, 0.3], dtype=D)
    options = {"method": tableau("kvaerno43"), "rtol": 1e-5, "atol": 1e-5}
    found = gradients(func, y0, t, adjoint=adjoint, **options)
    wanted = exact(func, y0, t)
    assert (found - wanted).norm() / wanted.norm() < 1e-3


@pytest.mark.sampled(2)
@pytest.mark.parametrize("adjoint", ["restored", pytest.param("reversed", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("method", "error"), [("trbdf2", 1e-4), ("radauIIA5", 1e-8), ("implicit_euler", 3e-2)]
)
def test_implicit_steps_go_backward(adjoint, method, error):
    # Newton's unknowns are the adjoint there, or state, adjoint and gradient together.
    func, y0 = Field(), torch.randn(5, 4, dtype=D)

    def found(solve, **options):
        loss = solve(func, y0, T[:2], **options)[-1].square().sum()
        return vector(torch.autograd.grad(loss, list(func.parameters())))

    given = {"method": method, "options": {"steps": 40}}
    gradient = found(odeint_adjoint, adjoint=adjoint, **given)
    wanted = found(odeint, rtol=1e-10, atol=1e-12)
    assert (gradient - wanted).norm() < error * wanted.norm()


def test_the_discrete_adjoint_of_adaptive_implicit_steps():
    func, y0 = Field(scale=2.0), torch.randn(5, 4, dtype=D)
    options = {"method": tableau("kvaerno43"), "rtol": 1e-6, "atol": 1e-6}
    found = gradients(func, y0, T, adjoint="discrete", **options)
    assert (found - exact(func, y0, T)).norm() / found.norm() < 1e-5


@pytest.mark.parametrize("adjoint", KINDS)
def test_tuple_states_of_all_adjoints(adjoint):
    class Pair(Field):
        def forward(self, t, state):
            y, z = state
            return super().forward(t, y), -z * y.sum()

    func, results = Pair(), []
    y0, z0 = torch.randn(3, 4, dtype=D), torch.ones(2, dtype=D)
    for solve, options in ((odeint_adjoint, {"adjoint": adjoint}), (odeint, {})):
        y, z = solve(func, (y0, z0), T, rtol=1e-8, atol=1e-8, **options)
        loss = y[1:].square().sum() + z[-1].sum()
        found = torch.autograd.grad(loss, [*func.parameters()])
        results.append(vector(found))
    assert (results[0] - results[1]).norm() / results[1].norm() < 1e-5


@pytest.mark.parametrize("adjoint", KINDS)
def test_no_adjoint_loses_a_gradient(adjoint):
    w = torch.tensor(0.3, dtype=D, requires_grad=True)

    class Closing(Field):
        def forward(self, t, y):
            return super().forward(t, y) * w

    y = odeint_adjoint(
        Closing(), torch.randn(3, 4, dtype=D), T, rtol=1e-5, atol=1e-5, adjoint=adjoint
    )
    with pytest.raises(ValueError, match="its gradient would be lost"):
        y.sum().backward()


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("samples", [1, 30_000], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["read once", "returned", "beside one that is listed"])
def test_no_adjoint_loses_a_gradient_in_one_step(kind, samples, adjoint):
    w = torch.ones(2, 4, dtype=D, requires_grad=True)
    a, b = w.unbind()
    func, listed = {
        "read once": (lambda t, y: -a * y, ()),
        "returned": (lambda t, y: leaf, ()),
        "beside one that is listed": (lambda t, y: a * y + b, (a,)),
    }[kind]
    y0 = torch.ones(samples, 4, dtype=D, requires_grad=True)
    leaf = torch.ones(samples, 4, dtype=D, requires_grad=True)
    options = {"method": "euler", "adjoint": adjoint, "adjoint_params": listed}
    y = odeint_adjoint(func, y0, T[:2], **options)
    with pytest.raises(ValueError, match="its gradient would be lost"):
        y.sum().backward()


@pytest.mark.parametrize("adjoint", KINDS)
def test_no_adjoint_loses_a_gradient_in_one_step_of_a_function_that_makes_leaves(adjoint):
    w = torch.tensor(2.0, dtype=D, requires_grad=True)

    def func(t, y):
        made = torch.ones(4, dtype=D, requires_grad=True)
        return made * y * w if t == 0.5 else made * y

    y0 = torch.ones(3, 4, dtype=D, requires_grad=True)
    t = torch.linspace(0, 1, 5, dtype=D)
    y = odeint_adjoint(func, y0, t, method="euler", adjoint=adjoint, adjoint_params=())
    with pytest.raises(ValueError, match="its gradient would be lost"):
        y.sum().backward()


@pytest.mark.parametrize("adjoint", KINDS)
def test_no_adjoint_is_differentiated_twice(adjoint):
    func, y0 = Field(), torch.randn(3, 4, dtype=D, requires_grad=True)
    y = odeint_adjoint(func, y0, T, rtol=1e-5, atol=1e-5, adjoint=adjoint)
    (first,) = torch.autograd.grad(y[-1].square().sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="can not be differentiated again; use `odeint`"):
        first.sum().backward()


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("hooks", [False, True])
def test_no_path_to_a_second_derivative_is_cut_in_silence(adjoint, hooks):
    # torch.autograd.grad goes along the paths to its inputs only, and .backward() along all.
    func, y0 = Field(), torch.randn(1, 4, dtype=D, requires_grad=True)
    w = torch.tensor(2.0, dtype=D, requires_grad=True)

    def last(y):
        return odeint_adjoint(func, y, T, rtol=1e-5, atol=1e-5, adjoint=adjoint)[-1]

    with torch.autograd.graph.save_on_cpu() if hooks else nullcontext():
        firsts = torch.autograd.grad(
            w * last(y0).sum(), [y0, *func.parameters()], create_graph=True
        )
    for first in firsts:
        for x in (y0, w, *func.parameters()):
            with pytest.raises(RuntimeError, match="can not be differentiated again"):
                torch.autograd.grad(first.sum(), x, allow_unused=True, retain_graph=True)
    with pytest.raises(RuntimeError, match="can not be differentiated again"):
        torch.autograd.functional.hessian(lambda y: last(y).square().sum(), y0.detach())


@pytest.mark.parametrize("adjoint", KINDS)
def test_certificates(adjoint):
    func, y0 = Field(scale=3.0), torch.randn(7, 4, dtype=D)
    certifier = Certifier()
    options = {"rtol": 1e-4, "atol": 1e-4, "adjoint": adjoint}
    found = gradients(func, y0, T, certificate=certifier, **options)
    # The cotangents are those of the inexact states: the truth to compare with has them too.
    with torch.no_grad():
        y = odeint_adjoint(func, y0, T, **options)
    start = y0.clone().requires_grad_()
    exactly = odeint(func, start, T, rtol=1e-11, atol=1e-12)
    wanted = torch.autograd.grad(exactly[1:], [start, *func.parameters()], 2 * y[1:])
    wanted = vector(wanted)
    error = float((found - wanted).norm() / wanted.norm())
    assert certifier.errors[0] == pytest.approx(error, rel=0.3)
    refined = gradients(func, y0, T, certificate=Certifier(1e-12, "refine"), **options)
    assert (refined - wanted).norm() < 0.05 * (found - wanted).norm()
    with pytest.warns(errors.UncertifiedGradientWarning, match="relative error of this gradient"):
        gradients(func, y0, T, certificate=1e-12, **options)
    with pytest.raises(errors.UncertifiedGradientError):
        gradients(func, y0, T, certificate=Certifier(1e-12, "raise"), **options)


@pytest.mark.parametrize("action", [None, "raise", "refine"])
@pytest.mark.parametrize("adjoint", KINDS)
def test_the_size_of_the_loss_does_not_matter(adjoint, action):
    func, y0 = Field(scale=3.0), torch.randn(7, 4, dtype=D)
    options = {"rtol": 1e-4, "atol": 1e-4, "adjoint": adjoint}

    def gradient(size):
        certifier = None if action is None else Certifier(on_uncertified=action)
        y = odeint_adjoint(func, y0, T, certificate=certifier, **options)
        found = torch.autograd.grad(size * y[-1].sum(), list(func.parameters()))
        return vector(found) / size, certifier and certifier.errors[0]

    wanted, error = gradient(1.0)
    for size in (1e-200, 1e-8, 1e200):
        found, estimate = gradient(size)
        assert torch.allclose(found, wanted, rtol=0, atol=float(1e-11 * wanted.norm()))
        assert estimate == (error if error is None else pytest.approx(error, rel=1e-6))


@pytest.mark.parametrize("action", [None, "warn", "raise", "refine"])
@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_of_a_loss_that_is_not_finite_are_nan(adjoint, action, bad):
    func, y0 = Field(), torch.randn(3, 4, dtype=D, requires_grad=True)
    certifier = None if action is None else Certifier(on_uncertified=action)
    y = odeint_adjoint(func, y0, T, adjoint=adjoint, certificate=certifier)
    found = torch.autograd.grad(y[1, 2, 0] * bad + y[-1].sum(), [y0, *func.parameters()])
    assert all(g.isnan().all() for g in found)
    if certifier is not None:
        assert [str(x) for x in certifier.errors] == ["nan"]
        assert certifier.last is None


def test_certificates_now_and_then():
    func, y0 = Field(), torch.randn(3, 4, dtype=D)
    certifier = Certifier(every=3)
    for _ in range(7):
        gradients(func, y0, T, rtol=1e-5, atol=1e-5, certificate=certifier)
    assert len(certifier.errors) == 3
    with pytest.raises(ValueError, match="one of warn, raise, refine"):
        Certifier(on_uncertified="ignore")
    with pytest.raises(ValueError, match="must be positive"):
        Certifier(0.0)
    for limit in (True, "1e-3"):
        with pytest.raises(ValueError, match=r"`limit` must be positive.*`certificate=True`"):
            odeint_adjoint(func, y0, T, certificate=Certifier(limit))
    for every in (0, 1.5, True):
        with pytest.raises(ValueError, match="`every` must be a whole number from 1, got"):
            Certifier(every=every)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adjoint": "backwards"}, "one of restored, reversed, discrete"),
        ({"adjoint": "reversed", "nodes": 9}, "nodes have no effect"),
        ({"memory": 1.5}, "`memory` must be a positive whole number of bytes, got 1.5; leave it"),
        ({"memory": 0}, "`memory` must be a positive whole number"),
        ({"adjoint": "discrete", "memory": True}, "`memory` must be a positive whole number"),
        ({"adjoint": "discrete", "adjoint_rtol": 1e-3}, "adjoint_rtol have no effect"),
        ({"adjoint": "reversed", "adjoint_method": "collocation"}, "collocation.* have no effect"),
        (
            {"adjoint": "discrete", "method": "explicit_adams", "options": {"step_size": 0.1}},
            "needs a Runge-Kutta method, got Adams",
        ),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        odeint_adjoint(Field(), torch.randn(3, 4, dtype=D), T, **options)


@pytest.mark.parametrize("options", [{}, {"nodes": 9}, {"adjoint": "discrete"}])
def test_times_that_are_repeated_are_named_as_given(options):
    t = torch.tensor([0.0, 1.0, 1.0, 2.0], dtype=D)
    with pytest.raises(ValueError, match=r"entries 1 and 2 are 1\.0 and 1\.0: sort them"):
        odeint_adjoint(Field(), torch.randn(3, 4, dtype=D), t, **options)


def test_the_seminorm_of_the_reversed_adjoint():
    func, y0 = Field(scale=2.0), torch.randn(500, 4, dtype=D)  # sums over many: large gradients
    options = {"rtol": 1e-6, "atol": 1e-6, "adjoint": "reversed"}
    plain = gradients(func, y0, T, **options)
    calls = func.calls
    semi = gradients(func, y0, T, adjoint_options={"norm": "seminorm"}, **options)
    assert func.calls < calls
    assert (semi - plain).norm() / plain.norm() < 1e-4


@pytest.mark.parametrize("adjoint", ["restored", "reversed"])
def test_jumps_between_output_times(adjoint):
    class Jumping(Field):
        def forward(self, t, y):
            self.calls += 1
            return torch.where(t < 0.55, 1.0, -4.0) * self.net(y)

    func, y0 = Jumping(scale=2.0), torch.randn(3, 4, dtype=D)
    jumps = {"jump_t": torch.tensor([0.55], dtype=D)}
    found = gradients(func, y0, T, rtol=1e-7, atol=1e-7, options=jumps, adjoint=adjoint)
    calls = func.calls
    wanted = exact(func, y0, T, options=jumps)
    assert (found - wanted).norm() / wanted.norm() < 1e-5
    assert adjoint == "reversed" or calls == 3  # a panel each


@pytest.mark.parametrize("adjoint", KINDS[:2])
@pytest.mark.parametrize("nodes", [None, 17])
def test_a_control_that_jumps_from_rest(adjoint, nodes):
    class Controlled(nn.Module):  # y stands still until the control sets in
        def __init__(self):
            super().__init__()
            self.u = nn.Parameter(torch.tensor([0.7], dtype=D))

        def forward(self, t, y):
            return torch.where(t < 0.5, 0.0, 1.0) * self.u - 0.3 * y**3

    func, y0 = Controlled(), torch.zeros(1, dtype=D)
    t, jumps = torch.tensor([0.0, 1.0], dtype=D), {"jump_t": torch.tensor([0.5], dtype=D)}
    more = {"nodes": nodes} if adjoint == "restored" else {}
    grads = []
    for solve, options in ((odeint_adjoint, {"adjoint": adjoint, **more}), (odeint, {})):
        y = solve(func, y0, t, rtol=1e-8, atol=1e-9, options=jumps, **options)
        grads.append(vector(torch.autograd.grad(y[-1].sum(), [*func.parameters()])))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("adjoint", KINDS)
def test_buffers_are_those_of_the_forward_pass(adjoint):
    class Buffered(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("rate", torch.tensor(-1.0, dtype=D))
            self.w = nn.Parameter(torch.tensor(0.5, dtype=D))

        def forward(self, t, y):
            return self.rate * self.w * y

    func, y0 = Buffered(), torch.ones(2, dtype=D, requires_grad=True)
    y = odeint_adjoint(func, y0, T, rtol=1e-8, atol=1e-9, adjoint=adjoint)
    func.rate = torch.tensor(7.0, dtype=D)
    (found,) = torch.autograd.grad(y[-1].sum(), y0)
    torch.testing.assert_close(found, torch.full((2,), -0.5, dtype=D).exp(), rtol=1e-6, atol=0)
    call = lambda t, y: torch.func.functional_call(func, {"rate": torch.tensor(-2.0, dtype=D)}, (t, y))  # fmt: skip # noqa: E731
    y = odeint_adjoint(call, y0, T, rtol=1e-8, atol=1e-9, adjoint=adjoint, adjoint_params=(func.w,))
    (found,) = torch.autograd.grad(y[-1].sum(), y0)
    torch.testing.assert_close(found, torch.full((2,), -1.0, dtype=D).exp(), rtol=1e-6, atol=0)


def test_attributes_that_func_sets_stay_tensors():
    class Noting(Field):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", torch.zeros(3, 4, dtype=D))
            self.norm = None

        def forward(self, t, y):
            self.norm = y.detach().norm()
            self.last = y.detach()
            return super().forward(t, y)

    func, y0 = Noting(), torch.randn(3, 4, dtype=D)
    for _ in range(2):
        found = gradients(func, y0, T, rtol=1e-7, atol=1e-7)
        assert func.norm.shape == ()
        assert func.last.shape == (3, 4)
        copy.deepcopy(func.state_dict())
    wanted = exact(func, y0, T)
    assert (found - wanted).norm() / wanted.norm() < 1e-5


def test_samples_with_small_cotangents_are_as_good():
    func, y0 = Field(scale=3.0), torch.randn(5, 4, dtype=D)
    weights = torch.tensor([1.0, 1e-6, 1e3, 1e-3, 1.0], dtype=D)[:, None]
    results = []
    for solve, tolerance in ((odeint_adjoint, 1e-7), (odeint, 1e-11)):
        start = y0.clone().requires_grad_()
        y = solve(func, start, T, rtol=tolerance, atol=tolerance / 1e4)
        results.append(torch.autograd.grad((weights * y[-1]).sum(), start)[0])
    errors = (results[0] - results[1]).norm(dim=1) / results[1].norm(dim=1)
    assert errors.max() < 1e-4


def test_max_num_steps_is_for_each_interval():
    func, y0 = Field(scale=3.0), torch.randn(3, 4, dtype=D)
    t = torch.linspace(0, 4, 9, dtype=D)
    options = {"rtol": 1e-7, "atol": 1e-7, "options": {"max_num_steps": 12}}
    odeint(func, y0, t, **options)
    for adjoint in KINDS[:2]:
        odeint_adjoint(func, y0, t, adjoint=adjoint, **options)


@pytest.mark.parametrize("adjoint", KINDS)
def test_dtypes_of_state_and_parameters_may_differ(adjoint):
    w = torch.tensor([0.5, -0.3], dtype=D, requires_grad=True)
    for dtype in (torch.complex128, torch.float32):
        y0 = torch.ones(2, dtype=dtype, requires_grad=True)
        rate = 1j if dtype.is_complex else 1.0
        func = lambda t, y, rate=rate: (rate * w * y).to(y.dtype)  # noqa: E731
        grads = []
        for solve, more in (
            (odeint_adjoint, {"adjoint": adjoint, "adjoint_params": (w,)}),
            (odeint, {}),
        ):
            y = solve(func, y0, T, rtol=1e-5, atol=1e-6, **more)
            loss = y[-1].real.square().sum() + y[-1].imag.sum() if dtype.is_complex else y[-1].sum()
            grads.append(torch.autograd.grad(loss, [w, y0]))
        for a, b in zip(*grads, strict=True):
            assert a.dtype == b.dtype
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("adjoint", ["restored", "reversed"])
def test_tolerances_of_entries_and_leaves(adjoint):
    func, y0 = Field(), torch.randn(3, 4, dtype=D)
    found = gradients(func, y0, T, rtol=torch.full((4,), 1e-7, dtype=D), atol=1e-8, adjoint=adjoint)
    wanted = exact(func, y0, T)
    assert (found - wanted).norm() / wanted.norm() < 1e-5

    class Pair(Field):
        def forward(self, t, state):
            return super().forward(t, state[0]), -state[1]

    pair = Pair()
    y, z = odeint_adjoint(
        pair, (y0, y0[0]), T, rtol=(1e-7, 1e-6), atol=(1e-8, 1e-7), adjoint=adjoint,
        adjoint_rtol=(1e-6, 1e-6), adjoint_atol=(1e-8, 1e-8),
    )  # fmt: skip
    torch.autograd.grad(y[-1].sum() + z[-1].sum(), [*pair.parameters()])


@pytest.mark.parametrize("nodes", [8, 9, 16, 17])
def test_even_and_odd_numbers_of_nodes_do_not_warn_falsely(nodes):
    func, y0 = Field(), torch.randn(3, 4, dtype=D)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradients(func, y0, T, rtol=1e-4, atol=1e-4, nodes=nodes)
    with pytest.raises(ValueError, match="at least 2"):
        gradients(func, y0, T, nodes=0)


class Checkpointed(Field):
    def forward(self, t, y):
        return torch.utils.checkpoint.checkpoint(super().forward, t, y, use_reentrant=False)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("adjoint", [None, "restored", "reversed", "discrete"])
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "options": {"steps": 20}}], ids=str)
@pytest.mark.parametrize("more", [{}, {"certificate": 1e-2}], ids=str)
def test_a_checkpoint_inside_of_the_function(adjoint, options, more):
    y0 = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=D)
    found = gradients(Checkpointed(), y0, T, adjoint=adjoint, **options, **more)
    torch.testing.assert_close(found, exact(Field(), y0, T), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("adjoint", KINDS)
def test_under_checkpoint(adjoint, reentrant):
    func, y0 = Field(), torch.randn(3, 4, dtype=D)
    options = {"rtol": 1e-6, "atol": 1e-6, "adjoint": adjoint}

    def block(start):
        return odeint_adjoint(func, start, T, **options)[-1]

    start = y0.clone().requires_grad_()
    y = torch.utils.checkpoint.checkpoint(block, start, use_reentrant=reentrant)
    if reentrant:  # which does not allow torch.autograd.grad
        y.square().sum().backward()
        found = [start.grad, *(p.grad for p in func.parameters())]
    else:
        found = torch.autograd.grad(y.square().sum(), [start, *func.parameters()])
    start = y0.clone().requires_grad_()
    wanted = torch.autograd.grad(block(start).square().sum(), [start, *func.parameters()])
    torch.testing.assert_close(vector(found), vector(wanted), rtol=1e-12, atol=1e-14)


def _rank(rank):
    func, y0 = Field(), torch.linspace(-1, 1, 24, dtype=D).reshape(6, 4)[3 * rank : 3 * rank + 3]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.func = func

        def forward(self, y):
            return odeint_adjoint(self.func, y, T, rtol=1e-8, atol=1e-8)[-1]

    model = nn.parallel.DistributedDataParallel(Block())
    model(y0).square().sum().backward()
    return [p.grad.tolist() for p in func.parameters()]


def test_two_processes_average_their_gradients():
    found = [torch.tensor(g, dtype=D) for g in in_two_processes(_rank)[0]]
    func, y0 = Field(), torch.linspace(-1, 1, 24, dtype=D).reshape(6, 4)
    y = odeint_adjoint(func, y0, T, rtol=1e-10, atol=1e-10)[-1]
    wanted = torch.autograd.grad(y.square().sum() / 2, [*func.parameters()])
    torch.testing.assert_close(vector(found), vector(wanted), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
@pytest.mark.parametrize("options", [{}, {"method": "rk4", "options": {"step_size": 0.02}}])
def test_events_have_adjoints(adjoint, options):
    torch.manual_seed(0)
    y0 = torch.randn(5, 4, dtype=D)
    func = Field()

    def event(t, y):
        return y.square().mean() - 0.8 * y0.square().mean() - 0.2 * t

    found = {}
    for solve, more in ((odeint, {}), (odeint_adjoint, {"adjoint": adjoint})):
        start, t0 = y0.clone().requires_grad_(), torch.tensor(0.1, dtype=D, requires_grad=True)
        func.calls = 0
        time, y = odeint_event(
            func, start, t0, event_fn=event, odeint_interface=solve, **options, **more
        )
        loss, forward = time + y[-1].square().sum(), func.calls
        gradient = torch.autograd.grad(loss, [start, t0, *func.parameters()])
        found[solve] = loss, vector(gradient)
        # It is an adjoint: the field is evaluated again to go back.
        assert (func.calls > forward) is (solve is odeint_adjoint)
    assert 0.2 < time.item() < 5
    for ours, other in zip(found[odeint_adjoint], found[odeint], strict=True):
        torch.testing.assert_close(ours, other, rtol=2e-5, atol=1e-6)


def test_an_event_at_the_start_has_a_gradient():
    func, y0 = Field(), torch.ones(1, 4, dtype=D, requires_grad=True)
    time, y = odeint_adjoint(func, y0, T[:2], event_fn=lambda t, y: y.sum() - 4)
    assert float(time.detach()) == 0
    assert torch.autograd.grad(y[-1].sum(), y0)[0].tolist() == [[1.0] * 4]


class Lorenz(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([10.0, 28.0, 8 / 3], dtype=D))

    def forward(self, t, y):
        (s, r, b), (u, v, w) = self.numbers, y
        return torch.stack([s * (v - u), u * (r - w) - v, u * v - b * w])


@pytest.mark.long
def test_a_reversed_state_that_runs_away_is_refused():
    t, y0 = torch.tensor([0.0, 5.0], dtype=D), torch.ones(3, dtype=D)
    y = odeint_adjoint(Lorenz(), y0, t, rtol=1e-4, atol=1e-6 * y0, adjoint="reversed")
    with pytest.raises(errors.DriftError, match="take another adjoint, or add output times"):
        y[-1].sum().backward()


REVERSED = {"adjoint": "reversed"}
STEPS = {"method": "rk4", "options": {"steps": 2}}


@pytest.mark.parametrize("adjoint", [{}, REVERSED], ids=["restored", "reversed"])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"adjoint_options": {"norm": "semi-norm"}}, ValueError, "'seminorm'.*'semi-norm'"),
        ({"adjoint_options": {"norm": 3}, **STEPS}, ValueError, "'seminorm'.* got 3"),
        (
            {"options": {"norm": "largest"}},
            TypeError,
            r"`norm` must be callable as norm\(error\), got 'largest'",
        ),
        ({"adjoint_atol": torch.full((9,), 1e-8)}, ValueError, r"`adjoint_atol`.*shape \(9,\)"),
        ({"adjoint_rtol": torch.full((5, 1, 1), 1e-8)}, ValueError, "`adjoint_rtol`.*broadcast"),
        ({"adjoint_atol": torch.tensor(-1.0)}, ValueError, "`adjoint_atol` must be finite"),
        ({"atol": torch.full((9,), 1e-8)}, ValueError, "`atol`.*broadcast"),
        ({"adjoint_options": [1]}, TypeError, "`adjoint_options` must be a mapping"),
        ({"options": [1]}, TypeError, "`options` must be a mapping"),
        ({"adjoint_params": torch.ones(2, 2)}, TypeError, r"\(x,\), got Tensor"),
        ({"adjoint_params": 3}, TypeError, r"`adjoint_params`.* got int"),
    ],
)
def test_bad_options_of_the_backward_solve_are_refused_at_the_call(
    options, error, message, adjoint
):
    with pytest.raises(error, match=message):
        odeint_adjoint(
            DenseField(3, 4), torch.ones(5, 3), torch.tensor([0.0, 1.0]), **options, **adjoint
        )


def test_tolerances_of_the_backward_solve():
    func, y0, t = DenseField(3, 4).double(), torch.ones(5, 3, dtype=D), T[[0, -1]]
    found = []
    for atol in (1e-8, [1e-8], torch.full((3,), 1e-8), torch.full((5, 1), 1e-8)):
        for adjoint in ({}, REVERSED):
            y = odeint_adjoint(func, y0, t, adjoint_atol=atol, **adjoint)
            found.append(torch.autograd.grad(y.sum(), func.inner.weight)[0])
    for x in found:
        torch.testing.assert_close(x, found[0], rtol=1e-5, atol=1e-6)


def test_a_norm_is_not_used_in_given_steps():
    func, t = DenseField(3, 4), torch.tensor([0.0, 1.0])
    backward = {"adjoint_options": {"steps": 2, "norm": "seminorm"}}
    y = odeint_adjoint(func, torch.ones(3), t, **STEPS, **REVERSED, **backward)
    y[-1].sum().backward()
    assert func.inner.weight.grad is not None


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.LazyLinear(4, dtype=D), nn.LazyLinear(3, dtype=D)

    def forward(self, t, y):
        return self.outer(torch.tanh(self.inner(y)))


@pytest.mark.parametrize("adjoint", KINDS)
@pytest.mark.parametrize("dry", [None, torch.no_grad, nullcontext])
@pytest.mark.parametrize("as_module", [True, False])
def test_lazy_modules_are_trained_from_the_first_call(adjoint, dry, as_module):
    func, same, y0 = Lazy(), Lazy(), torch.ones(2, 3, dtype=D)

    def solve(lazy):
        given, own = (lazy, None) if as_module else (lazy.forward, lazy.parameters())
        return odeint_adjoint(given, y0, T, adjoint=adjoint, adjoint_params=own, **STEPS)

    if dry is not None:
        with dry():
            solve(func)
    y = solve(func)
    same(T[0], y0)
    same.load_state_dict(func.state_dict())
    for states, module in ((y, func), (solve(same), same)):
        states.square().sum().backward()
        assert module.inner.weight.grad.count_nonzero() == 12
    for p, q in zip(func.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.parametrize("adjoint", KINDS)
def test_parameters_that_get_no_shape_are_refused(adjoint):
    func, y0 = Lazy(), torch.ones(2, 3, dtype=D)
    message = r"'inner\.weight' has no shape yet"
    with pytest.raises(ValueError, match=message):
        torch.func.grad(lambda y: odeint_adjoint(func, y, T, adjoint=adjoint).sum())(y0)
    func.forward = lambda t, y: -y
    with pytest.raises(ValueError, match=message):
        odeint_adjoint(func, y0, T, adjoint=adjoint)


@pytest.mark.parametrize("name", ["adjoint_rtol", "adjoint_atol"])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (1e-6j, TypeError, "must be a real number"),
        (torch.tensor(1e-6j), TypeError, "must be a real number"),
        ({"a": 1e-6}, TypeError, "must be a real number"),
        (len, TypeError, "must be a real number"),
        ("1e-6", TypeError, "must be a number"),
        (-1e-6, ValueError, "must be finite and not negative"),
        (float("nan"), ValueError, "must be finite and not negative"),
        (torch.tensor(-1.0), ValueError, "must be finite and not negative"),
        (torch.tensor(1e-6, requires_grad=True), ValueError, "must not require a gradient"),
    ],
    ids=str,
)
def test_backward_tolerances_are_told_by_name(name, value, error, message):
    with pytest.raises(error, match=f"`{name}` {message}"):
        odeint_adjoint(Field(), torch.ones(4, dtype=D), T, **{name: value})


@pytest.mark.parametrize(("name", "largest"), [("adjoint_rtol", 1e-3), ("adjoint_atol", 1e40)])
def test_lists_of_backward_tolerances_keep_the_digits_of_the_state(name, largest):
    func, found, values = Field(), [], [largest, 1e-9, 1e-8, 1e-7]
    for given in (values, tuple(values), torch.tensor(values, dtype=D)):
        y0 = torch.ones(4, dtype=D, requires_grad=True)
        with torch.device("meta"):
            y = odeint_adjoint(func, y0, T, adjoint="reversed", **{name: given})
        found.append(torch.autograd.grad(y.sum(), y0)[0])
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[2])


def test_parameters_are_no_part_of_what_an_evaluation_keeps():
    matrix, bias = torch.eye(3, requires_grad=True), torch.ones(1000, requires_grad=True)
    products = Products(lambda t, y: torch.tanh(y @ matrix) * bias[:1], [matrix, bias])
    assert products.bytes_saved(0.0, torch.ones(5, 3)) == 4 * 15 * 2  # the state, and tanh


class Exhausted(torch.autograd.Function):
    """The identity, whose backward pass finds no memory."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y):
        return y.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        raise torch.OutOfMemoryError("no memory")


def test_what_fails_in_the_pull_of_nodes_is_not_tried_again():
    calls, matrix = [], torch.eye(3, requires_grad=True)

    def func(t, y):
        calls.append(t)
        return Exhausted.apply(y) @ matrix

    products = Products(func, [matrix], lambda: func)
    _, pull = products.nodes(torch.linspace(0, 1, 4), torch.ones(4, 3))
    before = len(calls)
    with pytest.raises(torch.OutOfMemoryError, match="no memory"):
        pull(torch.ones(4, 3), True)
    assert len(calls) == before


class Relaxing(nn.Module):
    """x follows c cos(t) within 1e-4 of time, from where it is: its derivative by c does not."""

    def __init__(self):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(1.0, dtype=D))

    def forward(self, t, y):
        return -1e4 * (y - self.c * torch.cos(t))


@pytest.mark.parametrize("method", ["kvaerno32", "kvaerno54", "esdirk436_pair", "tr_bdf2"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_stiff_gradients_by_default(method, tolerance):
    func, t = Relaxing(), torch.tensor([0.0, 0.5, 2.0], dtype=D)
    options = {"method": tableau(method), "rtol": tolerance, "atol": tolerance / 100}
    odeint_adjoint(func, torch.ones(1, dtype=D), t, **options)[-1].sum().backward()
    exact = (math.cos(2) * 1e8 + 1e4 * math.sin(2)) / (1e8 + 1)
    assert float(func.c.grad) == pytest.approx(exact, rel=10 * tolerance)


def test_implicit_steps_are_kept_up_to_a_budget(monkeypatch):
    func, y0, t = Field(scale=2.0), torch.randn(5, 4, dtype=D), T[:2]
    options = {"method": tableau("kvaerno54"), "rtol": 1e-4, "atol": 1e-6}
    kept = []

    def hold(x):
        kept.append(x.nbytes)
        return x

    found = []
    for budget in (2**26, 6 * 5 * 4 * 8):
        monkeypatch.setattr(_step_adjoints, "KEPT", budget)
        monkeypatch.setattr(_step_adjoints, "FEW", 0)
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(hold, lambda x: x):
            y = odeint_adjoint(func, y0, t, **options)
        found.append((vector(torch.autograd.grad(y[-1].sum(), list(func.parameters()))), sum(kept)))
    (whole, most), (few, least) = found
    assert most > 2 * least
    torch.testing.assert_close(few, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("method", ["rk4", "kvaerno54", "radauIIA3"])
@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_steps_of_small_states_go_back_at_once(method, dtype):
    func, y0 = Field().to(dtype), torch.randn(2, 4, dtype=dtype)
    options = {"method": method, "rtol": 1e-5, "atol": 1e-7, "adjoint": "discrete"}
    if method != "kvaerno54":
        options["options"] = {"steps": 30}
    found = []
    for field in (func, Unmapped(func)):
        y = odeint_adjoint(field, y0, T.to(dtype), **options)
        func.calls = 0
        found.append(vector(torch.autograd.grad(y[1:].square().sum(), list(func.parameters()))))
        found.append(func.calls)
    at_once, few, one_by_one, many = found
    assert few < 20 < many
    torch.testing.assert_close(at_once, one_by_one, rtol=1e3 * torch.finfo(dtype).eps, atol=1e-6)


class Costly(nn.Module):
    """What takes longer for many nodes at once, with a pass for each entry, than one by one."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.calls = kind, 0
        self.cell = nn.GRUCell(4, 4, dtype=D)
        self.data = torch.randn(3000, 4, dtype=D)

    def forward(self, t, y):
        self.calls += 1
        if self.kind == "data":
            return -(torch.tanh(y @ self.cell.weight_ih[:4] @ self.data.T) @ self.data) / 3000
        if self.kind == "checkpoint":
            return checkpoint(self.inner, y, use_reentrant=False)
        return self.cell(y, y) - y  # torch.vmap repeats it

    def inner(self, y):
        self.calls += 1
        return torch.tanh(y @ self.cell.weight_ih[:4])


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", ["data", "checkpoint", "loop"])
def test_costly_evaluations_go_back_one_by_one(kind):
    func, y0 = Costly(kind), torch.randn(2, 4, dtype=D)
    options = {"method": "rk4", "options": {"steps": 30}}
    y0.requires_grad_()
    wanted = torch.autograd.grad(odeint(func, y0, T[:2], **options)[-1].sum(), y0)[0]
    y = odeint_adjoint(func, y0, T[:2], **options)
    func.calls = 0
    found = torch.autograd.grad(y[-1].sum(), y0)[0]
    assert 30 * 4 <= func.calls <= 30 * 4 * (3 if kind == "checkpoint" else 1) + 20
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


class Unmapped(nn.Module):
    """Reads a value, which torch.vmap can not."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, t, y):
        return self.inner(t, y) * (1.0 if float(y.detach().sum()) < 1e9 else 2.0)


@pytest.mark.parametrize(
    ("rows", "adjoint"), [(2, "discrete"), pytest.param(9, "restored", marks=pytest.mark.long)]
)
def test_any_number_of_steps_of_a_small_state_is_undone(rows, adjoint):
    func, t, y0 = Field(), torch.tensor([0.0, 1.0], dtype=D), torch.randn(rows, 4, dtype=D)
    options = {"method": "rk4", "options": {"steps": 300}}
    found = gradients(func, y0, t, **options)
    assert torch.equal(found, gradients(func, y0, t, adjoint=adjoint, **options))
