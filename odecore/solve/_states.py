"""States made of several arrays: tuples, lists and dicts, seen by the solver as one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from odecore._array import (
    as_state,
    constant,
    constant_like,
    is_like,
    largest,
    namespace,
    require_broadcasts,
    require_real,
)

__all__ = ["Structure", "StructuredField", "is_structured"]


def is_structured(y: Any) -> bool:
    """Whether a state is a dict, or a tuple or list that holds arrays or structures.

    NumPy's scalars count as numbers: `[np.cos(0.0), 0.0]` and `list(array)` are vectors.
    """
    if isinstance(y, Mapping):
        return True
    return isinstance(y, tuple | list) and any(
        (is_array_api_obj(part) and not isinstance(part, np.generic)) or is_structured(part)
        for part in y
    )


@dataclass(frozen=True)
class StructuredField:
    """A right-hand side of a structure as one of vectors."""

    structure: Structure
    fun: Callable[[Any, Any], Any]

    def __call__(self, t: Any, vector: Any) -> Any:
        """The vector of its value."""
        return self.structure.vector(self.fun(t, self.structure.state(vector)))


@dataclass(frozen=True)
class Structure:
    """How a state of several arrays, nested at will, is laid out in one vector.

    Parameters
    ----------
    template : tuple, list or dict of shapes
        The structure with a shape tuple, wrapped in `_Leaf`, for each array.
    dtype : dtype
        Of all arrays.
    """

    template: Any
    dtype: Any

    @classmethod
    def of(cls, y: Any) -> tuple[Structure, Any]:
        """The structure of a state, and the state as a vector.

        Raises
        ------
        TypeError
            If the parts are not arrays of one library and one dtype, or there is none.
        """
        template = _map(lambda part: _Leaf(tuple(as_state(part, "y0").shape)), y)
        leaves = [as_state(part, "y0") for part in _leaves(y)]
        if not leaves:
            raise TypeError("`y0` must hold at least one array, got an empty structure")
        dtypes = sorted({str(leaf.dtype) for leaf in leaves})
        if len(dtypes) > 1:
            raise TypeError(
                f"all arrays of `y0` must have one dtype, got {', '.join(dtypes)}; convert them"
            )
        structure = cls(template, leaves[0].dtype)
        return structure, structure.vector(y)

    def vector(self, y: Any) -> Any:
        """All entries of a state of this structure, one after another.

        Raises
        ------
        ValueError, TypeError
            If the value has another structure, or arrays of other shapes or another dtype.
        """
        parts = []
        found = _matching(self.template, y)
        for i, (leaf, part) in enumerate(zip(_leaves(self.template), found, strict=True)):
            array = part if hasattr(part, "shape") else as_state(part, "y")
            if tuple(array.shape) != leaf.shape:
                raise ValueError(
                    f"`fun` must return the shapes of the state: got {tuple(array.shape)} for "
                    f"{leaf.shape}"
                )
            if array.dtype != self.dtype:
                raise TypeError(
                    f"`fun` must return the dtype of the state, {self.dtype}, got {array.dtype} at "
                    f"{_paths(self.template)[i]}; convert it"
                )
            parts.append(array)
        xp = namespace(*parts)
        return xp.concat([xp.reshape(part, (-1,)) for part in parts])

    def state(self, vector: Any) -> Any:
        """The structure back from a vector, or from vectors (n, size), with n first."""
        xp = namespace(vector)
        lead = tuple(vector.shape[:-1])
        start = 0

        def part(leaf: _Leaf) -> Any:
            nonlocal start
            piece = vector[..., start : start + leaf.size]
            start += leaf.size
            return xp.reshape(piece, (*lead, *leaf.shape))

        return _map(part, self.template)

    def tolerance(self, label: str, value: Any, like: Any) -> Any:
        """One tolerance for all entries, one for each array as a flat list, or a structure.

        A number in the place of a part of the structure holds for all arrays in it.
        """
        if not isinstance(value, Mapping | list | tuple):
            return value
        leaves = list(_leaves(self.template))
        found = _spread(self.template, value)
        if found is None and len(value) == len(leaves) and not isinstance(value, Mapping):
            found = list(value)
        if found is None:
            raise ValueError(
                f"`{label}` must be one number, one for each of the "
                f"{len(leaves)} arrays of the state, or a structure with the state's keys and "
                f"lengths, got {value!r}"
            )
        xp = namespace(like)
        like = xp.abs(constant(like))  # real
        parts = []
        paths = _paths(self.template, label)
        for leaf, tolerance, path in zip(leaves, found, paths, strict=True):
            require_real(tolerance, label)
            require_broadcasts(path, tolerance, leaf.shape)
            array = tolerance if is_like(tolerance, like) else constant_like(tolerance, like)
            parts.append(xp.reshape(xp.broadcast_to(array, leaf.shape), (-1,)))
        return xp.concat(parts)

    def largest(self, norm: Callable[[Any], float]) -> Callable[[Any], float]:
        """The largest of the norms of the arrays."""
        return lambda vector: largest(norm(part) for part in _leaves(self.state(vector)))


@dataclass(frozen=True)
class _Leaf:
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return prod(self.shape)


def _map(fun: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map(fun, part) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [_map(fun, part) for part in tree]
        if hasattr(tree, "_fields"):
            return type(tree)(*parts)  # a named tuple
        return parts if isinstance(tree, list) else tuple(parts)
    return fun(tree)


def _leaves(tree: Any) -> list[Any]:
    found: list[Any] = []
    _map(found.append, tree)
    return found


def _matching(template: Any, y: Any) -> list[Any]:
    """The leaves of y in the order of the template."""
    if isinstance(template, Mapping):
        if not isinstance(y, Mapping) or set(y) != set(template):
            raise ValueError(
                f"`fun` must return a dict with the keys {list(template)} like the state, got "
                f"{_seen(y)}"
            )
        return [leaf for key, part in template.items() for leaf in _matching(part, y[key])]
    if isinstance(template, tuple | list):
        if not isinstance(y, tuple | list) or len(y) != len(template):
            raise ValueError(
                f"`fun` must return {len(template)} arrays like the state, got {_seen(y)}"
            )
        pairs = zip(template, y, strict=True)
        return [leaf for part, value in pairs for leaf in _matching(part, value)]
    return [y]


def _paths(tree: Any, path: str = "y") -> list[str]:
    """How each leaf is written, say y['a'][0]."""
    if isinstance(tree, _Leaf):
        return [path]
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    return [found for key, part in items for found in _paths(part, f"{path}[{key!r}]")]


def _spread(template: Any, value: Any) -> list[Any] | None:
    """A value for each leaf from a structure that may end earlier, or None if it is another."""
    if isinstance(template, _Leaf):
        return None if isinstance(value, Mapping) else [value]
    if not isinstance(value, Mapping | list | tuple):
        return [value] * len(_leaves(template))
    if isinstance(template, Mapping):
        if not isinstance(value, Mapping) or set(value) != set(template):
            return None
        pairs = [(part, value[key]) for key, part in template.items()]
    else:
        if isinstance(value, Mapping) or len(value) != len(template):
            return None
        pairs = list(zip(template, value, strict=True))
    found = [_spread(*pair) for pair in pairs]
    return None if None in found else [x for part in found for x in part or ()]


def _seen(y: Any) -> str:
    if isinstance(y, Mapping):
        return f"a dict with the keys {list(y)}"
    return f"{type(y).__name__} of {len(y)}" if isinstance(y, tuple | list) else type(y).__name__
