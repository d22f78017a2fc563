"""Initial value problems with exact solutions, nonlinear and non-autonomous."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """y' = field(xp)(t, y) on [0, end] with solution exact(t)."""

    name: str
    field: Callable
    exact: Callable
    end: float


def _riccati(xp):
    return lambda t, y: -2 * t * y**2


def _pair(xp):
    # y1 = exp(sin t), y2 = cos t: coupled, nonlinear, non-autonomous, and stable.
    return lambda t, y: xp.stack([y[0] * y[1], -math.sin(t) - (y[1] - math.cos(t)) * y[0]])


RICCATI = Problem("riccati", _riccati, lambda t: [1 / (1 + t * t)], 1.0)
PAIR = Problem("pair", _pair, lambda t: [math.exp(math.sin(t)), math.cos(t)], 2.0)
PROBLEMS = (RICCATI, PAIR)


def random_field(rng):
    """A linear or nonlinear field of up to 5 unknowns with parameters, from a generator.

    Returns fun(t, y), the linearization at nodes, and an initial state. Real parts of eigenvalues
    of linear ones are at most 0.3.
    """
    n = int(rng.integers(1, 6))
    kind = rng.choice(["linear", "tanh", "steep"])
    if kind == "linear":
        A = rng.standard_normal((n, n)) * rng.uniform(0.2, 1.5) / math.sqrt(n)
        A -= np.eye(n) * max(0, np.linalg.eigvals(A).real.max() - 0.3)

        def nodes(t, y):
            pull = lambda a, p: (a @ A, (np.einsum("ki,kj->ij", a, y),) if p else ())  # noqa: E731
            return y @ A.T, pull

    else:
        h = int(rng.integers(4, 12))
        size = rng.uniform(0.5, 2) if kind == "tanh" else rng.uniform(2, 4)
        inner, outer = rng.standard_normal((h, n)), rng.standard_normal((n, h))
        inner, outer = inner * size / math.sqrt(n), outer * size / math.sqrt(h)
        bias, decay = rng.standard_normal(h), rng.uniform(0, 1)

        def nodes(t, y):
            hidden = np.tanh(y @ inner.T + bias + np.sin(t)[:, None])

            def pull(a, parameters):
                g = (a @ outer) * (1 - hidden**2)
                terms = (g.T @ y, g.sum(0), a.T @ hidden) if parameters else ()
                return g @ inner - decay * a, terms

            return hidden @ outer.T - decay * y, pull

    return (lambda t, y: nodes(np.array([t]), y[None])[0][0]), nodes, rng.standard_normal(n)
