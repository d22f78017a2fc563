"""A sequential test of a mean (Gandy and Scott): almost never wrong, and sharp when it matters."""

import numpy as np
from scipy.stats import ttest_1samp

LEVEL = 1e-5
ROUNDS = 7


def mean_agrees(sample, expected, *, start=500, rounds=ROUNDS):
    """Decide whether the mean of `sample(n) -> (n, k)` is `expected` (k,), at level 1e-5.

    Rounds of t-tests, each with four times the samples of the last: a small p-value fails, a large
    one passes, and what lies between goes on. With the default start a bias of 0.6 % of the
    standard deviation is found in the last round with probability near one.
    """
    expected = np.atleast_1d(expected)
    fail_below = LEVEL / rounds
    pass_above = LEVEL ** (1 / rounds) / 2
    for k in range(rounds):
        values = np.asarray(sample(start * 4**k), dtype=np.float64).reshape(-1, len(expected))
        spread = values.std(axis=0)
        exact = spread <= 1e-12 * np.abs(expected)
        if not np.allclose(values.mean(axis=0)[exact], expected[exact], rtol=1e-9):
            return False
        if exact.all():
            return True
        p = ttest_1samp(values[:, ~exact], expected[~exact]).pvalue.min() * int((~exact).sum())
        if p < fail_below:
            return False
        if p > pass_above:
            return True
    return True
