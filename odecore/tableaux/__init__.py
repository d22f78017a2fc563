"""One Runge-Kutta method as numbers: exact tableaux, coefficient sets for arrays, a catalogue."""

from odecore.tableaux._catalogue import catalogue, known_elsewhere, tableau
from odecore.tableaux._coefficients import Coefficients
from odecore.tableaux._continuous import (
    CHORD,
    ContinuousExtension,
    continuous_extension,
    hermite_extension,
)
from odecore.tableaux._evaluation import coefficients_at, tableau_at
from odecore.tableaux._json import tableau_from_json, tableau_to_json
from odecore.tableaux._tableau import ButcherTableau

__all__ = [
    "CHORD",
    "ButcherTableau",
    "Coefficients",
    "ContinuousExtension",
    "catalogue",
    "coefficients_at",
    "continuous_extension",
    "hermite_extension",
    "known_elsewhere",
    "tableau",
    "tableau_at",
    "tableau_from_json",
    "tableau_to_json",
]
