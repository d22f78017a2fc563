"""Published methods by name, each with its source: data in `methods/*.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from odecore.tableaux._json import tableau_from_record
from odecore.tableaux._tableau import ButcherTableau

__all__ = ["catalogue", "known_elsewhere", "tableau"]

_KINDS = (
    "one_step", "pairs", "strong_stability", "low_storage", "diagonally_implicit", "fully_implicit",
)  # fmt: skip


class _Catalogue(Mapping[str, ButcherTableau]):
    """A read-only mapping that builds a tableau when it is first asked for."""

    def __init__(self) -> None:
        self._records: dict[str, Any] = {}
        folder = files("odecore.tableaux").joinpath("methods")
        for kind in _KINDS:
            self._records |= json.loads(folder.joinpath(f"{kind}.json").read_text(encoding="utf-8"))
        self._built: dict[str, ButcherTableau] = {}

    def __getitem__(self, name: str) -> ButcherTableau:
        if name not in self._built:
            self._built[name] = tableau_from_record(self._records[name])
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


@cache
def catalogue() -> Mapping[str, ButcherTableau]:
    """All named methods, read only; each is built when it is first asked for.

    Returns
    -------
    mapping from str to ButcherTableau

    Examples
    --------
    >>> {"euler", "dopri5", "gauss3", "radau_iia3"} <= set(catalogue())
    True
    """
    return _Catalogue()


_SCIPY = {
    "RK23": "bosh3",
    "RK45": "dopri5",
    "DOP853": "dop853",
    "RADAU": "kvaerno54",
    "BDF": "kvaerno54",
    "LSODA": "kvaerno54",
}
_TORCHDIFFEQ = {
    "adaptive_heun": "heun_euler",
    "dopri8": "dormand_prince87",
    "fehlberg2": "fehlberg12",
    "gl4": "gauss2",
    "gl6": "gauss3",
    "heun2": "heun",
    "radauiia3": "radau_iia2",
    "radauiia5": "radau_iia3",
    "rk4": "three_eighths",
    "sdirk2": "alexander2",
    "trapezoid": "trapezoidal",
    "trbdf2": "tr_bdf2",
}


def known_elsewhere(name: Any, /) -> str:
    """What SciPy's or torchdiffeq's method of this name is called here, as words of an error.

    Parameters
    ----------
    name : str
        In capital or small letters.

    Returns
    -------
    str
        Empty for names that neither has, or that mean the same here.

    Examples
    --------
    >>> known_elsewhere("RK45"), known_elsewhere("gl6"), known_elsewhere("euler")
    ("the method nearest to SciPy's is 'dopri5'", "torchdiffeq's is 'gauss3' here", '')
    """
    scipys, theirs = _SCIPY.get(str(name).upper()), _TORCHDIFFEQ.get(str(name).lower())
    if scipys is not None:
        return f"the method nearest to SciPy's is {scipys!r}"
    books = ", and that of most books 'classic'" if theirs == "three_eighths" else ""
    return "" if theirs is None else f"torchdiffeq's is {theirs!r} here{books}"


def tableau(name: str, /) -> ButcherTableau:
    """Look a method up by name.

    Parameters
    ----------
    name : str
        A key of `catalogue()`.

    Returns
    -------
    ButcherTableau

    Raises
    ------
    ValueError
        If there is no such method; the message lists near matches, also of the names of SciPy and
        torchdiffeq.

    Examples
    --------
    >>> tableau("heun").b
    (Fraction(1, 2), Fraction(1, 2))
    """
    methods = catalogue()
    if not isinstance(name, str) or name not in methods:
        elsewhere = known_elsewhere(name)
        if elsewhere:
            raise ValueError(f"no method {name!r}; {elsewhere}")
        near = get_close_matches(str(name).lower(), methods, n=3)
        known = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(
            f"no method {name!r}; {known or 'euler, classic, dopri5 are some;'} "
            f"odecore.tableaux.catalogue() has all {len(methods)} names"
        )
    return methods[name]
