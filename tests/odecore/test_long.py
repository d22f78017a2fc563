"""What takes long: statistics at real sizes, orders over a grid of members."""

from fractions import Fraction

import numpy as np
import pytest

from odecore.families import RK3, RK4
from odecore.order import order_of_accuracy
from odecore.sketching import (
    BalancedCountSketch,
    Centred,
    CosineSketch,
    CountSketch,
    GaussianSketch,
    HadamardSketch,
    ImportanceRows,
    PoissonRows,
    RademacherSketch,
    SparseSignSketch,
    UniformRows,
    WinnerTakeAllRows,
    sketched_product,
    variance,
)
from odecore.tableaux import tableau_at
from tests.helpers.statistics import mean_agrees

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    "kind",
    [
        GaussianSketch,
        RademacherSketch,
        SparseSignSketch,
        CountSketch,
        BalancedCountSketch,
        HadamardSketch,
        CosineSketch,
        UniformRows,
        ImportanceRows,
        PoissonRows,
        WinnerTakeAllRows,
        lambda p: Centred(CountSketch(p), np.arange(256) // 64),
    ],
)
@pytest.mark.parametrize("size", [16, 64, 200])
def test_variance_at_a_real_size(kind, size, rng):
    X = rng.standard_normal((256, 64)) * np.geomspace(1, 20, 256)[:, None]
    Y = rng.standard_normal((256, 32)) + 0.1 * X[:, :32]
    exact = X.T @ Y

    def sample(n):
        return [np.sum((sketched_product(kind(size), X, Y, rng) - exact) ** 2) for _ in range(n)]

    claimed = float(variance(kind(size), X, Y))
    assert mean_agrees(sample, claimed, rounds=4)
    assert not mean_agrees(sample, 1.1 * claimed, rounds=5)


@pytest.mark.parametrize("family", [RK3, RK4], ids=lambda f: f.name)
def test_orders_over_the_parameter_plane(family):
    grid = [Fraction(k, 11) for k in range(-11, 23)]
    members = 0
    for u in grid:
        for v in grid:
            if all(family.factors(u, v)):
                assert order_of_accuracy(tableau_at(family, u=u, v=v)) >= family.order
                members += 1
    assert members > 900
