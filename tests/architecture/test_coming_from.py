"""What the pages for users of other packages say, held against those packages."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from odecore.solve import solve_ivp
from odecore.tableaux import ButcherTableau, catalogue, tableau

DOCS = Path(__file__).parents[2] / "docs"


def result_of(code):
    names = {"__name__": "example"}
    exec(compile(code, "page", "exec"), names)  # noqa: S102
    return np.array(names["y"], dtype=float)


@pytest.mark.filterwarnings("ignore")  # the peers' own
@pytest.mark.parametrize("peer", ["diffrax", "nodepy", "scipy", "torchdiffeq", "torchjd"])
def test_both_sides_give_the_same(peer):
    pytest.importorskip(peer)
    text = (DOCS / f"coming_from_{peer}.md").read_text()
    blocks = re.findall(r"^```py(?:thon)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if peer == "torchdiffeq":  # another import is all there is
        ours, theirs = blocks[-1], blocks[-1].replace("from torch_bridge", "from torchdiffeq")
        assert ours != theirs
    else:
        theirs, ours = blocks
        assert peer in theirs
        assert peer not in ours
    np.testing.assert_allclose(result_of(ours), result_of(theirs), rtol=1e-6)


def test_scipy():
    from scipy.integrate import solve_ivp as peer

    options = {"rtol": 1e-8, "atol": 1e-10}
    theirs = peer(lambda t, y: -y, (0, 1), [1.0, 2.0], **options)
    ours = solve_ivp(lambda t, y: -y, (0, 1), [1.0, 2.0], method="dopri5", **options)
    assert (theirs.y.shape[0], ours.y.shape[1]) == (2, 2)
    assert {"bosh3", "dop853", "kvaerno54"} < set(catalogue())


@pytest.mark.parametrize(
    ("f", "end", "y0", "row"),
    [
        (lambda t, y: np.array([y[1], -np.sin(y[0])]), 10, [1.0, 0.0], "pendulum"),
        (
            lambda t, y: np.append(y[2:], -y[:2] / np.hypot(*y[:2]) ** 3),
            20,
            [0.4, 0, 0, 2],
            "Kepler",
        ),
    ],
)
def test_dop853_is_stricter_than_scipys(f, end, y0, row):
    from scipy.integrate import solve_ivp as peer

    exact = solve_ivp(f, (0, end), y0, method="dop853", rtol=1e-14, atol=1e-15).y[-1]
    text = (DOCS / "coming_from_scipy.md").read_text()
    said = re.search(rf"\| {row}.*", text)[0].split("|")[2:5]
    theirs = peer(f, (0, end), y0, method="DOP853", rtol=1e-10, atol=1e-10)
    found = [(theirs.nfev, theirs.y[:, -1])]
    for tol in (1e-10, 1e-8):
        ours = solve_ivp(f, (0, end), y0, method="dop853", rtol=tol, atol=tol)
        found.append((ours.statistics.evaluations, ours.y[-1]))
    for words, (evaluations, y) in zip(said, found, strict=True):
        count, error = words.split(",")
        assert evaluations == pytest.approx(int(count), rel=0.05)
        rel = 0.1 if float(error) > 1e-12 else 10  # the rest is rounding
        assert np.abs(y - exact).max() == pytest.approx(float(error), rel=rel)


def test_pages_know_how_many_methods_there_are():
    n = len(catalogue())
    said = {
        "coming_from_torchdiffeq": f"which has {n},",
        "coming_from_scipy": f"and {n - 3} more",
        "comparison": f"| methods | {n},",
    }
    for page, words in said.items():
        assert words in (DOCS / f"{page}.md").read_text()


def test_fixed_steps_beside_torchdiffeq():
    theirs = pytest.importorskip("torchdiffeq")
    import torch

    import torch_bridge as ours

    def solved(package, interp, dtype):
        calls = []

        def f(t, y):
            calls.append(t)
            return torch.cos(t) * y

        t, options = torch.linspace(0, 1, 4, dtype=dtype), {"step_size": 0.3, "interp": interp}
        y0 = torch.ones(2, dtype=torch.float64)
        return package.odeint(f, y0, t, method="rk4", options=options), len(calls)

    for interp in ("linear", "cubic"):
        for dtype, least, most in ((torch.float64, 0, 1e-15), (torch.float32, 1e-9, 1e-6)):
            (y, mine), (z, peers) = (solved(p, interp, dtype) for p in (ours, theirs))
            assert least <= (y - z).abs().max() <= most
            assert mine == peers if interp == "linear" else mine < peers


def test_diffrax():
    diffrax = pytest.importorskip("diffrax")
    found = [
        name
        for name, kind in inspect.getmembers(diffrax, inspect.isclass)
        if issubclass(kind, diffrax.AbstractSolver) and not name.startswith("Abstract")
    ]
    assert 25 <= len(found) <= 40
    assert {"KenCarp4", "SemiImplicitEuler"} < set(found)
    default = inspect.signature(diffrax.diffeqsolve).parameters["adjoint"].default
    assert isinstance(default, diffrax.RecursiveCheckpointAdjoint)
    assert {"BacksolveAdjoint", "DirectAdjoint", "ImplicitAdjoint", "Event"} < set(dir(diffrax))
    steps = solve_ivp(lambda t, y: -y, (0, 1), [1.0], method="classic", step_size=0.3).t
    np.testing.assert_allclose(steps, [0, 0.25, 0.5, 0.75, 1])


def test_torchdiffeq():
    pytest.importorskip("torchdiffeq")
    import importlib

    from torch_bridge._methods import NAMES

    theirs = importlib.import_module("torchdiffeq._impl.odeint").SOLVERS
    assert set(theirs) <= set(NAMES)
    assert len(theirs) in {14, 24}  # a release, its main branch
    assert len(NAMES) == 24


@pytest.mark.filterwarnings("ignore")
def test_nodepy():
    rk = pytest.importorskip("nodepy.runge_kutta_method")
    theirs, ours = rk.loadRKM("RK44"), tableau("classic")
    assert theirs.order(mode="exact") == 4
    np.testing.assert_array_equal(np.array(theirs.b, dtype=float), np.array(ours.b, dtype=float))
    for name, catalogued in {"RK44": "classic", "GL3": "gauss3", "RadauIIA3": "radau_iia3"}.items():
        theirs = rk.loadRKM(name)
        found, ours = ButcherTableau(theirs.A.tolist(), theirs.b.tolist()), tableau(catalogued)
        assert (found.A, found.b) == (ours.A, ours.b)


def test_torchjd():
    aggregation = pytest.importorskip("torchjd.aggregation")
    abstract = {"Aggregator", "WeightedAggregator", "GramianWeightedAggregator"}
    found = {
        name
        for name, kind in inspect.getmembers(aggregation, inspect.isclass)
        if issubclass(kind, aggregation.Aggregator)
    } - abstract
    assert {"UPGrad", "MGDA"} < found
    assert len(found) == pytest.approx(20, abs=3)
