"""Claims with their evidence: each states, measures and compares; each can be made to fail."""

from verification.claims._claim import Claim, Outcome
from verification.claims._runge_kutta import CLAIMS

__all__ = ["CLAIMS", "Claim", "Outcome"]
