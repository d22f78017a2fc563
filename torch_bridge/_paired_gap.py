"""Accuracy of two solvers on the same samples: the difference, with an interval that holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, lgamma, log, log1p
from numbers import Integral

from torch_bridge._numbers import is_number

__all__ = ["PairedGap", "samples_needed", "share_interval"]

LEVEL = 0.95
EPS = 2.0**-53


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

    Raises
    ------
    ValueError
        For negative counts, more samples lost and gained than there are, and no samples.

    Examples
    --------
    >>> gap = PairedGap(lost=4, gained=1, total=1000)
    >>> f"{gap.difference:.4f}", [round(x, 4) for x in gap.interval()]
    ('0.0030', [-0.0055, 0.0112])
    """

    lost: int
    gained: int
    total: int

    def __post_init__(self) -> None:
        lost, gained, total = self.lost, self.gained, self.total
        counts = all(isinstance(n, Integral) for n in (lost, gained, total))
        if not counts or min(lost, gained) < 0 or not lost + gained <= total >= 1:
            raise ValueError(
                "needs whole numbers, lost >= 0, gained >= 0, lost + gained <= total and "
                f"total >= 1, got {lost!r}, {gained!r}, {total!r}"
            )

    @property
    def difference(self) -> float:
        """Accuracy of the first minus that of the second."""
        return (self.lost - self.gained) / self.total

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """An interval of the difference that covers it with a probability of at least `level`.

        The shares of lost and of gained samples are binomial; each end is made of one end of either
        exact interval (Clopper and Pearson 1934), all four with a quarter of the error. McNemar's
        own interval is conditional on their number: without a discordant sample it has no width,
        however few samples there are.
        """
        if not is_number(level) or not 0 < level < 1:
            raise ValueError(f"`level` must be between 0 and 1, got {level!r}")
        error = (1 - float(level)) / 2  # of each share, both sides together
        lost = share_interval(self.lost, self.total, 1 - error)
        gained = share_interval(self.gained, self.total, 1 - error)
        return lost[0] - gained[1], lost[1] - gained[0]

    @property
    def p_value(self) -> float:
        """McNemar's exact test of equal accuracy: discordant samples are fair coins."""
        n, k = self.lost + self.gained, min(self.lost, self.gained)
        return min(1.0, 2 * exp(_log_at_most(k, n, 0.5, 0.5))) if n else 1.0


@lru_cache(maxsize=1024)
def share_interval(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a binomial's probability (Clopper and Pearson 1934)."""
    if not 0 <= count <= total or total < 1 or not 0 < level < 1:
        raise ValueError(
            f"needs 0 <= count <= total, total >= 1 and 0 < level < 1, got {count}, {total}, "
            f"{level}"
        )
    tail = log((1 - level) / 2)
    low = 0.0 if count == 0 else _root(lambda p: _log_at_least(count, total, p, 1 - p) < tail)
    high = 1.0 if count == total else _root(lambda p: _log_at_most(count, total, p, 1 - p) > tail)
    return low, high


def samples_needed(bound: float, *, paired: bool = True) -> int:
    """The fewest samples with which no difference at all has an interval within the bound.

    That of a `PairedGap`, or else of a single share, whose interval is made of two ends, not four.
    """
    return int(log((1 - LEVEL) / (4 if paired else 2)) / log1p(-bound)) + 1


def _root(is_below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2


def _log_at_most(k: int, n: int, p: float, q: float) -> float:
    """Log of P[at most k successes of n], with the probabilities p and q = 1 - p of one."""
    if k >= n or p <= 0:
        return 0.0
    if q <= 0:
        return float("-inf")
    if k < (n + 1) * p:
        return _log_tail(k, n, p, q)
    return log1p(-min(exp(_log_tail(n - k - 1, n, q, p)), 1 - 1e-16))


def _log_at_least(k: int, n: int, p: float, q: float) -> float:
    return _log_at_most(n - k, n, q, p)


def _log_tail(k: int, n: int, p: float, q: float) -> float:
    """The same for k below (n + 1) p, where the terms only fall, so that few of them matter.

    Each is the last one times i q / ((n - i + 1) p), and these ratios fall as well: what is left
    out is less than a geometric series, and than rounding.
    """
    log_p, log_q = (log(x) if x <= y else log1p(-y) for x, y in ((p, q), (q, p)))
    first = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log_p + (n - k) * log_q
    term = total = 1.0
    for i in range(k, 0, -1):
        ratio = i * q / ((n - i + 1) * p)
        term *= ratio
        total += term
        if term * ratio <= EPS * (1 - ratio) * total:
            break
    return first + log(total)
