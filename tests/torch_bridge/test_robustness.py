"""Robust accuracy against closed forms of linear models; what an attack may do and leave behind."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from odecore.errors import WeakAttackWarning
from odecore.families import RK2
from torch_bridge import (
    Accuracy,
    Attack,
    DenseField,
    Expectation,
    ModelEnsemble,
    NeuralODE,
    SmoothedSolver,
    SolvedBy,
    SwitchedSolver,
    _solver_draws,
    autoattack,
    robustness,
    transfer,
)
from torch_bridge._class_scores import classes_of, labels_of
from verification.attacks import pgd

EPS = 0.1


def linear(seed=0):
    """Two classes, inputs inside of [0.2, 0.8]: an attack moves x by eps against the signs of w."""
    torch.manual_seed(seed)
    model = nn.Linear(6, 2).double()
    x = 0.2 + 0.6 * torch.rand(300, 6, dtype=torch.float64)
    with torch.no_grad():
        model.bias[1] += (model(x)[:, 0] - model(x)[:, 1]).mean()
    return model, x, (model(x)[:, 1] > model(x)[:, 0]).long()


def margins(model, x, y):
    """Of the true class, and how much the attack in the largest norm can take of it."""
    w = model.weight[0] - model.weight[1]
    sign = 1 - 2 * y
    return sign * (x @ w + model.bias[0] - model.bias[1]), w.abs().sum()


def test_robust_accuracy_of_a_linear_model_is_exact():
    model, x, y = linear()
    y = torch.where(torch.arange(len(y)) < 20, 1 - y, y)  # wrong labels
    margin, slope = margins(model, x, y)
    found = robustness(model, x, y, pgd(EPS, 10, 0.03), batch=77)
    assert found.clean.correct == int((margin > 0).sum()) == 280
    assert found.robust.correct == int((margin > EPS * slope).sum())
    assert 0 < found.robust.correct < 270
    assert found.reach == pytest.approx(1)
    assert "robust" in str(found)
    # The twin: half of the ball leaves more of them.
    half = robustness(model, x, y, pgd(EPS / 2, 10, 0.03))
    assert half.robust.correct == int((margin > EPS / 2 * slope).sum()) > found.robust.correct


def test_transfer_of_linear_models_is_exact():
    models = {str(seed): linear(seed)[0] for seed in (0, 1)}
    _, x, y = linear(0)
    found = transfer(models, x, y, pgd(EPS, 10, 0.03))
    for i, made in enumerate(models.values()):
        w = made.weight[0] - made.weight[1]
        moved = x - EPS * (1 - 2 * y)[:, None] * w.sign()
        for j, tested in enumerate(models.values()):
            clean, attacked = (margins(tested, z, y)[0] > 0 for z in (x, moved))
            assert found.robust[i][j].correct == int((clean & attacked).sum())
            assert found.clean[j].correct == int(clean.sum())
    assert found.robust[0][1] != found.robust[1][0]
    assert str(found).splitlines()[-1].split()[0] == "1"


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (9, 10), (123, 360), (1, 10000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_intervals_are_those_of_wilson(k, n, level):
    from scipy.stats import binomtest

    wanted = binomtest(k, n).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(Accuracy(k, n).interval(level), tuple(wanted), atol=1e-12)


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (3, 2), (-1, 2)])
def test_counts_that_are_none_are_refused(correct, total):
    with pytest.raises(ValueError, match=f"got {correct} of {total}"):
        Accuracy(correct, total)


def test_bad_intervals_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        Accuracy(1, 2).interval(95)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 7, "step_size": 2 / 255, "eps": 0.3}, "reach 0.0549, not the ball's radius"),
        ({"steps": 7}, "give both `steps` and `step_size`"),
        ({"eps": 0.0}, "must be positive"),
        ({"norm": "L2"}, "must be one of inf, 2, 1"),
        ({"steps": -5, "step_size": -1.0}, "`steps` must be a whole number from 1"),
        ({"steps": 1.5, "step_size": 1.0}, "`steps` must be a whole number from 1"),
        ({"steps": 1, "step_size": float("inf")}, "`step_size` positive and finite"),
        ({"low": 1.0, "high": 0.0}, "`low` must be below `high`"),
        ({"low": float("nan")}, "`low` must be below `high`"),
    ],
)
def test_attacks_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Attack(lambda model, x, y: x, **{"eps": EPS, **options})
    Attack(lambda model, x, y: x, 0.3, steps=10, step_size=0.03)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda model, x, y: x + 1.01 * EPS, "left its ball"),
        (lambda model, x, y: x * float("nan"), "left its ball"),
        (lambda model, x, y: x[1:], "must return inputs"),
        (lambda model, x, y: None, "must return inputs"),
        (lambda model, x, y: x + 0j, "must return inputs"),
        (lambda model, x, y: x.long(), "must return inputs"),
    ],
)
def test_attacks_that_break_the_rules_are_refused(run, message):
    model, x, y = linear()
    with pytest.raises(ValueError, match=message):
        robustness(model, x, y, Attack(run, EPS))


def test_an_attack_that_trains_the_model_is_refused():
    model, x, y = linear()
    weight = model.weight.detach().clone()

    def trained(model, x, y):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        return x

    def perturbed(model, x, y):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(1).sub_(1).copy_({id(model.weight): weight, id(model.bias): bias}[id(p)])
        return x

    bias = model.bias.detach().clone()
    with pytest.raises(ValueError, match="changed weight, bias"):
        robustness(model, x, y, Attack(trained, EPS))
    torch.testing.assert_close(model.weight.detach(), weight, rtol=0, atol=0)
    with pytest.warns(WeakAttackWarning):
        robustness(model, x, y, Attack(perturbed, EPS))


def test_what_an_evaluation_can_not_do_is_told():
    model, x, y = linear()
    with pytest.raises(ValueError, match=r"left the valid inputs \[0, 0.8\]"):
        robustness(model, x, y, Attack(lambda m, x, y: x + EPS, EPS, low=0.0, high=0.8))
    with pytest.raises(ValueError, match="left its ball"):
        robustness(model, x, y, Attack(lambda m, x, y: x + EPS / 2, EPS, norm="2"))
    with pytest.raises(TypeError, match="must be an Attack"):
        robustness(model, x, y, lambda m, x, y: x)
    with pytest.raises(TypeError, match="`model` must be a Module"):
        robustness(lambda x: x, x, y, pgd(EPS, 1, EPS))
    with pytest.raises(TypeError, match="must be tensors, got Tensor and list"):
        robustness(model, x, y.tolist(), pgd(EPS, 1, EPS))
    with pytest.raises(TypeError, match=r"floating-point numbers, got torch\.int64"):
        pgd(EPS, 1, EPS)(model, x.long(), y)
    with pytest.raises(TypeError, match="floating-point numbers, got list"):
        pgd(EPS, 1, EPS)(model, x.tolist(), y)
    with pytest.raises(TypeError, match="mapping from names, got list"):
        transfer([model], x, y, pgd(EPS, 1, EPS))
    with pytest.raises(TypeError, match="`model` must be a Module"):
        transfer({"it": lambda x: x}, x, y, pgd(EPS, 1, EPS))
    with pytest.raises(ValueError, match="same number of samples"):
        robustness(model, x, y[1:], pgd(EPS, 1, EPS))
    with pytest.raises(ValueError, match="at least one model"):
        transfer({}, x, y, pgd(EPS, 1, EPS))


@pytest.mark.parametrize("norm", ["inf", "2", "1"])
def test_rounding_is_no_breach(norm):
    x = torch.rand(3, 3, 32, 32)
    direction = torch.randn_like(x).sign()
    size = {"inf": 1, "2": 3072**0.5, "1": 3072}[norm]
    attack = Attack(lambda m, x, y: x + factor * 0.1 / size * direction, 0.1, norm=norm)
    model, y = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), torch.zeros(3, dtype=torch.long)
    factor = 1.0
    attack(model, x, y)
    factor = 1.02
    with pytest.raises(ValueError, match="left its ball"):
        attack(model, x, y)


def test_an_attack_that_goes_nowhere_is_noticed():
    model, x, y = linear()
    for lazy in (Attack(lambda m, x, y: x, EPS), Attack(lambda m, x, y: x + EPS / 2, EPS)):
        with pytest.warns(WeakAttackWarning, match="withstood an attack"):
            robustness(model, x, y, lazy)
    with pytest.warns(WeakAttackWarning, match="withstood an attack"):
        transfer({"a": model}, x, y, Attack(lambda m, x, y: x, EPS))


class Mixed(nn.Module):
    """A classifier with a part that is frozen in evaluation, batch statistics and a drawn solver."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
        center = {"u": RK2.members[1][1][0]}
        solver = SmoothedSolver(RK2, center, width=0.2, radius=center["u"] / 2)
        self.block = NeuralODE(DenseField(4, 8), solver=solver, steps=1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.block(self.stem(x)))


def backward_attack(model, x, y):
    """As many implementations do it: backward() fills the gradients of the parameters."""
    assert not any(module.training for module in model.modules())
    x.requires_grad_()
    nn.functional.cross_entropy(model(x), y).backward()
    return x + EPS * x.grad.sign()


@pytest.mark.parametrize("draws", [0, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_an_evaluation_leaves_nothing_behind(draws, fails):
    torch.manual_seed(0)
    model = Mixed()
    x, y = torch.randn(20, 6), torch.arange(20) % 2
    model(x).square().sum().backward()
    model.head.weight.grad = None
    model.stem[1].eval()
    gradients = [p.grad for p in model.parameters()]
    values = [None if g is None else g.clone() for g in gradients]
    modes = [module.training for module in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}

    def run(model, x, y):
        found = backward_attack(model, x, y)
        return found + 1 if fails else found

    attack = Attack(run, EPS)
    with torch.no_grad():
        if fails:
            with pytest.raises(ValueError, match="left its ball"):
                robustness(model, x, y, attack, draws=draws)
        else:
            assert robustness(model, x, y, attack, draws=draws).reach == pytest.approx(1, rel=1e-4)
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(g is None or torch.equal(g, v) for g, v in zip(gradients, values, strict=True))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_an_evaluation_over_draws_is_the_same_once_more():
    torch.manual_seed(0)
    solver, field = SwitchedSolver(["euler", "rk4", "midpoint"]), DenseField(3, 8)
    model = NeuralODE(lambda t, y: 5 * field(t, y), solver=solver, steps=1)
    x, y = torch.randn(20, 3), torch.arange(20) % 3
    seen = []

    def run(model, x, y):
        seen.append(model(x))
        return x + EPS * (2 * torch.rand_like(x) - 1).sign()

    for evaluate in (robustness, lambda model, *rest, draws: transfer({"one": model}, *rest)):
        model = model if evaluate is robustness else Expectation(model, 2)
        first, second = (evaluate(model, x, y, Attack(run, EPS), draws=2) for _ in range(2))
        assert first == second
        assert torch.equal(seen[-2], seen[-1])
    calls = [Expectation(model, 2)(x) for _ in range(3)]  # the twin: new draws at each call
    assert not all(torch.equal(call, calls[0]) for call in calls)


def test_an_expectation_averages_probabilities_over_draws():
    names, probabilities = ["euler", "rk4"], [0.3, 0.7]
    solver = SwitchedSolver(names, probabilities=probabilities)
    torch.manual_seed(2)
    field = DenseField(3, 8).double()
    block = NeuralODE(lambda t, y: 4 * field(t, y), solver=solver, steps=1).eval()
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    each = [SolvedBy(block, name)(x).softmax(1) for name in names]
    wanted = sum(p * y for p, y in zip(probabilities, each, strict=True))
    found = Expectation(block, 400)(x).exp()
    # Standard error of a mean of two values, and the twin with the probabilities exchanged.
    error = (each[0] - each[1]).abs() * (0.3 * 0.7 / 400) ** 0.5
    twin = 0.7 * each[0] + 0.3 * each[1]
    assert ((found - wanted).abs() < 5 * error).all()
    assert ((found - twin).abs() > 5 * error).all()
    # Gradients follow the expectation as well.
    gradients = [torch.autograd.grad(y[0, 0], x, retain_graph=True)[0] for y in (found, wanted)]
    assert (gradients[0] - gradients[1]).norm() < 0.1 * gradients[1].norm()
    assert torch.equal(block(x), block(x))  # at rest outside
    for count in (0, 2.5):
        with pytest.raises(ValueError, match="whole number from 1"):
            Expectation(block, count)
    with pytest.raises(ValueError, match="no solver of this model is drawn"):
        Expectation(NeuralODE(field, solver="rk4", steps=1), 2)


def test_a_random_model_is_attacked_and_tested_over_its_draws():
    solver = SwitchedSolver(["euler", "rk4"], probabilities=[0.5, 0.5])
    seen = []

    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = NeuralODE(lambda t, y: -y * y, solver=solver, steps=1)

        def forward(self, x):
            y = self.block(x)
            seen.append(float(y[0, 0].detach()))
            return y

    x, y = torch.full((8, 2), 0.3), torch.zeros(8, dtype=torch.long)
    robustness(Seen(), x, y, pgd(EPS, 2, EPS), draws=16)
    assert len(seen) == 16 * 4
    assert len(set(seen[:16])) == 2
    seen.clear()
    robustness(Seen(), x, y, pgd(EPS, 2, EPS))
    assert len(seen) == 4
    assert seen[0] == pytest.approx(0.21)  # Euler's, that of evaluation


@pytest.fixture
def short_attacks(monkeypatch):
    """AutoAttack with few iterations, which are enough for linear models."""
    module = pytest.importorskip("pyautoattack.autoattack")
    whole = module.APGDAttack

    def short(*args, **options):
        return whole(*args, **{**options, "n_iter": 5, "n_restarts": 1})

    monkeypatch.setattr(module, "APGDAttack", short)


@pytest.fixture
def few_queries(monkeypatch):
    """AutoAttack with few iterations of all its attacks."""
    module = pytest.importorskip("pyautoattack.autoattack")
    shortened = {
        "APGDAttack": {"n_iter": 5},
        "APGDAttack_targeted": {"n_iter": 5},
        "FABAttack_PT": {"n_iter": 3},
    }
    for name, options in shortened.items():
        whole = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *a, whole=whole, options=options, **k: whole(*a, **{**k, **options}),
        )
    square = module.SquareAttack

    class Short(square):
        n_queries = property(lambda self: 20, lambda self, value: None)

    monkeypatch.setattr(module, "SquareAttack", Short)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_autoattack_finds_the_closed_form(norm, shape, short_attacks):
    model, x, y = linear()
    model.float()
    x, y = x[:60].float(), y[:60]
    margin, slope = margins(model, x, y)
    if norm == "2":
        slope = (model.weight[0] - model.weight[1]).norm()
    attack = autoattack(EPS, norm, version="custom", attacks=["apgd-ce"])
    model = nn.Sequential(nn.Flatten(), model)
    found = robustness(model, x.view(60, *shape), y, attack)
    assert found.robust.correct == int((margin > EPS * slope).sum())
    assert 0 < found.robust.correct < len(y)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("classes", [1, 2, 3, 5])
@pytest.mark.parametrize("version", ["standard", "plus"])
@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.filterwarnings("ignore::odecore.errors.WeakAttackWarning")
def test_whole_autoattack_of_flat_inputs_and_few_classes(norm, version, classes, few_queries):
    torch.manual_seed(0)
    model, x = nn.Linear(7, classes), 0.2 + 0.6 * torch.rand(6, 7)
    y = classes_of(model(x))
    found = robustness(model, x, y, autoattack(0.15, norm, version=version))
    weak = robustness(model, x, y, autoattack(1e-4, norm, version=version))
    assert found.robust.correct < weak.robust.correct == found.clean.correct == 6


def test_attacks_that_need_more_classes_are_refused():
    model, x, y = linear()
    with pytest.raises(ValueError, match="apgd-t needs at least 4 classes, the model tells 2"):
        robustness(model, x, y, autoattack(EPS, version="custom", attacks=["apgd-t"]))


@pytest.mark.filterwarnings("ignore::odecore.errors.WeakAttackWarning")
def test_inputs_are_checked_before_the_attack_is_blamed():
    model, x, y = linear()
    attack = Attack(lambda m, x, y: x.double(), EPS, low=0.0, high=1.0)
    with pytest.raises(ValueError, match=r"the inputs lie outside of the valid ones, \[0, 1\]"):
        robustness(model, 4 * x, y, attack)
    with pytest.raises(ValueError, match="at least one sample"):
        attack(model, x[:0], y[:0])
    for batch in (0, 2.5, "256"):
        with pytest.raises(ValueError, match="`batch` must be a whole number from 1"):
            robustness(model, x, y, attack, batch=batch)
    narrow = attack(model.float(), x.float(), y)  # the attack returns float64
    assert narrow.dtype == torch.float32


def test_unknown_forms_of_autoattack_are_refused():
    with pytest.raises(ValueError, match="must be one of standard, plus"):
        autoattack(EPS, version="random")
    with pytest.raises(ValueError, match="must be one of inf, 2, 1"):
        autoattack(EPS, "L2")
    with pytest.raises(
        ValueError, match=r"`attacks` must be one of apgd-ce.*did you mean 'square'"
    ):
        autoattack(EPS, version="custom", attacks=["apgd-ce", "sqaure"])  # was left out, untold
    for version, attacks in (
        ("custom", None),
        ("custom", []),
        ("custom", "fab"),
        ("rand", ["fab"]),
    ):
        with pytest.raises(ValueError, match="`attacks` must be a list of names with version"):
            autoattack(EPS, version=version, attacks=attacks)
    with pytest.raises(TypeError, match="n_iter"):
        autoattack(EPS, n_iter=10)


def test_autoattack_attacks_random_solvers_in_expectation(short_attacks):
    torch.manual_seed(0)
    solver = SwitchedSolver(["euler", "rk4"])
    block = NeuralODE(DenseField(6, 8), solver=solver, steps=1)
    model = nn.Sequential(block, nn.Linear(6, 4))
    x = 0.2 + 0.6 * torch.rand(8, 6)
    y = model.eval()(x).argmax(1)
    found = robustness(model, x, y, autoattack(0.2, version="rand"), draws=1)
    assert found.robust.correct < found.clean.correct


def drawn_and_checkpointed(*, reentrant=False):
    """A classifier whose drawn solver is checkpointed, with inputs."""
    torch.manual_seed(0)
    center = {"u": RK2.members[1][1][0]}
    solver = SmoothedSolver(RK2, center, width=0.2, radius=center["u"] / 2)
    block, head = NeuralODE(DenseField(6, 8), solver=solver, steps=1), nn.Linear(6, 4)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = block, head

        def forward(self, x):
            return self.head(checkpoint(self.block, x, use_reentrant=reentrant))

    return Net(), torch.rand(8, 6), torch.arange(8) % 4


@pytest.mark.filterwarnings("ignore::odecore.errors.WeakAttackWarning")
def test_autoattack_leaves_random_numbers_and_checkpoints_alone(short_attacks):
    model, x, y = drawn_and_checkpointed()
    attack = autoattack(0.2, version="custom", attacks=["apgd-ce"])
    states = set()
    for _ in range(3):
        before = torch.get_rng_state()
        robustness(model, x, y, attack, batch=4)
        transfer({"it": model}, x, y, attack, batch=4)
        attack(model, x, y)
        assert torch.equal(torch.get_rng_state(), before)
        states.add(bytes(before.tolist()))
        model(x.clone().requires_grad_()).sum().backward()
    assert len(states) == 3


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::odecore.errors.WeakAttackWarning")
def test_an_evaluation_uses_up_no_draw_of_a_checkpoint():
    model, x, y = drawn_and_checkpointed()
    loss = model(x.clone().requires_grad_()).sum()
    before = torch.get_rng_state()
    noise = Attack(lambda model, x, y: x + EPS * (2 * torch.rand_like(x) - 1), EPS)
    robustness(model, x, y, noise, draws=2100)
    assert torch.equal(torch.get_rng_state(), before)
    loss.backward()


@pytest.mark.parametrize("reentrant", [False, True])
def test_an_expectation_is_attacked_through_checkpoints(reentrant):
    model, x, _ = drawn_and_checkpointed(reentrant=reentrant)
    gradients = []
    for whole in (model, nn.Sequential(model.block, model.head)):
        expected = Expectation(whole.eval(), 3)
        for seed in (1, 2, 1):  # as attacks set it
            torch.manual_seed(seed)
            z = x.clone().requires_grad_()
            expected(z).square().sum().backward()
            gradients.append(z.grad)
    torch.testing.assert_close(gradients[:3], gradients[3:])
    assert torch.equal(gradients[0], gradients[2])
    assert not torch.equal(gradients[0], gradients[1])


def test_autoattack_in_expectation_through_checkpoints(short_attacks):
    model, x, y = drawn_and_checkpointed()
    y = model.eval()(x).argmax(1)
    found = robustness(model, x, y, autoattack(0.3, version="rand"), draws=2)
    assert found.robust.correct < found.clean.correct


def test_an_expectation_beside_a_training_leaves_its_draws_alone(monkeypatch):
    monkeypatch.setattr(_solver_draws, "REMEMBERED", 8)
    model, x, _ = drawn_and_checkpointed()
    other = copy.deepcopy(model)

    def gradient(model, look):
        torch.manual_seed(3)
        z = x.clone().requires_grad_()
        with torch.random.fork_rng(), torch.no_grad():  # before and after, of the same names
            look()
        loss = model(z).square().sum()
        with torch.random.fork_rng(), torch.no_grad():
            look()
        loss.backward()
        return z.grad, torch.rand(1)

    def look():
        Expectation(model.eval(), 20)(x[:1])
        model.train()

    assert all(map(torch.equal, gradient(model, look), gradient(other, lambda: None)))


@pytest.mark.filterwarnings("ignore::odecore.errors.WeakAttackWarning")
def test_labels_are_the_callers():
    model, x, y = linear()
    kept = y.clone()
    found = robustness(model, x, y, Attack(lambda model, x, y: x + 0 * y.zero_()[:, None], EPS))
    assert torch.equal(y, kept)
    assert found.robust == found.clean


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("norm", ["1", "2"])
def test_one_entry_is_not_allowed_the_rounding_of_all(norm, dtype):
    x = torch.rand(2, 4096).to(dtype)
    model, y = nn.Linear(1, 2), torch.zeros(2, dtype=torch.long)

    def attack(moved, eps, **bounds):
        first = torch.tensor([0])
        changed = x.index_fill(1, first, 0.5)
        return Attack(
            lambda m, z, y: changed.index_fill(1, first, 0.5 + moved), eps, norm, **bounds
        )(model, changed, y)

    attack(0.5, 0.5, low=0.0, high=1.0)
    with pytest.raises(ValueError, match="left its ball"):
        attack(0.75, 0.5)
    with pytest.raises(ValueError, match="left the valid inputs"):
        attack(0.75, 1.0, low=0.0, high=1.0)


class Scores(nn.Module):
    """What it is given, as it is or in part."""

    def __init__(self, shown):
        super().__init__()
        self.shown = shown

    def forward(self, x):
        return self.shown(x)


def test_accuracy_of_one_logit_and_of_broken_scores():
    x = torch.tensor([[1.0, -1.0], [-2.0, 2.0], [-1.0, 3.0], [2.0, 0.0]])
    y = torch.tensor([1, 0, 1, 0])
    attack = Attack(lambda model, x, y: x + EPS, EPS)
    for shown in (lambda x: x[:, :1], lambda x: x[:, 0]):
        found = robustness(Scores(shown), x, y, attack)
        assert found.clean.correct == found.robust.correct == 2
    labels = x.argmax(1)
    for value in (float("nan"), float("inf")):
        made = Scores(lambda x, value=value: torch.cat([x[:, :1] * 0 + value, x], 1)[:, :2])
        report = transfer({"it": made}, x, torch.zeros(4).long(), attack)
        assert report.clean[0].correct == report.robust[0][0].correct == 0
    masked = Scores(lambda x: torch.cat([x, x[:, :1] * 0 - float("inf")], 1))
    assert robustness(masked, x, labels, attack).clean.correct == 4
    with pytest.raises(ValueError, match="from 0 to 1"):
        robustness(Scores(lambda x: x), x, labels + 1, attack)
    with pytest.raises(ValueError, match="must be \\(n, classes\\)"):
        robustness(Scores(lambda x: x[:, :, None]), x, labels, attack)


@pytest.mark.parametrize(
    "shown",
    [lambda x: (x, x), lambda x: {"logits": x}, lambda x: x + 0j, lambda x: x.argmax(1), lambda x: x.sum()],
    ids=["tuple", "dict", "complex", "classes", "scalar"],
)  # fmt: skip
def test_outputs_that_are_no_logits_are_refused(shown):
    x, y = torch.rand(8, 3), torch.randint(0, 3, (8,))
    attack, model = Attack(lambda model, x, y: x + EPS, EPS), Scores(shown)
    with pytest.raises(TypeError, match=r"must return logits, one floating-point tensor .* got"):
        robustness(model, x, y, attack)
    with pytest.raises(TypeError, match="must return logits"):
        transfer({"one": Scores(lambda x: x), "other": model}, x, y, attack)
    with pytest.raises(TypeError, match="must return logits"):
        ModelEnsemble([Scores(lambda x: x), model])(x)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["cat", "dog"], TypeError, "class numbers, got a list that is no tensor"),
        ([0, -3], ValueError, "2 class numbers from 0, .* the smallest -3"),
        ([[1, 0, 0], [0, 1, 0]], ValueError, r"2 class numbers from 0, .* shape \(2, 3\)"),
        (torch.eye(2, 3) > 0, ValueError, r"got a tensor of shape \(2, 3\) and dtype torch.bool$"),
        (torch.arange(3).to(torch.uint16), ValueError, r"\(3,\) and dtype torch.uint16$"),
        ([0.0, torch.nan], ValueError, r"\(2,\) and dtype torch.float32$"),
        ([0.5, -1.0], ValueError, "dtype torch.float32, the smallest -1.0$"),
        ([-torch.inf, torch.nan], ValueError, "dtype torch.float32, the smallest -inf$"),
        ([0, 1j], ValueError, r"\(2,\) and dtype torch.complex64$"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        labels_of(labels, torch.rand(2, 3))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.uint16, torch.uint64, torch.half])
def test_labels_may_be_of_any_real_dtype(dtype):
    found = labels_of(torch.tensor([0, 1, 1]).to(dtype), torch.rand(3, 2))
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 1, 1]
    if dtype != torch.bool:
        with pytest.raises(ValueError, match=r"from 0 to 1, of the 2 classes .* got 3"):
            labels_of(torch.tensor([0, 3, 1]).to(dtype), torch.rand(3, 2))


def test_masked_logits_have_gradients_in_ensembles():
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([True, False, False])
    found = ModelEnsemble([Scores(lambda x: x), Scores(lambda x: 2 * x)])
    masked = Scores(lambda x: x.masked_fill(mask, -float("inf")))
    both = ModelEnsemble([masked, masked])(x)
    assert (both[:, 0] == -float("inf")).all()
    wanted = found.models[0](x)[:, 1:].log_softmax(1)
    gradients = [
        torch.autograd.grad(y[:, -1].sum(), x, retain_graph=True)[0] for y in (both, wanted)
    ]
    torch.testing.assert_close(gradients[0], gradients[1])
    # Where one model masks and another does not, nothing is lost.
    one = ModelEnsemble([masked, found.models[1]])(x)
    assert torch.isfinite(one).all()
    assert torch.isfinite(torch.autograd.grad(one.sum(), x)[0]).all()
