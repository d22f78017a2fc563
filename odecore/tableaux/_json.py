"""Tableaux as JSON with exact numbers. Text is parsed by a grammar of numbers, never evaluated."""

from __future__ import annotations

import json
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from odecore.exact import parse_number
from odecore.tableaux._printing import written
from odecore.tableaux._tableau import ButcherTableau

__all__ = ["tableau_from_json", "tableau_to_json"]

_KEYS = (
    "name", "order", "embedded_order", "source", "note", "uncertainty", "c", "A", "b", "b_hat",
)  # fmt: skip


def tableau_to_json(method: ButcherTableau, /, *, indent: int | None = None) -> str:
    """Write a tableau so that `tableau_from_json` reads an equal one.

    Parameters
    ----------
    method : ButcherTableau
    indent : int or str, optional
        As in `json.dumps`.

    Returns
    -------
    str
        An object with the fields of the tableau; each number is a string such as "1/3" or
        "1/4-1/6*sqrt(3)", and A is a strict lower triangle for an explicit method.

    Raises
    ------
    TypeError
        If `method` is no ButcherTableau, or `indent` another thing.
    """
    if not isinstance(method, ButcherTableau):
        raise TypeError(
            f"`method` must be a ButcherTableau, got {type(method).__name__}; look a name up with "
            "odecore.tableaux.tableau"
        )
    if not isinstance(indent, int | str | None):
        raise TypeError(f"`indent` must be an int, a str or None, got {indent!r}")
    rows = [row[:i] if method.is_explicit else row for i, row in enumerate(method.A)]
    record: dict[str, Any] = {
        "name": method.name,
        "order": method.order,
        "embedded_order": method.embedded_order,
        "source": method.source,
        "note": method.note,
        "uncertainty": written(method.uncertainty) if method.uncertainty else None,
        "c": list(map(written, method.c)),
        "A": [list(map(written, row)) for row in rows],
        "b": list(map(written, method.b)),
        "b_hat": None if method.b_hat is None else list(map(written, method.b_hat)),
    }
    return json.dumps({k: v for k, v in record.items() if v not in (None, "")}, indent=indent)


def tableau_from_json(text: str, /) -> ButcherTableau:
    """Read a tableau.

    Parameters
    ----------
    text : str
        A JSON object with `A` and `b`, and optionally `b_hat`, `c`, `name`, `order`,
        `embedded_order`, `source`, `note` and `uncertainty`. Numbers are strings or integers.

    Returns
    -------
    ButcherTableau

    Raises
    ------
    ValueError
        If the text is not JSON, a field is missing, unknown or given twice, a number is malformed,
        or `c` is not the row sums of `A`.
    TypeError
        If a field is of the wrong kind; a JSON float is refused, since it is not what was printed.

    Examples
    --------
    >>> tableau_from_json('{"A": [[], ["1/2"]], "b": [0, 1], "name": "midpoint"}').c
    (Fraction(0, 1), Fraction(1, 2))
    """
    if not isinstance(text, str | bytes | bytearray):
        raise TypeError(f"`text` must be the text of a JSON object, got {type(text).__name__}")
    try:
        record = json.loads(
            text,
            parse_int=_integer,
            parse_float=_refuse,
            parse_constant=_refuse,
            object_pairs_hook=_once,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ValueError("not a tableau: the JSON is nested too deeply") from None
    return tableau_from_record(record)


def tableau_from_record(record: Any) -> ButcherTableau:
    """Build a tableau from a parsed object, as `tableau_from_json` describes it."""
    if not isinstance(record, dict):
        raise TypeError(f"a tableau is a JSON object, got {type(record).__name__}")
    for key in record:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"unknown field {key!r} in a tableau{hint}")
    for key in ("A", "b"):
        if key not in record:
            raise ValueError(f"a tableau needs the field {key!r}")
    if not isinstance(record["A"], list):
        raise TypeError(f"'A' must be a list of rows, got {record['A']!r}")
    given = {
        key: record[key]
        for key in ("name", "order", "embedded_order", "source", "note")
        if key in record
    }
    if record.get("uncertainty") is not None:
        given["uncertainty"] = _number(record["uncertainty"], "uncertainty")
    method = ButcherTableau(
        tuple(_numbers(row, f"A[{i}]") for i, row in enumerate(record["A"])),
        _numbers(record["b"], "b"),
        b_hat=None if record.get("b_hat") is None else _numbers(record["b_hat"], "b_hat"),
        **given,
    )
    if record.get("c") is not None:
        _require_row_sums(method, _numbers(record["c"], "c"))
    return method


def _require_row_sums(method: ButcherTableau, c: tuple[Any, ...]) -> None:
    if len(c) != method.stages:
        raise ValueError(f"'c' must have {method.stages} entries, got {len(c)}")
    for i, (given, row) in enumerate(zip(c, method.c, strict=True)):
        if abs(given - row) > (method.stages + 1) * method.uncertainty:
            raise ValueError(
                f"c[{i}] is {given}, but row {i} of A sums to {row}; one of them is misprinted "
                "(odecore.order.locate_typo finds a misprint in A or b)"
            )


def _numbers(values: Any, label: str) -> tuple[Any, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{label!r} must be a list of numbers, got {values!r}")
    return tuple(_number(value, f"{label}[{i}]") for i, value in enumerate(values))


def _number(value: Any, label: str) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    try:
        return parse_number(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{label}: {error}") from None


def _integer(text: str) -> int:
    number = parse_number(text)
    assert isinstance(number, Fraction)
    return number.numerator


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the field {twice!r} is given twice; leave one")
    return record


def _refuse(text: str) -> Any:
    raise TypeError(f"the number {text} is a float, which is not exact; write it as a string")
