"""A sweep of RK4(u, v): right at a member, and the same on any workers."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.families import RK4
from odecore.solve import solve_ivp
from odecore.tableaux import tableau_at
from verification._runner import open_executor
from verification.problems import PROBLEMS
from verification.sweep import main, row, sweep

GRID = np.array([0.2, 0.4, 0.75])


def test_a_row_is_what_its_members_give_alone():
    problem = next(p for p in PROBLEMS if p.name == "Brusselator")

    def end(**options):
        field = lambda t, y: np.array(problem.field(t, *y))  # noqa: E731
        return solve_ivp(field, (0, problem.end), np.array(problem.y0), **options).y[-1]

    exact = end(method="dop853", rtol=1e-12, atol=1e-12)
    alone = end(method=tableau_at(RK4, u=Fraction(2, 5), v=Fraction(7, 10)), steps=100) - exact
    found = row("Brusselator", np.array([0.4, 0.7]), 0.7, 100)
    assert found[0] == pytest.approx(np.sqrt(np.mean(alone**2)), rel=1e-6)
    assert np.isnan(found[1])  # u = v is no member


def test_errors_are_of_order_four():
    coarse, fine = (row("Brusselator", GRID[1:2], 0.75, steps) for steps in (800, 1600))
    assert np.log2(coarse / fine) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("kind", ["threads", pytest.param("dask", marks=pytest.mark.long)])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # dask's own sockets at exit
def test_a_sweep_does_not_depend_on_the_workers(kind):
    if kind == "dask":
        pytest.importorskip("distributed")
    with open_executor(kind, 2) as executor:
        found = sweep("Brusselator", GRID, 50, executor=executor)
    np.testing.assert_array_equal(found, sweep("Brusselator", GRID, 50))
    assert np.isfinite(found).sum() == 6


def test_the_command_writes_and_tells(tmp_path, capsys):
    out = ["--out", str(tmp_path / "new" / "sweep.npz")]
    assert main(["--points", "3", "--steps", "50", *out]) == 0
    assert "by the 3/8 rule" in capsys.readouterr().out
    kept = np.load(out[1])
    assert kept["error"].shape == (len(kept["v"]), len(kept["u"])) == (3, 3)
    assert main(["--problem", "van der Pol", "--points", "2", "--steps", "5", *out]) == 1
    assert "take more" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--points", "1", *out])
    bare = tmp_path / "sweep"  # NumPy would give it a suffix
    assert main(["--points", "2", "--steps", "50", "--out", str(bare)]) == 0
    assert np.load(bare)["error"].shape == (2, 2)
