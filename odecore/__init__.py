"""Numerical analysis for neural ODEs: exact where it can be, for every array library.

Packages are loaded when they are first used: `import odecore` alone imports none of them.
`odecore.testing` needs hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from odecore import (
        adjoint,
        directions,
        errors,
        exact,
        families,
        interpolation,
        order,
        sketching,
        solve,
        stability,
        tableaux,
    )

__all__ = [
    "adjoint",
    "directions",
    "errors",
    "exact",
    "families",
    "interpolation",
    "order",
    "sketching",
    "solve",
    "stability",
    "tableaux",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("odecore")
    if name in __all__ or name == "testing":
        return import_module(f"odecore.{name}")
    raise AttributeError(f"module 'odecore' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "testing", "__version__"])
