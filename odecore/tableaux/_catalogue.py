"""Published methods by name, each with its source."""

from __future__ import annotations

from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import Any

from odecore.tableaux._tableau import ButcherTableau

__all__ = ["catalogue", "tableau"]


def _rows(*rows: str) -> tuple[tuple[Fraction, ...], ...]:
    """Read rows of exact numbers such as "1/4 -0.5 2"; a decimal is the rational it spells."""
    return tuple(tuple(map(Fraction, row.split())) for row in rows)


def _method(name: str, order: int, source: str, rows: str, b: str, **more: Any) -> ButcherTableau:
    if "b_hat" in more:
        more["b_hat"] = _rows(more["b_hat"])[0]
    A = _rows("", *rows.split(";")) if rows else ((),)
    return ButcherTableau(A, _rows(b)[0], name=name, order=order, source=source, **more)


_TSITOURAS_ROWS = """
0.161;
-0.008480655492356988544426874250230774675121177393430391537369234245294192976164141156943
0.3354806554923569885444268742502307746751211773934303915373692342452941929761641411569;
2.897153057105493432130432594192938764924887287701866490314866693455023795137503079289
-6.359448489975074843148159912383825625952700647415626703305928850207288721235210244366
4.362295432869581411017727318190886861027813359713760212991062156752264926097707165077;
5.325864828439256604428877920840511317836476253097040101202360397727981648835607691791
-11.74888356406282787774717033978577296188744178259862899288666928009020615663593781589
7.495539342889836208304604784564358155658679161518186721010132816213648793440552049753
-0.09249506636175524925650207933207191611349983406029535244034750452930469056411389539635;
5.861455442946420028659251486982647890394337666164814434818157239052507339770711679748
-12.92096931784710929170611868178335939541780751955743459166312250439928519268343184452
8.159367898576158643180400794539253485181918321135053305748355423955009222648673734986
-0.07158497328140099722453054252582973869127213147363544882721139659546372402303777878835
-0.02826905039406838290900305721271224146717633626879770007617876201276764571291579142206;
"""
_TSITOURAS_WEIGHTS = """
0.09646076681806522951816731316512876333711995238157997181903319145764851595234062815396
0.01
0.4798896504144995747752495322905965199130404621990332488332634944254542060153074523509
1.379008574103741893192274821856872770756462643091360525934940067397245698027561293331
-3.290069515436080679901047585711363850115683290894936158531296799594813811049925401677
2.324710524099773982415355918398765796109060233222962411944060046314465391054716027841
0
"""
_TSITOURAS_ERROR = """
-0.001780011052225771443378550607539534775944678804333659557637450799792588061629955206
-0.0008164344596567469032236360633546862401862537590159047610940604670770447527463910535
0.007880878010261996010314727672526304238628733777103128603258129604952959142649743411
-0.1447110071732629075371651479726351167209227123431676776195142338967608196494998534
0.5823571654525552250199376106520421794260781239567387797673045438803694038950233888
-0.4580821059291869466616365188325542974428047279788398179474684434732070620889484477
1/66
"""


def _tsitouras() -> ButcherTableau:
    weights, error = _rows(_TSITOURAS_WEIGHTS)[0], _rows(_TSITOURAS_ERROR)[0]
    pairs = zip(weights, error, strict=True)
    return ButcherTableau(
        (*_rows("", *_TSITOURAS_ROWS.rstrip().rstrip(";").split(";")), weights[:-1]),
        weights,
        b_hat=tuple(weight - difference for weight, difference in pairs),
        name="Tsitouras 5(4)",
        order=5,
        uncertainty=Fraction(1, 10**75),
        source="Tsitouras, Comput. Math. Appl. 62 (2011) 770-775, computed to 80 digits",
    )


@cache
def catalogue() -> MappingProxyType[str, ButcherTableau]:
    """All named methods, read only.

    Returns
    -------
    mapping from str to ButcherTableau

    Examples
    --------
    >>> sorted(catalogue())[:3]
    ['bosh3', 'classic', 'dopri5']
    """
    hairer = "Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I"
    methods = {
        "euler": _method("Euler", 1, "Euler, Institutionum calculi integralis (1768)", "", "1"),
        "midpoint": _method("midpoint", 2, f"Runge (1895); {hairer}, II.1", "1/2", "0 1"),
        "heun": _method("Heun", 2, f"{hairer}, II.1 (trapezoidal)", "1", "1/2 1/2"),
        "ralston": _method("Ralston", 2, "Ralston, Math. Comp. 16 (1962)", "2/3", "1/4 3/4"),
        "classic": _method(
            "classic RK4", 4, f"Kutta (1901); {hairer}, table II.1.2",
            "1/2; 0 1/2; 0 0 1", "1/6 1/3 1/3 1/6",
        ),
        "three_eighths": _method(
            "3/8 rule", 4, f"Kutta (1901); {hairer}, table II.1.2",
            "1/3; -1/3 1; 1 -1 1", "1/8 3/8 3/8 1/8",
        ),
        "bosh3": _method(
            "Bogacki-Shampine 3(2)", 3, "Bogacki, Shampine, Appl. Math. Lett. 2 (1989) 321-325",
            "1/2; 0 3/4; 2/9 1/3 4/9", "2/9 1/3 4/9 0", b_hat="7/24 1/4 1/3 1/8",
        ),
        "dopri5": _method(
            "Dormand-Prince 5(4)", 5, f"Dormand, Prince (1980); {hairer}, table II.5.2",
            "1/5; 3/40 9/40; 44/45 -56/15 32/9; 19372/6561 -25360/2187 64448/6561 -212/729;"
            "9017/3168 -355/33 46732/5247 49/176 -5103/18656;"
            "35/384 0 500/1113 125/192 -2187/6784 11/84",
            "35/384 0 500/1113 125/192 -2187/6784 11/84 0",
            b_hat="5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40",
        ),
        "tsit5": _tsitouras(),
    }  # fmt: skip
    return MappingProxyType(methods)


def tableau(name: str, /) -> ButcherTableau:
    """Look a method up by name.

    Parameters
    ----------
    name : str
        A key of `catalogue()`.

    Raises
    ------
    ValueError
        If there is no such method; the message lists near matches and all names.

    Examples
    --------
    >>> tableau("heun").b
    (Fraction(1, 2), Fraction(1, 2))
    """
    methods = catalogue()
    if name not in methods:
        near = get_close_matches(str(name), methods, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no method {name!r}: {hint}known names are {', '.join(sorted(methods))}")
    return methods[name]
