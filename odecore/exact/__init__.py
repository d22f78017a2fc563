"""Exact real numbers and polynomials: quadratic fields, square roots, Sturm sequences."""

from odecore.exact._polynomial import Polynomial
from odecore.exact._quadratic import QuadraticNumber, exact_number
from odecore.exact._roots import (
    count_roots,
    isolate_roots,
    refine_root,
    sign_on_interval,
    sturm_sequence,
)
from odecore.exact._square_root import SquareRoot
from odecore.exact._text import parse_number

__all__ = [
    "Polynomial",
    "QuadraticNumber",
    "SquareRoot",
    "count_roots",
    "exact_number",
    "isolate_roots",
    "parse_number",
    "refine_root",
    "sign_on_interval",
    "sturm_sequence",
]
