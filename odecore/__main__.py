"""`python -m odecore`: print what the packages compute about a method or a family."""

from __future__ import annotations

import argparse
import json
import sys
from difflib import get_close_matches
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import odecore
from odecore import families as family_package
from odecore import stability
from odecore.exact import parse_number
from odecore.families import Family, charts, prove_order, rkc1, rkc2
from odecore.order import (
    embedded_metrics,
    failing_trees,
    is_symmetric,
    is_symplectic,
    order_of_accuracy,
    principal_error,
    simplifying_assumptions,
    stage_order,
)
from odecore.tableaux import (
    ButcherTableau,
    catalogue,
    known_elsewhere,
    tableau,
    tableau_at,
    tableau_from_json,
    tableau_to_json,
)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m odecore", description=__doc__)
    parser.add_argument("--version", action="version", version=f"odecore {odecore.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in (
        ("tableau", "print the coefficients"),
        ("order", "decide the order, stage order and structure; print the principal error"),
        ("stability", "decide intervals, A- and L-stability, SSP; --plot draws the region"),
        ("family", "prove the order of a family; --plot draws a member's region"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument(
            "name",
            help="a method, a family, a JSON file, or - for JSON from the input; 'list' shows all",
        )
        command.add_argument(
            "--at", nargs="+", default=[], metavar="u=1/3", help="parameters of a family's member"
        )
        command.add_argument(
            "--json", action="store_true", help='print JSON; an infinite number is the text "inf"'
        )
        command.add_argument("--plot", type=Path, metavar="FILE", help="draw the stability region")
    options = parser.parse_args(arguments)
    try:
        text = _run(options)
    except (ValueError, TypeError, OSError) as error:
        return failed(parser.prog, error)
    try:
        write(text)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
    except OSError as error:  # such as a full disk
        sys.stdout = None
        return failed(parser.prog, error)
    return 0


def failed(program: str, error: Exception) -> int:
    """Say what is wrong, and return the exit code."""
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename}: {error.strerror}"
    print(f"{program}: error: {message}", file=sys.stderr)
    return 2


def write(text: str) -> None:
    """Print at once, with escapes for what the encoding of the output lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _run(options: argparse.Namespace) -> str:
    if options.name == "list":
        if options.at or options.plot:
            raise ValueError("'list' takes neither --at nor --plot; name a method or a family")
        names = list(_families()) if options.command == "family" else list(catalogue())
        return json.dumps(names) if options.json else "\n".join(names)
    if options.command == "family":
        family = _family_named(options.name)
        if family is None:
            raise _unknown(options.name, "family")
        if not (options.at or options.plot):
            return _family(family, options.json)
    method = _method(options.name, options.at)
    if options.command in ("tableau", "family"):
        text = tableau_to_json(method, indent=2) if options.json else _tableau(method)
    else:
        report = {"order": _order, "stability": _stability}[options.command](method)
        text = _shown({"name": method.name, **report}, options.json)
    return text + _plotted(method, options)


def _plotted(method: ButcherTableau, options: argparse.Namespace) -> str:
    if options.plot is None:
        return ""
    try:
        import matplotlib as mpl
    except ImportError:
        raise ValueError("--plot needs matplotlib: pip install 'odecore[plot]'") from None
    mpl.use("agg")
    kind = options.plot.suffix.removeprefix(".") or "png"
    stability.plot_region(method).figure.savefig(options.plot, format=kind)
    return "" if options.json else f"\nwrote {options.plot}"


def _from_file(name: str) -> ButcherTableau:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return tableau_from_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError(f"{name}: not text in UTF-8; save it as such") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from None


def _method(name: str, at: list[str]) -> ButcherTableau:
    if name not in catalogue() and (name == "-" or name.endswith(".json")) and not at:
        return _from_file(name)
    if name in catalogue() and not at:
        return tableau(name)
    found = _family_named(name)
    if found is not None:
        return tableau_at(found, **_parameters(at, found))
    if at and name in catalogue():
        raise ValueError(f"--at needs a family, {name!r} is a method: leave --at out")
    raise _unknown(name, "family" if at else "tableau")


def _family_named(name: str) -> Family | None:
    return next((f for key, f in _families().items() if key.upper() == name.upper()), None)


def _unknown(name: str, command: str) -> ValueError:
    """An error that proposes the names nearest to this one."""
    if command == "family" and name in catalogue():
        return ValueError(f"{name!r} is one method, no family: `python -m odecore tableau {name}`")
    families = {key.upper(): key for key in _families()}
    known = (
        families if command == "family" else {key.upper(): key for key in catalogue()} | families
    )
    near = [known[key] for key in get_close_matches(name.upper(), known, n=2)]
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    if command != "family" and known_elsewhere(name):
        hint = f"{known_elsewhere(name)}; "
    kind = "family" if command == "family" else "method or family"
    return ValueError(f"no {kind} {name!r}: {hint}`python -m odecore {command} list` shows all")


@cache
def _families() -> dict[str, Family]:
    public = (getattr(family_package, name) for name in family_package.__all__)
    found = {item.name: item for item in public if isinstance(item, Family)}
    for make in (rkc1, rkc2):
        found |= {make(s).name: make(s) for s in (2, 5, 10)}
    return found | {chart.name: chart for name in ("RK3", "RK4") for chart in charts(found[name])}


def _parameters(at: list[str], family: Family) -> dict[str, Any]:
    values = {}
    for item in at:
        name, equals, text = item.partition("=")
        if not equals:
            raise ValueError(f"--at takes name=value, got {item!r}; write for instance u=1/3")
        if name in values:
            raise ValueError(f"--at gives {name} twice; write each parameter once")
        values[name] = parse_number(text)
    if not values:
        named = "; ".join(f"{n}: {_point(family, v)}" for n, v in family.members)
        raise ValueError(
            f"{family.name} is a family in {', '.join(family.parameters)}: choose a member with "
            f"--at {' '.join(f'{p}=...' for p in family.parameters)}"
            + (f" (named members: {named})" if named else "")
        )
    return values


def _point(family: Family, values: tuple[Any, ...]) -> str:
    pairs = zip(family.parameters, values, strict=True)
    return " ".join(f"{name}={value}" for name, value in pairs)


def _tableau(method: ButcherTableau) -> str:
    lines = [str(method)]
    if method.order:
        embedded = f", embedded {method.embedded_order}" if method.embedded_order else ""
        lines.append(f"order {method.order}{embedded}, {method.stages} stages")
    lines += [
        f"{label}: {text}"
        for label, text in (("source", method.source), ("note", method.note))
        if text
    ]
    if method.uncertainty:
        lines.append(f"coefficients are known to within {float(method.uncertainty):.0e}")
    return "\n".join(lines)


def _order(method: ButcherTableau) -> dict[str, Any]:
    order = order_of_accuracy(method, max_order=14)
    assumptions = simplifying_assumptions(method)
    report: dict[str, Any] = {
        "order": order,
        "declared order": method.order,
        "stage order": stage_order(method),
        "simplifying assumptions": f"B({assumptions.B}), C({assumptions.C}), D({assumptions.D})",
        "symplectic": is_symplectic(method),
        "symmetric": is_symmetric(method),
    }
    for norm in ("2", "max", "lotkin"):
        error = principal_error(method, norm=norm, tree_order=order + 1)
        exact, about = _exact(error, 39), _digits(error, 10)
        report[f"principal error, norm {norm}"] = f"{exact} = {about}" if exact else about
    if method.order and order < method.order:
        trees = failing_trees(method, method.order)
        report["failing trees"] = {
            str(tree): _exact(residual, 4000) or _digits(residual, 15)
            for tree, residual in trees.items()
        }
    if method.b_hat is not None:
        found = embedded_metrics(method)
        report |= {
            "embedded order": found.embedded_order,
            "embedded error": _digits(found.embedded_error, 10),
            "B (efficacy)": _digits(found.efficacy, 6),
            "C (contrast)": _digits(found.contrast, 6),
            "dominance": _digits(found.dominance, 6),
            "D (largest coefficient)": _digits(found.largest, 6),
        }
    return report


def _stability(method: ButcherTableau) -> dict[str, Any]:
    function = stability.stability_function(method)
    report: dict[str, Any] = {
        "R numerator": " ".join(map(_short, function.numerator)),
        "R denominator": " ".join(map(_short, function.denominator)),
        "real interval": stability.real_interval(method).length,
        "imaginary interval": stability.imaginary_interval(method).length,
        "decision": str(stability.linear_stability(method)).partition(":")[0],
        "dispersion order": stability.dispersion_order(method),
        "dissipation order": stability.dissipation_order(method),
        "SSP coefficient": _short(stability.ssp_coefficient(method)),
        "circle contractivity": stability.contractivity_radius(method),
    }
    if method.is_explicit:
        report["linear SSP coefficient"] = _short(stability.linear_ssp_coefficient(method))
    return report


def _short(number: Any) -> str:
    return _exact(number, 24) or _digits(number, 15)


def _exact(number: Any, longest: int) -> str:
    """The number itself as text; empty where that is longer, or longer than Python writes."""
    try:
        text = str(number)
    except ValueError:
        return ""
    return text if len(text) <= longest else ""


def _digits(number: Any, digits: int) -> str:
    try:
        return f"{float(number):.{digits}g}"
    except OverflowError:
        return "above 1.8e308"


def _family(family: Family, as_json: bool) -> str:
    certificate = prove_order(family)
    if as_json:
        return certificate.to_json()
    check = certificate.verify()
    report: dict[str, Any] = {
        "family": family.name,
        "parameters": ", ".join(family.parameters),
        "order": f"{family.order}, {'proved' if certificate else 'NOT proved'}",
        "checked again": f"{check.points} random points modulo primes: "
        + ("holds" if check.holds else "FAILS"),
        "excluded": ", ".join(f"{factor} = 0" for factor in family.excluded) or "nothing",
        "c": ", ".join(map(str, family.c)),
        "b": ", ".join(map(str, family.b)),
    }
    report |= {
        f"a[{i + 1}][{j + 1}]": str(a)
        for i, row in enumerate(family.A)
        for j, a in enumerate(row)
        if a != 0
    }
    report |= {f"member {name}": _point(family, values) for name, values in family.members}
    if family.name in ("RK3", "RK4"):
        report |= {chart.name: ", ".join(chart.parameters) for chart in charts(family)}
    return _shown(report, as_json=False)


def _shown(report: dict[str, Any], as_json: bool) -> str:
    if as_json:
        finite = {key: _finite(value) for key, value in report.items()}
        return json.dumps(finite, indent=2, default=str, allow_nan=False)
    width = max(map(len, report))
    return "\n".join(f"{key.ljust(width)}  {_plain(value)}" for key, value in report.items())


def _finite(value: Any) -> Any:
    """JSON has no infinity: then the text, "inf"."""
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
