"""Accuracy of two solvers on the same samples: the difference, with an interval that holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, lgamma, log, log1p

__all__ = ["PairedGap", "samples_needed", "share_interval"]

LEVEL = 0.95


@dataclass(frozen=True)
class PairedGap:
    """How much better one solver classifies than another, on the same samples.

    Parameters
    ----------
    lost : int
        Samples that the first classifies correctly and the second does not.
    gained : int
        The other way round.
    total : int

    Examples
    --------
    >>> gap = PairedGap(lost=4, gained=1, total=1000)
    >>> f"{gap.difference:.4f}", [round(x, 4) for x in gap.interval()]
    ('0.0030', [-0.0055, 0.0112])
    """

    lost: int
    gained: int
    total: int

    @property
    def difference(self) -> float:
        """Accuracy of the first minus that of the second."""
        return (self.lost - self.gained) / self.total

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """An interval of the difference that covers it with at least this probability.

        The shares of lost and of gained samples are binomial; each end is made of one end of either
        exact interval (Clopper and Pearson 1934), all four with a quarter of the error. McNemar's
        own interval is conditional on their number: without a discordant sample it has no width,
        however few samples there are.
        """
        error = (1 - level) / 2  # of each share, both sides together
        lost = share_interval(self.lost, self.total, 1 - error)
        gained = share_interval(self.gained, self.total, 1 - error)
        return lost[0] - gained[1], lost[1] - gained[0]

    @property
    def p_value(self) -> float:
        """McNemar's exact test of equal accuracy: discordant samples are fair coins."""
        n, k = self.lost + self.gained, min(self.lost, self.gained)
        return min(1.0, 2 * exp(_log_at_most(k, n, 0.5))) if n else 1.0


@lru_cache(maxsize=1024)
def share_interval(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a binomial's probability (Clopper and Pearson 1934)."""
    if not 0 <= count <= total or total < 1 or not 0 < level < 1:
        raise ValueError(
            f"needs 0 <= count <= total, total >= 1 and 0 < level < 1, got {count}, {total}, "
            f"{level}"
        )
    tail = log((1 - level) / 2)
    # Of failures the same, mirrored; the shorter tail is the one that is summed.
    low = 0.0 if count == 0 else _root(lambda p: _log_at_least(count, total, p) < tail)
    high = 1.0 if count == total else _root(lambda p: _log_at_most(count, total, p) > tail)
    return low, high


def samples_needed(bound: float, level: float = LEVEL, *, paired: bool = True) -> int:
    """The fewest samples with which no difference at all has an interval within the bound.

    That of a `PairedGap`, or else of a single share, whose interval is made of two ends, not four.
    """
    return int(log((1 - level) / (4 if paired else 2)) / log1p(-bound)) + 1


def _root(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _log_at_most(k: int, n: int, p: float) -> float:
    """Log of P[at most k successes of n]."""
    if 2 * k > n:
        return log1p(-min(exp(_log_sum(range(k + 1, n + 1), n, p)), 1 - 1e-16))
    return _log_sum(range(k + 1), n, p)


def _log_at_least(k: int, n: int, p: float) -> float:
    return _log_at_most(n - k, n, 1 - p)


def _log_sum(counts: range, n: int, p: float) -> float:
    """Log of the sum of binomial probabilities of these numbers of successes."""
    if not 0 < p < 1:
        return 0.0 if (0 if p <= 0 else n) in counts else float("-inf")
    a, b, head = log(p), log1p(-p), lgamma(n + 1)
    terms = [head - lgamma(i + 1) - lgamma(n - i + 1) + i * a + (n - i) * b for i in counts]
    top = max(terms, default=float("-inf"))
    if top == float("-inf"):
        return top
    return top + log(sum(exp(term - top) for term in terms))
