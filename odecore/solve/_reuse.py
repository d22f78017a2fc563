"""Right-hand sides that overwrite their state, or what they returned before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from odecore._array import is_torch_array

__all__ = ["refusing_reuse", "unchecked"]


def refusing_reuse(fun: Callable[[Any, Any], Any], like: Any, /) -> Callable[[Any, Any], Any]:
    """Refuse a right-hand side that changes its state, or its earlier values at another call.

    NumPy's values are copied instead, which would cost torch a kernel at each evaluation, and
    changes of its states are not counted; jax's arrays do not change.

    Parameters
    ----------
    fun : callable
        `fun(t, y)`.
    like : array
        The state.

    Returns
    -------
    callable
        For torch's tensors the function with a check, which raises ValueError; otherwise, and where
        it has the check already, `fun`.
    """
    if not is_torch_array(like) or getattr(fun, "refuses_reuse", False) or not callable(fun):
        return fun
    last: Any = None  # a weak reference: a value may keep all that led to it
    version = 0

    def checked(t: Any, y: Any) -> Any:
        nonlocal last, version
        try:
            before = y._version
        except RuntimeError:  # a tensor of inference mode keeps no count of its changes
            before = None
        value = fun(t, y)
        if before is not None and y._version != before:
            raise ValueError(
                "the right-hand side must not change the state that it gets, from which all stages "
                "of a step start: take operations that return a new tensor, y.clamp(...) in place "
                "of y.clamp_(...), or change y.clone()"
            )
        try:
            base, now = value._base, value._version
        except AttributeError:  # no tensor
            return value
        except RuntimeError:  # of inference mode
            return value.clone()
        base = value if base is None else base
        if last is not None and base is last() and now != version:
            raise ValueError(
                "the right-hand side returned a tensor that it had returned before, overwritten; "
                "return a new one at each call"
            )
        last, version = ref(base), now
        return value

    checked.refuses_reuse_of = fun  # type: ignore[attr-defined]
    checked.refuses_reuse = True  # type: ignore[attr-defined]
    return checked


def unchecked(fun: Callable[[Any, Any], Any], /) -> Callable[[Any, Any], Any]:
    """The function that got the check of `refusing_reuse`: the user's, which may be pickled."""
    return getattr(fun, "refuses_reuse_of", fun)
