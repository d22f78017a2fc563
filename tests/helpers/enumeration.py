"""Every outcome of a random program, with its exact probability."""

from fractions import Fraction
from math import prod, sqrt

import numpy as np

from odecore.testing._outcomes import Listed, walk

F = Fraction


class EveryOutcome(Listed):
    """What the library lists, and normal numbers.

    These take the values 0 and +-sqrt(3) with probabilities 2/3 and 1/6: their moments up to the
    fifth are those of the normal distribution, and a mean and a variance of a product of two
    projections ask for no more than the fourth.
    """

    def standard_normal(self, size):
        values = [(0.0, F(2, 3)), (sqrt(3), F(1, 6)), (-sqrt(3), F(1, 6))]
        found = [self.pick("normal", lambda: values) for _ in range(prod(size))]
        return np.array(found).reshape(size)


def every_outcome(program):
    """Yield the probability and the result of program(rng) for each outcome of its draws."""
    return walk(program, EveryOutcome())


def rational(value, largest=10**4):
    """The fraction with a small denominator that a float stands for; an error if there is none."""
    found = F(float(value)).limit_denominator(largest)
    assert abs(float(found) - value) <= 1e-11 * max(1, abs(value)), f"{value} is not rational"
    return found


def distribution(sketch, X, Y, digits=12):
    """Each matrix W = R^T diag(w) R of a sketch, with its probability: {W: probability}.

    The draws are the sketch's own, and so is R, which is what it makes of the identity.
    """
    rows, found = X.shape[0], {}
    for probability, draw in every_outcome(lambda rng: sketch.draw(X, Y, rng)):
        R = draw.compress(np.eye(rows))
        key = tuple(np.round(R.T @ (draw.weights[:, None] * R), digits).ravel() + 0.0)
        found[key] = found.get(key, 0) + probability
    assert sum(found.values()) == 1
    return found


def first_two_moments(outcomes, rows, number=rational):
    """E W as rows of numbers, and E (W_ij - E)(W_kl - E) as an object array [i, j, k, l]."""
    exact = [(p, np.array([number(x) for x in W], dtype=object)) for W, p in outcomes.items()]
    mean = sum(p * W for p, W in exact)
    spread = sum(p * np.outer(W - mean, W - mean) for p, W in exact)
    return mean.reshape(rows, rows), spread.reshape((rows,) * 4)


def variance_by_definition(spread, X, Y):
    """sum_ijkl K_ik L_jl Cov(W_ij, W_kl) for integer matrices, K = X X^T and L = Y Y^T."""
    K, L = ((A @ A.T).astype(object) for A in (X.astype(int), Y.astype(int)))
    left = np.tensordot(K, spread, axes=([0, 1], [0, 2]))
    return sum((L * left).ravel())
