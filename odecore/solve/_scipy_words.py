"""Options that a solve does not have: what SciPy's are called here."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

__all__ = ["refuse_unknown"]

SCIPY = {
    "args": "close over them: lambda t, y: fun(t, y, *args)",
    "dense_output": "give dense=True and call the result: trajectory(t)",
    "jac": "give newton=Newton(jacobian=...), for implicit methods",
    "jac_sparsity": "give newton=Newton(...) with a linear solver, for implicit methods",
    "vectorized": "leave it out: fun gets one state at a time",
    "uband": "give newton=Newton(...), for implicit methods",
    "lband": "give newton=Newton(...), for implicit methods",
}


def refuse_unknown(
    options: Mapping[str, Any],
    known: tuple[str, ...],
    function: str = "solve_ivp",
    words: Mapping[str, str] = SCIPY,
) -> None:
    """Raise TypeError for options that do not exist, with what is meant where that is known."""
    for name in options:
        near = get_close_matches(name, known, n=1)
        guess = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(known)}"
        raise TypeError(
            f"{function}() got an unexpected keyword argument {name!r}; {words.get(name, guess)}"
        )
