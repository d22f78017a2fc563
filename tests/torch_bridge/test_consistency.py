"""Solver consistency: the interval, the ladder, the report, and no false certificate."""

import math
import time
from dataclasses import replace
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from torch import nn

from odecore.errors import SolveError
from odecore.families import RK2
from odecore.tableaux import ButcherTableau
from torch_bridge import (
    DenseField,
    NeuralODE,
    PairedGap,
    SmoothedSolver,
    SolvedBy,
    SolverConsistencyReport,
    SolverEnsemble,
    TrainableSolver,
    adapt_steps,
    solver_consistency,
)
from torch_bridge._observed_order import observed_order
from torch_bridge._paired_gap import samples_needed, share_interval
from torch_bridge._step_ladder import ladder_bound


# ------------------------------------------------------------------------------- intervals
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.999]))
def test_the_share_interval_is_scipys(total, data, level):
    count = data.draw(st.integers(0, total))
    expected = binomtest(count, total).proportion_ci(level, method="exact")
    assert share_interval(count, total, level) == pytest.approx(tuple(expected), abs=1e-9)


def test_the_test_is_scipys():
    for lost, gained in ((0, 0), (1, 0), (7, 2), (3, 3), (40, 61)):
        expected = 1.0 if lost + gained == 0 else binomtest(lost, lost + gained).pvalue
        assert PairedGap(lost, gained, 200).p_value == pytest.approx(min(1, expected))


def coverage(p_lost, p_gained, n, interval):
    """Exact: the sum over all outcomes of the trinomial distribution."""
    total = 0.0
    for lost in range(n + 1):
        first = binom.pmf(lost, n, p_lost)
        if first < 1e-12:
            continue
        for gained in range(n - lost + 1):
            low, high = interval(lost, gained, n)
            if low <= p_lost - p_gained <= high:
                total += first * binom.pmf(gained, n - lost, p_gained / (1 - p_lost))
    return total


def conditional(lost, gained, n):
    """McNemar's interval given the number of discordant samples."""
    m = lost + gained
    if m == 0:
        return 0.0, 0.0
    low, high = share_interval(lost, m, 0.95)
    return (2 * low - 1) * m / n, (2 * high - 1) * m / n


@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.02, 0.0), (0.3, 0.05)])
def test_the_interval_covers_and_the_conditional_one_does_not(shares):
    def ours(lost, gained, n):
        return PairedGap(lost, gained, n).interval()

    assert coverage(*shares, 40, ours) >= 0.95
    if shares == (0.02, 0.0):  # the twin
        assert coverage(*shares, 40, conditional) < 0.7


def test_samples_needed_is_the_least_number():
    n = samples_needed(0.005)
    assert PairedGap(0, 0, n).interval()[1] <= 0.005 < PairedGap(0, 0, n - 1).interval()[1]
    n = samples_needed(0.005, paired=False)
    assert share_interval(0, n)[1] <= 0.005 < share_interval(0, n - 1)[1]


@pytest.mark.parametrize("kind", ["labelled", "unlabelled", "regression"])
def test_the_samples_that_are_asked_for_are_enough(kind):
    torch.manual_seed(0)
    model = model_of("rk4", 32).double()
    options = {"task": "regression", "tolerance": 0.1} if kind == "regression" else {}

    def verdict(n):
        x = torch.randn(n, 3, dtype=torch.float64)
        return solver_consistency(
            model, [(x, x.argmax(1)) if kind == "labelled" else x], solvers=(), **options
        )

    few = verdict(100)
    assert few.verdict == "undecided"
    assert f"{few.samples_needed} are the least" in str(few)
    assert verdict(few.samples_needed).verdict == "flow"
    assert verdict(few.samples_needed - 1).verdict == "undecided"


@pytest.mark.parametrize("bad", [(-1, 5, 0.9), (6, 5, 0.9), (0, 0, 0.9), (1, 5, 1.0)])
def test_bad_shares_are_refused(bad):
    with pytest.raises(ValueError, match="needs 0 <= count"):
        share_interval(*bad)


# ---------------------------------------------------------------------------------- ladder
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_bound_holds_for_errors_in_powers_of_the_step(dtype, order):
    torch.manual_seed(0)
    limit = torch.randn(50, 3, dtype=torch.float64)
    lead, next_ = (torch.randn(50, 3, dtype=torch.float64) for _ in range(2))
    h = [2.0**-k for k in range(5)]
    rungs = [limit + 0.1 * lead * x**order + 0.05 * next_ * x ** (order + 1) for x in h]
    found = ladder_bound([y.to(dtype) for y in rungs], order)
    true = (rungs[0] - limit).abs().amax(1)
    assert (found.bound >= true * (1 - 1e-3)).double().mean() > 0.9  # not proved: rungs may cancel
    assert (found.bound <= 30 * true).all()
    if dtype == torch.float64:
        assert found.orders[-1].nanmedian() == pytest.approx(order, abs=0.3)


def test_the_bound_is_infinite_where_changes_do_not_fall_or_are_not_finite():
    steady = [torch.tensor([[float(k)]]) for k in range(5)]
    assert ladder_bound(steady, 1).bound.isinf().all()
    steady[3] = torch.tensor([[math.nan]])
    assert ladder_bound(steady, 1).bound.isinf().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_no_change_of_the_steps(dtype):
    eps = torch.finfo(dtype).eps
    outputs = [torch.tensor([[1.0 + k * eps]], dtype=dtype) for k in (0, 1, 0, 2, 0)]
    found = ladder_bound(outputs, 4)
    assert found.bound.item() < 1000 * eps
    assert found.orders.isnan().all()
    early = [1.0 + x for x in (0.1, 0.01, 0.001, eps, 0.0)]
    found = ladder_bound([torch.tensor([[x]], dtype=dtype) for x in early], 4)
    assert found.orders[1].item() == pytest.approx(math.log2(9), rel=0.1)
    assert found.orders[2].item() == 4  # at least: the last change may be rounding alone


@pytest.mark.parametrize("steps", [2, 8])  # of independent errors, and of errors alike
def test_changes_that_may_be_rounding_are_told_from_changes_that_show(steps):
    eps = torch.finfo(torch.float16).eps

    def bound(*changes):
        outputs = [1.0 + torch.tensor(changes[:k]).sum() * eps for k in range(4)]
        return ladder_bound([y.reshape(1, 1).half() for y in outputs], 4, steps)

    floor = {2: 16 * 4, 8: 4 * 64}[steps]
    small = bound(0.9 * floor, -0.5 * floor, 0.9 * floor)
    assert small.resolved == 0
    assert small.bound > 3 * floor * eps
    room = torch.tensor([2 * floor * eps])
    assert small.hidden(room).item()
    assert not small.hidden(100 * room).item()  # certified
    large = bound(3 * floor, 0.1 * floor, 0.0)
    assert large.resolved >= 2.99 * floor * eps
    assert not large.hidden(room).item()  # the steps show
    assert bound(0.0, 0.0, 4 * floor).resolved.isinf().item()


# ---------------------------------------------------------------------------------- report
class Known(nn.Module):
    """A right-hand side whose flow is known: y' = a y."""

    def __init__(self, rate=1.0):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate))

    def forward(self, t, y):
        return self.rate * y


def model_of(solver="euler", steps=4, rate=1.0):
    return NeuralODE(Known(rate), solver=solver, steps=steps)


@pytest.mark.parametrize(
    ("solver", "order"),
    [("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4), (ButcherTableau(((),), (1,)), 1)],
)
def test_the_observed_order_is_the_solvers(solver, order):
    torch.manual_seed(0)
    x = torch.randn(40, 3, dtype=torch.float64)
    report = solver_consistency(model_of(solver).double(), [x], order=order)
    assert report.order == pytest.approx(order, abs=0.35)
    assert report.expected_order == order
    assert report.rungs == (1, 2, 4, 8, 16)
    changes = report.changes
    assert all(a > b for a, b in zip(changes, changes[1:], strict=False))


def test_the_change_of_two_samples_is_between_theirs():
    def model(x, n):
        return x * (1 + 1 / n)

    x = torch.tensor([[1.0, 0.0], [3.0, 0.0]], dtype=torch.float64)
    report = solver_consistency(model, [x], steps=1, order=1, halvings=2)
    assert report.changes == pytest.approx((1.0, 0.5))


def test_the_bound_of_a_known_flow():
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    report = solver_consistency(
        model_of("euler", 8).double(), [x], task="regression", tolerance=1.0
    )
    true = 2 * (math.e - (1 + 1 / 8) ** 8)
    assert true <= report.ratios[0] <= 1.3 * true


def test_labels_give_accuracies_and_gaps():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), model_of("euler", 1, rate=3.0), nn.Linear(3, 3))
    x = torch.randn(300, 2)
    with torch.no_grad():
        y = model(x).argmax(1)
    batches = [(x[:200], y[:200]), (x[200:], y[200:])]
    report = solver_consistency(model, batches)
    assert report.samples == 300
    assert report.accuracy[0] == 1
    assert len(report.gaps) == len(report.solvers) == 6
    assert report.gap.difference == pytest.approx(1 - max(report.accuracy[1:]))
    assert report.flipped >= max(gap.lost for gap in report.gaps) > 0
    assert report.verdict == "map"
    one = solver_consistency(model, [(x, y)])
    assert replace(one, ratios=()) == replace(report, ratios=())
    assert one.ratios == pytest.approx(report.ratios, rel=1e-3)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_score_of_two_classes(shape):
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = model_of("rk4", 4)

        def forward(self, x):
            return self.block(x)[:, 0].reshape(-1, *shape)

    x = torch.linspace(-1, 1, 1000)[:, None]
    report = solver_consistency(Scores(), [(x, (x[:, 0] > 0).long())])
    assert report.accuracy == (1.0,) * 7
    assert report.flipped == 0
    assert report.certified > 0.99


def test_finer_solves_that_are_not_finite():
    class Explodes(nn.Module):
        def forward(self, t, y):
            return torch.where((t > 0) & (t < 0.3) & (y > 1), float("inf"), y)

    model = NeuralODE(Explodes(), solver="euler", steps=2, check="off")
    x = torch.tensor([[0.1, 0.2], [2.0, 0.3], [0.3, 0.1]])
    report = solver_consistency(model, [x])
    assert report.nonfinite == 1
    assert report.verdict == "map"
    assert report.ratios[1] == math.inf
    assert report.ratios[0] < math.inf
    assert "not finite: 1" in str(report)
    again = SolverConsistencyReport.from_json(report.to_json())
    assert again == report


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), model_of("euler", 2))
    model.train()
    model[0].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    solver_consistency(model, [torch.randn(20, 3)])
    assert model.training
    assert not model[0].training
    assert model[2].steps == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_function_of_inputs_and_steps():
    def model(x, n):  # Euler's method on y' = y, of any library
        return x * (1 + 1 / n) ** n

    x = torch.randn(60, 3, dtype=torch.float64)
    found = solver_consistency(model, [x], steps=4, order=1)
    expected = solver_consistency(model_of("euler", 4).double(), [x], solvers=())
    assert found.ratios == pytest.approx(expected.ratios, rel=1e-6)
    assert found.solvers == expected.solvers
    for steps in (0, 2.5, "4"):
        with pytest.raises(ValueError, match="whole number `steps` from 1 and `order`"):
            solver_consistency(model, [x], steps=steps, order=1)
    for bad in ({}, {"steps": 4}, {"order": 1}):
        with pytest.raises(ValueError, match="whole number `steps` from 1 and `order`"):
            solver_consistency(model, [x], **bad)
    with pytest.raises(ValueError, match="have their own"):
        solver_consistency(model_of(), [x.float()], steps=4)


@pytest.mark.parametrize("output", [lambda x: x[:, :0], lambda x: x.sum(), lambda x: (x, x)])
def test_outputs_without_a_row_of_numbers_for_each_sample_are_refused(output):
    with pytest.raises(TypeError, match="one real array with a row for each sample"):
        solver_consistency(lambda x, n: output(x), [torch.ones(4, 2)], steps=2, order=1)


def test_a_change_to_infinity_is_infinite():
    def model(x, n):
        return x * (1 + 1 / n) if n < 8 else x / 0

    report = solver_consistency(model, [torch.rand(9, 3) + 1], steps=2, order=1)
    assert report.changes[0] < 1
    assert report.changes[1:] == (math.inf, math.inf, math.inf)
    assert "null" in report.to_json()
    assert SolverConsistencyReport.from_json(report.to_json()) == report
    plt.close(report.plot())


def test_progress_and_picture():
    seen = []
    model = model_of("euler", 2)
    report = solver_consistency(model, [torch.randn(9, 2)] * 4, progress=seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]
    figure = report.plot()
    assert report.verdict in figure.axes[1].get_title()
    plt.close(figure)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "ranking"}, "`task` must be"),
        ({"task": "regression"}, "needs a positive `tolerance`"),
        ({"tolerance": 0.1}, "needs a positive `tolerance`"),
        ({"halvings": 1}, "whole number from 2"),
        ({"halvings": 10**400}, "whole number from 2 to 30, got"),
        ({"solvers": "rk4"}, "sequence of solvers"),
        ({"solvers": 4}, "sequence of solvers"),
        ({"solvers": [None]}, "each named or given"),
        ({"progress": "yes"}, "True, False or callable"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        solver_consistency(model_of(), [torch.ones(2, 2)], **arguments)


def test_loaders_and_solvers_of_other_kinds():
    model, x = model_of("euler", 4), torch.randn(30, 2)
    plain = solver_consistency(model, [x])
    assert solver_consistency(model, [[x], x[:0]]) == plain  # as TensorDataset(x) makes them
    solver = SmoothedSolver(RK2, {"u": Fraction(2, 3)}, width=0.1, bound=3)
    before = str(solver.state_dict())
    solver_consistency(model, [x, x], solvers=[solver])
    assert str(solver.state_dict()) == before
    with pytest.raises(ValueError, match="SolvedBy"):
        solver_consistency(SolvedBy(model, "rk4"), [x])
    with pytest.raises(ValueError, match="no method 'rk5'"):
        SolvedBy(model, "rk5")
    with pytest.raises(TypeError, match=r"`solver` must be a name.* got 4"):
        SolvedBy(model, 4)


def test_numbers_coarser_than_the_outputs():
    class Widened(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = model_of("rk4", 16)

        def forward(self, x):
            return self.block(x).double()

    x = torch.randn(1000, 3)
    assert solver_consistency(Widened(), [(x, x.argmax(1))]).verdict == "flow"


def test_half_the_steps_may_fail():
    class Stiff(nn.Module):
        def forward(self, t, y):
            return -40 * y**3

    model = NeuralODE(Stiff(), solver="euler", steps=80)
    assert adapt_steps(model, torch.full((8, 1), 1.5), tolerance=1.0).after == (80,)


@pytest.mark.parametrize(
    ("count", "total"), [(50_000, 100_000), (300_000, 1_000_000), (1, 10**6), (10**6 - 1, 10**6)]
)
def test_large_intervals_are_scipys_and_take_no_time(count, total):
    share_interval.cache_clear()
    start = time.process_time()
    found = share_interval(count, total)
    assert time.process_time() - start < 1  # of terms that fall below rounding, few are summed
    expected = binomtest(count, total).proportion_ci(0.95, method="exact")
    assert found == pytest.approx(tuple(expected), rel=1e-9, abs=1e-11)
    gap = PairedGap(40_000, 41_000, 100_000)
    assert gap.p_value == pytest.approx(binomtest(40_000, 81_000).pvalue, rel=1e-8)


@pytest.mark.parametrize("counts", [(0, 0, 0), (3, 2, 4), (-1, 0, 4)])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(ValueError, match="lost \\+ gained <= total"):
        PairedGap(*counts)


def test_bad_models_and_data():
    x = torch.ones(2, 2)
    with pytest.raises(ValueError, match="no NeuralODE"):
        solver_consistency(nn.Linear(2, 2), [x])
    with pytest.raises(ValueError, match="adaptive steps"):
        solver_consistency(NeuralODE(Known()), [x])
    with pytest.raises(ValueError, match="no batch"):
        solver_consistency(model_of(), [])
    with pytest.raises(TypeError, match="`model` must be a Module"):
        adapt_steps(lambda x: x, x)
    for most in (0, 2.5, "16"):
        with pytest.raises(ValueError, match="`most` must be a whole number from 1"):
            adapt_steps(model_of(), x, most=most)
    with pytest.raises(TypeError, match="arrays or pairs"):
        solver_consistency(model_of(), ["x"])
    with pytest.raises(ValueError, match="class numbers"):
        solver_consistency(model_of(), [(x, torch.ones(3))])
    with pytest.raises(ValueError, match="flatten the rest"):
        solver_consistency(model_of(), [torch.ones(2, 3, 4)])


def test_an_ensemble_counts_with_the_least_order():
    x = torch.randn(1000, 2, dtype=torch.float64)
    for solvers, order in ((["heun2", "rk4"], 2), (["midpoint", "heun2"], 2), (["euler"], 1)):
        model = model_of(SolverEnsemble(solvers), 16).double()
        report = solver_consistency(model, [(x, x.argmax(1))])
        assert report.expected_order == order
        assert report.order > order - 0.1


def test_a_trained_solver_counts_with_its_order():
    solver = TrainableSolver(RK2, {"u": Fraction(2, 3)}, Fraction(1, 10))
    model = NeuralODE(Known(), solver=solver, steps=4).double()
    report = solver_consistency(model, [torch.randn(50, 2, dtype=torch.float64)])
    assert report.expected_order == 2
    assert report.order == pytest.approx(2, abs=0.2)


# ------------------------------------------------------------------- orders that do not show
class Layers(nn.Module):
    """A field of two layers."""

    def __init__(self, activation, scale=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = nn.Linear(4, 32), nn.Linear(32, 4)
        self.activation, self.scale = activation, scale

    def forward(self, t, y):
        return self.scale * self.outer(self.activation(self.inner(self.scale * y)))


def report_of(field, solver, steps, dtype=torch.float64, **options):
    model = NeuralODE(field, solver=solver, steps=steps).to(dtype)
    x = torch.randn(900, 4, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return solver_consistency(model, [(x, x.argmax(1))], solvers=(), **options)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("activation", "order"),
    [(torch.relu, 2), (torch.abs, 2), (nn.Hardtanh(), 2), (nn.ELU(), 3), (torch.sign, 1)],
)
def test_kinks_are_told(activation, order):
    report = report_of(Layers(activation), "rk4", 16)
    assert report.verdict == "map"
    assert f"order={order} to judge it so" in report.order_remark
    assert report.order_remark in str(report)
    again = report_of(Layers(activation), "rk4", 16, order=order)
    assert again.order_remark == ""
    if order > 1:
        assert again.verdict == "flow"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("activation", [torch.tanh, nn.GELU(), nn.Softplus(), nn.SiLU()])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_smooth_fields_are_not_taken_for_kinks(activation, dtype):
    for scale in (1.0, 4.0):
        for solver in ("rk4", "bosh3"):
            report = report_of(Layers(activation, scale), solver, 2, dtype)
            assert "jumps" not in report.order_remark


def test_kinks_are_told_in_single_precision():
    for solver, steps in (("rk4", 2), ("midpoint", 4)):
        report = report_of(Layers(torch.sign), solver, steps, torch.float32)
        assert report.verdict == "map"
        assert "order=1 to judge it so" in report.order_remark


@pytest.mark.parametrize("steps", [2, 16])
def test_an_order_that_rounding_hides_is_no_kink(steps):
    report = report_of(Layers(torch.relu), "rk4", steps, torch.float32)
    assert report.verdict == "flow"  # no order, in place of one of samples with large last changes
    assert report.order is None
    assert "hidden by rounding" in str(report)
    assert "would not show: to see it take a wider dtype" in report.order_remark
    assert report.order_remark in str(report)


def test_a_smooth_field_in_single_precision_has_no_order_of_its_largest_changes():
    torch.manual_seed(1)
    block = NeuralODE(DenseField(2, 16), solver="rk4", steps=6)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.mul_(4)
    model, x = nn.Sequential(block, nn.Linear(2, 3)), torch.randn(1000, 2)
    report = solver_consistency(model, [(x, model(x).argmax(1))], solvers=())
    assert report.verdict == "flow"
    assert report.order is None or report.order > 3.5
    double = solver_consistency(model.double(), [x.double()], solvers=())
    assert (double.verdict, double.order) == ("flow", pytest.approx(4, abs=0.1))


@pytest.mark.parametrize("order", [1, 2, 4])
def test_rounding_makes_no_order_short(order):
    eps, steps = torch.finfo(torch.float64).eps, 4
    floor = 16 * 16**0.5 * eps  # of outputs of 1 in 4 x 4 steps
    first = torch.logspace(0, 4, 2000, dtype=torch.float64) * floor
    rounding = 0.99 * floor  # as much as it may be, and in the way
    changes = torch.stack([first - rounding, first / 2**order + rounding])
    outputs = torch.cat([torch.zeros(1, 2000), -changes]).cumsum(0) + 1
    found = ladder_bound([*outputs[..., None]], order, steps).orders[0]
    assert found.isfinite().any()
    assert found[found.isfinite()].min() >= order - 0.5
    least = (first[found.isfinite()].min() / floor).item()
    assert least < 2.5 * 2**order + 5.5  # no sample is hidden without need


def test_the_order_is_that_of_the_last_rungs_that_show_it():
    hidden = math.nan

    def observed(*rows):
        return observed_order(rows, 4)

    assert observed([3.0] * 3, [4.0] * 3, [2.0, 1.0, 2.5]) == 2  # the last rungs
    assert observed([2.0] * 3, [2.2] * 3, [hidden, hidden, 1.0]) == 2.2  # of the most samples
    assert observed([2.5] * 3, [3.3] * 3, [hidden] * 3) is None  # rises
    assert observed([3.0] * 3, [3.8] * 3, [hidden] * 3) == 3.8
    assert observed([2.0] * 3, [hidden] * 3, [hidden] * 3) is None  # the first
    assert observed([4.1] * 3, [hidden] * 3, [hidden] * 3) == 4.1
    assert observed([hidden] * 3, [2.0] * 3, [hidden] * 3) is None
    assert observed([hidden] * 3) is None


def test_steps_that_are_too_large_and_noise_are_no_kinks():
    report = report_of(Layers(nn.Softplus(), 6.0), "rk4", 1)
    assert report.order < 3.5
    assert "still rises along the rungs" in report.order_remark
    noisy = report_of(lambda t, y: y + 0.1 * torch.sin(1e6 * y), "rk4", 4)
    assert "more slowly than any order" in noisy.order_remark


# ---------------------------------------------------------- models trained as flow and as map
def spheres(count, seed):
    """Two concentric rings in the plane, which no flow of the plane can separate by a line."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    label = (torch.rand(count, generator=generator) < 0.5).long()
    radius = torch.where(label == 1, 1.5, 0.5) + 0.1 * torch.randn(count, generator=generator)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), label


def trained(solver, steps, seed, epochs=60):
    torch.manual_seed(seed)
    model = nn.Sequential(NeuralODE(DenseField(2, 24), solver=solver, steps=steps), nn.Linear(2, 2))
    x, y = spheres(400, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


@pytest.mark.sampled(2)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("solver_steps", [("euler", 1), ("euler", 2), ("rk4", 1), ("rk4", 16)])
def test_no_false_certificate(solver_steps, seed):
    model = trained(*solver_steps, seed)
    report = solver_consistency(model, [spheres(2500, 100 + seed)])
    x, y = spheres(4000, 200 + seed)
    block = model[0]
    own = (model(x).argmax(1) == y).double().mean()
    block.solver, steps, block.steps = "rk4", block.steps, 256
    fine = model(x).argmax(1)
    true_gap = abs(float(own - (fine == y).double().mean()))
    if report.verdict == "flow":
        assert true_gap < 0.01
    if solver_steps == ("rk4", 16):
        assert report.verdict == "flow"
    if true_gap > 0.02:
        assert report.verdict == "map"
    assert steps == solver_steps[1]


def test_steps_follow_what_training_needs():
    torch.manual_seed(0)
    stiff = nn.Sequential(model_of("euler", 1, rate=2.0), nn.Linear(2, 2)).double()
    x = torch.randn(64, 2, dtype=torch.float64)
    seen = [1]
    for _ in range(12):
        seen.append(adapt_steps(stiff, x, target=0.9, most=1024).after[0])
    assert seen[1] == 2
    assert seen[-1] == seen[-2] > 8  # settled
    assert stiff[0].steps == seen[-1]
    stiff[0].steps = 4096
    assert adapt_steps(stiff, x, target=0.9).after == (2048,)
    with pytest.raises(ValueError, match="above 0"):
        adapt_steps(stiff, x, target=0)
    settled = model_of("rk4", 7)
    assert adapt_steps(settled, x.float(), tolerance=0.1).after == (7,)  # odd: not halved


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("speed", "steps"),
    [(1.0, 64), pytest.param(1.0, 256, marks=pytest.mark.long), (6.0, 64), (6.0, 256)],
)
def test_rounding_of_many_steps_in_float32_is_no_map(speed, steps):
    def rotation(t, y):
        return speed * torch.stack([-y[:, 1], y[:, 0]], 1)

    angle = torch.arange(2000) * (2 * math.pi / 2000) + 0.001
    x = torch.stack([angle.cos(), angle.sin()], 1)
    model = NeuralODE(rotation, solver="rk4", steps=steps)
    assert solver_consistency(model, [(x, model(x).argmax(1))]).verdict == "flow"


def planar(steps, solver="rk4"):
    torch.manual_seed(0)
    return nn.Sequential(NeuralODE(DenseField(2, 16), solver=solver, steps=steps), nn.Linear(2, 3))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("steps", [1, 4])
def test_rounding_of_half_precision_is_undecided_and_asks_for_no_steps(dtype, steps):
    x = torch.randn(1000, 2)
    model = planar(steps)
    assert solver_consistency(model, [(x, model(x).argmax(1))]).verdict == "flow"
    model, x = model.to(dtype), x.to(dtype)
    report = solver_consistency(model, [(x, model(x).argmax(1))])
    assert report.verdict == "undecided"
    assert report.certified + report.hidden / report.samples > 0.95 > report.certified
    assert "wider dtype" in str(report)
    assert "too few samples" not in str(report)
    assert SolverConsistencyReport.from_json(report.to_json()) == report
    change = adapt_steps(model, x)
    assert change.after == (steps,)
    assert change.certified + change.hidden > 0.95 > change.certified


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_map_in_half_precision_is_a_map(dtype):
    x, y = spheres(1000, 100)
    model = trained("euler", 2, 0).to(dtype)
    assert solver_consistency(model, [(x.to(dtype), y)]).verdict == "map"
    assert adapt_steps(model, x.to(dtype)).after == (4,)


def test_rounding_of_autocast_is_undecided():
    x = torch.randn(1000, 2)
    model = planar(4)[0]  # its states are float32, its field's values bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert solver_consistency(model, [(x, model(x).argmax(1))]).verdict == "undecided"
        double = model.double()  # not touched by autocast
        assert solver_consistency(double, [(x.double(), x.argmax(1))]).certified > 0.95


def test_a_tolerance_below_rounding_is_undecided():
    model, x = planar(8), torch.randn(800, 2)
    options = {"task": "regression", "tolerance": 1e-7, "solvers": ()}
    report = solver_consistency(model, [x], **options)
    assert report.verdict == "undecided"
    assert report.hidden == 800
    assert adapt_steps(model, x, tolerance=1e-7).after == (8,)
    options["tolerance"] = 1e-10
    assert solver_consistency(planar(2, "euler"), [x], **options).verdict == "map"
    assert replace(report, hidden=0).verdict == "map"
    assert replace(report, nonfinite=1).verdict == "map"


def test_progress_of_a_loader_without_a_length():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(torch.randn(6, 3))

    told = []
    model = NeuralODE(DenseField(3, 8), solver="rk4", steps=2)
    loader = torch.utils.data.DataLoader(Stream(), batch_size=2)
    solver_consistency(model, loader, solvers=(), progress=told.append)
    assert told == [1, 2, 3]


def test_steps_that_blow_up_are_doubled():
    class Cubic(nn.Module):
        def forward(self, t, y):
            return -3000 * y**3

    torch.manual_seed(0)
    model = NeuralODE(Cubic(), solver="rk4", steps=4)
    x = torch.randn(16, 2)
    for k in range(2):
        change = adapt_steps(model, x, tolerance=1e-3, most=16)
        assert (change.before, change.after, change.certified) == ((4 * 2**k,), (8 * 2**k,), 0.0)
    with pytest.raises(SolveError):
        adapt_steps(model, x, tolerance=1e-3, most=16)
    assert model.steps == 16


def test_a_change_from_nothing_has_a_finite_order():
    def jumps(x, n):
        return x + (n > 16) * torch.tensor([1.0, -1.0])

    report = solver_consistency(jumps, [torch.zeros(4, 2)], steps=2, order=2)
    assert report.order < 0
    assert report.verdict == "map"
    assert SolverConsistencyReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("order", [0, -1.0, float("nan"), float("inf")])
def test_orders_that_are_none_are_refused(order):
    model, x = NeuralODE(DenseField(3, 8), solver="rk4", steps=2), torch.randn(4, 3)
    with pytest.raises(ValueError, match="must be positive and finite"):
        solver_consistency(model, [x], order=order)
    with pytest.raises(ValueError, match="must be positive and finite"):
        solver_consistency(lambda x, n: x, [x], steps=2, order=order)
    with pytest.raises(ValueError, match="must be positive and finite"):
        adapt_steps(model, x, order=order)


def test_solvers_for_a_model_of_steps_are_refused():
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"`solvers` are for the blocks of a Module"):
        solver_consistency(lambda x, n: x, [x], steps=2, order=1, solvers=("nonsense",))
    assert solver_consistency(lambda x, n: x, [x], steps=2, order=1, solvers=()).solvers


def rotated(off, dtype):
    """A rotation about a point far from zero, whose head sees differences of large states."""
    torch.manual_seed(0)

    def field(t, y):
        return torch.stack([off - y[:, 1], y[:, 0] - off], 1)

    head = nn.Linear(2, 3, bias=False)
    head.weight.data.copy_(torch.tensor([[1.0, -1], [-1, 1], [0.5, -0.5]]))
    model = nn.Sequential(NeuralODE(field, solver="rk4", steps=16), head)
    return model.to(dtype), (off + torch.randn(1000, 2)).to(dtype)


@pytest.mark.parametrize(
    ("off", "dtype", "verdict"),
    [
        (3.0, torch.float32, "flow"),
        (1000.0, torch.float32, "undecided"),
        (1000.0, torch.float64, "flow"),
    ],
)
def test_rounding_of_states_larger_than_the_output_is_no_map(off, dtype, verdict):
    model, x = rotated(off, dtype)
    report = solver_consistency(model, [(x, model(x).argmax(1))], solvers=())
    assert report.verdict == verdict
    assert report.certified + report.hidden / report.samples > 0.95
    assert adapt_steps(model, x[:200]).after[0] <= 16
    twin = nn.Sequential(NeuralODE(model[0].func, solver="euler", steps=1), model[1])
    assert solver_consistency(twin, [x], solvers=()).verdict == "map"


def test_a_model_that_tells_apart_what_hardly_differs_is_not_called_rounding():
    outputs = [torch.tensor([[1.0 + x]]) for x in (0.0, 1.0, 0.0, 1.0, 0.0)]
    for unit in (1e-7, 1.0):
        assert ladder_bound(outputs, 4, 16, unit=torch.tensor([unit])).resolved.isinf().all()
    assert ladder_bound(outputs, 4, 16, unit=torch.tensor([1e-6])).orders.isfinite().all()


def test_changes_of_large_steady_states_are_rounding():
    eps = torch.finfo(torch.float32).eps
    outputs = [torch.tensor([[1.0 + k * eps]]) for k in (0, 300, 650, 1000, 1350)]
    found = ladder_bound(outputs, 4, 16)
    assert found.orders.isnan().all()
    assert found.resolved == 0
    assert 4 * 1024 * eps < found.bound < 4.2 * 1024 * eps
    grown = [torch.tensor([[1.0 + k * 4 * eps]]) for k in (0, 300, 650, 1000, 1350)]
    assert ladder_bound(grown, 4, 16).bound.isinf().all()


# ------------------------------------------------------- loaders, arrays, masks, broken models
def test_one_batch_in_place_of_a_loader_is_refused():
    model, x = model_of("euler", 4), torch.randn(30, 2)
    y = x.argmax(1)
    dataset = torch.utils.data.TensorDataset(x, y)
    for bad in (x, x.numpy(), (x, y), [x, y], (x, x), (x.numpy(), y.numpy())):
        with pytest.raises(TypeError, match=r"got one batch, a .*: give \[\(x, y\)\]"):
            solver_consistency(model, bad)
    with pytest.raises(TypeError, match="DataLoader"):
        solver_consistency(model, dataset)
    for mixed in ([(x, y), x], [x, (x, y)]):
        with pytest.raises(TypeError, match=r"batch 1 has .*labels, unlike those before"):
            solver_consistency(model, mixed)
    loader = torch.utils.data.DataLoader(dataset, batch_size=10)
    assert solver_consistency(model, loader).samples == 30


def test_arrays_of_other_libraries():
    def model(x, n):
        assert isinstance(x, np.ndarray)
        return x * (1 + 1 / n) ** n

    x = np.random.default_rng(0).normal(size=(900, 3))
    batches = [(x, x.argmax(1))]
    found = solver_consistency(model, batches, steps=np.int64(4), order=1)
    block = model_of("euler", 4).double()
    expected = solver_consistency(block, batches, solvers=(), halvings=np.int64(4))
    assert found.ratios == pytest.approx(expected.ratios, rel=1e-6)
    assert found.accuracy == expected.accuracy == (1.0,) * 5
    with pytest.raises(TypeError, match="one real array"):
        solver_consistency(lambda x, n: [x], batches, steps=4, order=1)
    z = torch.from_numpy(x)
    assert torch.equal(SolvedBy(block, refine=np.int64(2))(z), SolvedBy(block, refine=2)(z))


class Masked(nn.Module):
    """Scores of which the last is masked; with `late`, only in many steps."""

    def __init__(self, late=False):
        super().__init__()
        self.block, self.late = model_of("rk4", 8), late

    def forward(self, x):
        y = self.block(x)
        if not self.late or self.block.replaced[1] > 1:
            y = y.masked_fill(torch.tensor([False, False, True]), -float("inf"))
        return y


def test_masked_scores_do_not_change():
    x = torch.randn(1000, 3)
    report = solver_consistency(Masked(), [(x, x[:, :2].argmax(1))])
    assert report.verdict == "flow"
    assert report.nonfinite == 0
    assert report.accuracy[0] == 1
    assert adapt_steps(Masked(), x).certified > 0.95
    assert solver_consistency(Masked(late=True), [x]).nonfinite == 1000


def test_outputs_that_no_steps_make_finite_ask_for_none():
    model, x = planar(4), torch.randn(20, 2)
    with torch.no_grad():
        model[1].bias[0] = math.nan
    with pytest.raises(ValueError, match="20 of 20 samples are not finite in any"):
        adapt_steps(model, x)
    assert model[0].steps == 4


def test_equal_scores_ask_for_no_wider_dtype():
    model, x = planar(4).double(), torch.randn(900, 2, dtype=torch.float64)
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
    report = solver_consistency(model, [x])
    assert report.tied == 900
    assert report.verdict == "undecided"
    assert "scores of 900 samples are equal" in str(report)
    assert "wider" not in str(report)
    assert SolverConsistencyReport.from_json(report.to_json()) == report


@pytest.mark.parametrize("last", [8, 64])  # rungs of 8 to 128 steps
def test_an_order_that_is_lost_with_the_outputs_is_not_hidden_by_rounding(last):
    def model(x, n):
        return x * (1 + 1 / n if n <= last else math.nan)

    report = solver_consistency(model, [torch.ones(9, 2)], steps=8, order=4)
    assert report.verdict == "map"
    assert report.order is None
    assert report.order_remark == ""
    assert "observed order: hidden by outputs that are not finite" in str(report)
    assert "rounding" not in str(report)
    still = solver_consistency(lambda x, n: x, [torch.ones(9, 2)], steps=8, order=4)
    assert "hidden by rounding" in str(still)  # the twin


def test_compiled_models_are_compared_without_a_warning_of_the_compiler():
    torch.manual_seed(0)
    block = NeuralODE(DenseField(2, 8), solver="rk4", steps=4)
    model, x = nn.Sequential(nn.Linear(2, 2), block), torch.randn(20, 2)
    torch._dynamo.utils.warn_once_cache.clear()
    compiled = torch.compile(model, backend="eager")
    plain, found = (solver_consistency(each, [x]) for each in (model, compiled))
    assert found.changes == pytest.approx(plain.changes, rel=0.2)
    torch.compiler.reset()
    euler = torch.compile(SolvedBy(model, "euler"), backend="eager")
    assert torch.equal(euler(x), SolvedBy(model, "euler")(x))
