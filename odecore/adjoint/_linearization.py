"""What an adjoint needs of a right-hand side: its value and the transpose of its derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from odecore._array import is_torch_array, namespace, own

__all__ = ["Linearize", "Pull", "checked", "node_by_node", "require_like"]

#: `pull(a, parameters)` gives (df/dy)^T a and, if `parameters` is true, the tuple of
#: (df/dtheta)^T a, one array for each group of parameters; otherwise an empty tuple.
Pull = Callable[[Any, bool], tuple[Any, tuple[Any, ...]]]

#: `linearize(t, y)` gives f(t, y) and its `Pull`. Evaluating f is its cost; a pull may be called
#: more than once.
Linearize = Callable[[Any, Any], tuple[Any, Pull]]


_PULL = "pull(a, parameters)"
_STATE = f"{_PULL}[0]"


def node_by_node(linearize: Linearize, /) -> Linearize:
    """The linearization at many points, by one evaluation at each.

    Parameters
    ----------
    linearize : callable
        `linearize(t, y)` returns f(t, y) and `pull(a, parameters)`.

    Returns
    -------
    callable
        The same for times (m,) and states (m, ...): the value and the pulled-back state have the
        node as their first axis, parameters are summed over the nodes.
    """
    linearize = checked(linearize)

    def nodes(t: Any, y: Any) -> tuple[Any, Pull]:
        found = [linearize(t[k], y[k, ...]) for k in range(y.shape[0])]
        xp = namespace(y)

        def pull(a: Any, parameters: bool) -> tuple[Any, tuple[Any, ...]]:
            parts = [back(a[k, ...], parameters) for k, (_, back) in enumerate(found)]
            groups = zip(*(part[1] for part in parts), strict=True)
            return xp.stack([part[0] for part in parts]), tuple(sum(g[1:], g[0]) for g in groups)

        return xp.stack([value for value, _ in found]), pull

    return nodes


def checked(linearize: Linearize, /) -> Linearize:
    """The same linearization: what it gets and returns is kept from being overwritten, and what it
    returns is looked at.

    NumPy code may return one buffer at each call, and several results are held at a time.

    Raises
    ------
    TypeError
        If it is no function.
    """
    if not callable(linearize):
        raise TypeError(
            "a linearization must be callable as linearize(t, y), giving f(t, y) and `pull`, got "
            f"{linearize!r}"
        )

    def kept(t: Any, y: Any) -> tuple[Any, Pull]:
        found = _unchanged(lambda y: linearize(t, y), y, "linearize(t, y)")
        value, pull = _pair(found, "linearize(t, y)", "f(t, y) and `pull`")
        require_like(value, y, "linearize(t, y)[0]")

        def pull_kept(a: Any, parameters: bool) -> tuple[Any, tuple[Any, ...]]:
            found = _unchanged(lambda a: pull(a, parameters), a, _PULL)
            state, terms = _pair(found, _PULL, "(df/dy)^T a and the tuple of (df/dtheta)^T a")
            require_like(state, a, _STATE)
            return own(state), _groups(terms) if parameters else ()

        return own(value), pull_kept

    return kept


def _unchanged(call: Callable[[Any], Any], array: Any, label: str) -> Any:
    """What a call returns that gets a copy of an array, or of torch, which is not copied, itself.

    Raises
    ------
    ValueError
        If the call changes that.
    """
    counts = is_torch_array(array) and not array.is_inference()
    before = array._version if counts else None
    found = call(own(array))
    if counts and array._version != before:
        raise ValueError(
            f"`{label}` must not change the array that it gets, which is used again: take "
            "operations that return a new tensor, or change a clone"
        )
    return found


def _groups(terms: Any) -> tuple[Any, ...]:
    """The parameters' part of what `pull` returns; TypeError if it is no tuple of arrays."""
    if isinstance(terms, tuple | list) and all(hasattr(x, "shape") for x in terms):
        return tuple(map(own, terms))
    raise TypeError(
        f"`{_PULL}[1]` must be a tuple with an array for each group of parameters, got {terms!r}; "
        "put a single array into a tuple, (array,)"
    )


def _pair(found: Any, call: str, what: str) -> Any:
    """What was returned, if it is two things; TypeError otherwise."""
    if isinstance(found, tuple | list) and len(found) == 2:
        return found
    raise TypeError(f"`{call}` must return {what}, two things, got {type(found).__name__}")


def require_like(array: Any, y: Any, label: str) -> None:
    """Check that an array fits the state: it would broadcast or promote in silence."""
    if not hasattr(array, "shape"):
        raise TypeError(f"`{label}` must be an array like the state, got {type(array).__name__}")
    if array.shape != y.shape or array.dtype != y.dtype:
        kind = ValueError if array.shape != y.shape else TypeError
        seen = f"{tuple(y.shape)}, got {array.dtype} of {tuple(array.shape)}"
        raise kind(f"`{label}` must be {y.dtype} of shape {seen}")
