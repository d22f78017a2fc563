"""The demo's parts: data, rows, counts, table, verdict and page."""

import dataclasses
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from odecore.families import RK4
from odecore.tableaux import coefficients_at
from torch_bridge import odeint
from verification.__main__ import main
from verification._digits import OVERLAP, digit_pairs, digits
from verification.demo import _figures, _measure, _report, _run
from verification.demo._part import Cell, Section
from verification.demo._rows import PAIR_ROWS, PLAIN, ROWS, Classifier
from verification.demo._train import Run, evaluations, saved_bytes, train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data():
    return digits()


def test_the_split_is_fixed_and_disjoint(data):
    again = digits()
    assert torch.equal(data.train_x, again.train_x)
    assert (len(data.train_x), len(data.test_x)) == (1437, 360)
    train, test = ({image.numpy().tobytes() for image in x} for x in (data.train_x, data.test_x))
    assert not train & test
    assert data.train_x.shape[1] == 64
    assert 0 <= float(data.train_x.min()) < float(data.train_x.max()) <= 1
    assert data.train_y.unique().tolist() == list(range(10))


def test_pairs_overlay_the_two_digits(data):
    pairs = digit_pairs(50, 20)
    canvas = pairs.train_x.reshape(50, 8, 16 - OVERLAP)
    images = data.train_x.reshape(-1, 8, 8)
    width = 8 - OVERLAP
    for k in range(50):
        left = [
            i for i in range(len(images)) if torch.equal(images[i, :, :width], canvas[k, :, :width])
        ]
        right = [
            i for i in range(len(images)) if torch.equal(images[i, :, OVERLAP:], canvas[k, :, 8:])
        ]
        assert int(pairs.train_y[k, 0]) in data.train_y[left, 0].tolist()
        assert int(pairs.train_y[k, 1]) in data.train_y[right, 0].tolist()
    assert pairs.test_x.shape == (20, 8 * (16 - OVERLAP))


@pytest.mark.parametrize("row", [*ROWS, *PAIR_ROWS], ids=lambda row: row.name)
def test_every_row_learns(row, data):
    chosen = data if row.tasks == 1 else digit_pairs(320, 100)
    few = dataclasses.replace(chosen, train_x=chosen.train_x[:320], train_y=chosen.train_y[:320])
    torch.manual_seed(0)
    model = Classifier(row, few.train_x.shape[1])
    run = train(model, row, few, epochs=4, seed=0)
    assert run.accuracy > (0.6 if row.tasks == 1 else 0.2)
    assert len(run.curve) == 4
    # Four steps of a four-stage method; the restored adjoint evaluates again in the backward pass.
    if row.name == "restored adjoint":
        # The slope at the end is for dense output; the products at all nodes are one evaluation, or
        # two where the first are too few.
        assert run.forward == 16 + 1
        assert run.backward in (16 + 1 + 1, 16 + 1 + 2)
    else:
        assert (run.forward, run.backward) == (16, 0)


def test_saved_bytes_and_evaluations_are_what_they_say(data):
    x, y = data.train_x[:64], data.train_y[:64]
    sizes = {row.name: saved_bytes(Classifier(row, 64), x, y) for row in ROWS}
    assert sizes["restored adjoint"] < sizes["sketched layers"] < sizes["plain"]
    layer = torch.nn.Sequential(torch.nn.Linear(64, 10))

    class OneLayer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return [self.layer(x).exp()]

    # exp keeps its output; cross entropy its log-softmax, the labels a view of y, and one scalar.
    assert saved_bytes(OneLayer(), x, y) == 2 * 64 * 10 * 4 + 4
    assert evaluations(Classifier(PLAIN, 64), PLAIN, x, y) == (16, 0)


def run_of(accuracy):
    return Run(accuracy, (accuracy,), 16, 0, 1024, 1.0, {})


def line_of(row, accuracies, against):
    return _report.line(row, [run_of(a) for a in accuracies], "plain", [run_of(a) for a in against])


def test_the_interval_is_students():
    values = [0.95, 0.97, 0.96]
    found = _report.Estimate.of(values)
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx(
        (low, high)
    )
    assert _report.Estimate.of([0.9]).half_width is None


def test_a_row_that_loses_is_named_and_one_that_does_not_is_not():
    loser = line_of(ROWS[1], [0.90, 0.91, 0.905], [0.97, 0.975, 0.972])
    even = line_of(ROWS[2], [0.96, 0.98, 0.97], [0.97, 0.975, 0.972])
    assert loser.loses
    assert not even.loses
    assert "solver smoothing” loses 6.7 points" in _report.verdicts([loser, even], 3)[0]
    assert len(_report.verdicts([loser, even], 3)) == 1
    assert _report.verdicts([even], 3) == [
        "No row loses more than its interval against its baseline."
    ]
    assert "One seed gives no interval" in _report.verdicts([loser], 1)[0]


def test_warnings_of_a_row_are_told():
    runs = [
        run_of(0.9),
        dataclasses.replace(run_of(0.9), warned=("few nodes, 1e-03", "few nodes, 2e-03")),
    ]
    told = _report.warned(ROWS[:2], [runs[:1], runs])
    assert told == ["“solver smoothing” was warned of in 1 of 2 runs: few nodes, 2e-03."]


def test_the_table_has_a_line_for_each_row():
    lines = [line_of(row, [0.96, 0.98], [0.97, 0.97]) for row in ROWS]
    text = _report.table(_report.HEADER, list(map(_report.cells, lines))).splitlines()
    assert len(text) == 2 + len(ROWS)
    assert len({len(line) for line in text}) == 1


def test_the_page_is_self_contained_and_escapes(tmp_path):
    row = dataclasses.replace(PLAIN, about="a < b & c")
    curves = _figures.draw_curves({"plain": [0.5, 0.9], "other": [0.4, 0.8]})
    names = (*_run.FIGURES, "curves")
    texts = {
        "summary": "", "verdicts": ["<b>"], "seeds": 3, "seed_list": "0", "batch": 64,
        "versions": "", "minutes": "1", "cores": 2,
    }  # fmt: skip
    lines = [line_of(row, [0.1, 0.2], [0.9, 0.91])]
    table = ("name", "change"), [[Cell("x"), Cell("-1.0", lost=True)]]
    section = Section("part", "about", ["a > b"], *table, "curves", "caption", "said <so>")
    _report.page(tmp_path / "index.html", lines, [section], texts, dict.fromkeys(names, curves))
    html = (tmp_path / "index.html").read_text()
    assert "a &lt; b &amp; c" in html
    assert "&lt;b&gt;" in html
    assert html.count("<svg") == 6 + 1
    assert html.count('class="lost"') == 2
    assert "a &gt; b" in html
    assert "<pre" in html
    assert "said &lt;so&gt;" in html
    for pointer in ("make docs", "docs/_build/html/index.html", "python -m verification run"):
        assert pointer in html
    assert not re.search(r"""(src|href)=["']https?:""", html)
    assert "<script" not in html


def test_a_failing_task_is_reported_and_the_rest_go_on():
    class Bar:
        updates = 0

        def update(self):
            self.updates += 1

    results, failures, bar = {}, [], Bar()
    with ThreadPoolExecutor(1) as pool:
        tasks = {pool.submit(lambda: 1 / 0): "bad", pool.submit(lambda: 7): "good"}
        _run._collect(tasks, results, failures, bar)
    assert results == {"good": 7}
    assert len(failures) == 1
    assert "ZeroDivisionError" in failures[0]
    assert bar.updates == 2


def test_measurements_say_what_the_figures_claim(data):
    torch.manual_seed(0)
    model = Classifier(PLAIN, 64)
    errors = _measure.node_errors(model, data, (3, 9)).errors
    assert all(few > 10 * many for few, many in errors.values())
    noise = _measure.sketch_noise(model, data, 60)
    for name, exact in noise.exact.items():
        for (mean, error), wanted in zip(noise.measured[name], exact, strict=True):
            assert abs(mean - wanted) < 6 * error
    for p, wrong, right in zip(noise.sizes, noise.published, noise.exact["Gaussian"], strict=True):
        assert right - wrong == pytest.approx(2 / p, rel=1e-9)  # in units of ||X^T Y||^2
    decreases = _measure.relative_decreases(128, 4)
    np.testing.assert_allclose(decreases.equiangular[:, 0], decreases.equiangular[:, 1], rtol=1e-2)
    assert (np.abs(np.diff(decreases.summed)) > 0.1).all()
    assert np.abs(decreases.equiangular).max() < 1.01
    assert 0.9 < decreases.summed.max() < 1.01  # a cosine: the larger loss alone is followed
    found = _measure.error_map(model, data, 8)
    i, j = 2, 6  # v, u
    method = coefficients_at(RK4, u=found.u[j], v=found.v[i])
    states = _measure._states(model, data, 32)
    ends = [
        odeint(model.field, states, _measure.END, **options)[-1]
        for options in ({"rtol": 1e-10, "atol": 1e-12}, {"method": method, "options": {"steps": 4}})
    ]
    wanted = float((ends[0] - ends[1]).square().mean().sqrt().detach())
    assert found.error[i, j] == pytest.approx(wanted, rel=1e-3)
    assert found.error.shape == (8, 8)
    assert np.isfinite(found.error).any()


@pytest.mark.parametrize(
    "arguments", [[], ["demo", "--seeds", "0"], ["demo", "--seeds", "x"], ["dmeo"]]
)
def test_bad_command_lines_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m verification" in capsys.readouterr().err


def test_a_folder_that_can_not_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert main(["demo", "--quick", "--out", str(tmp_path / "file")]) == 2
    assert "file: File exists" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_quick_demo_runs(tmp_path):
    out = tmp_path / "page"
    command = [sys.executable, "-m", "verification", "demo", "--quick", "--out", str(out)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert found.returncode == 0, found.stderr
    assert (out / "index.html").stat().st_size > 100_000
    assert "plain" in found.stdout
