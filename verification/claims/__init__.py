"""Claims with their evidence: each states, measures and compares; each can be made to fail."""

from verification.claims import (
    _adjoints,
    _consistency,
    _directions,
    _normalization,
    _orders,
    _published,
    _regimes,
    _runge_kutta,
    _sketching,
    _solving,
)
from verification.claims._bound import told
from verification.claims._claim import Claim, Draws, Finding, Outcome

CLAIMS = (
    *_runge_kutta.CLAIMS,
    *_solving.CLAIMS,
    *_adjoints.CLAIMS,
    *_sketching.CLAIMS,
    *_directions.CLAIMS,
    *_regimes.CLAIMS,
    *_consistency.CLAIMS,
    *_normalization.CLAIMS,
    *_orders.CLAIMS,
    *_published.CLAIMS,
)

__all__ = ["CLAIMS", "Claim", "Draws", "Finding", "Outcome", "told"]
