"""The one seam to array libraries: namespaces, and what may be read at no cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import inf, isfinite
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_jax_array

__all__ = [
    "Move",
    "Terms",
    "all_finite",
    "as_float",
    "as_float64",
    "as_state",
    "combiner",
    "constant",
    "constant_like",
    "copied",
    "doubled",
    "is_like",
    "is_readable",
    "is_torch_array",
    "is_traced",
    "largest",
    "limits",
    "mover",
    "namespace",
    "nonzero",
    "on_host",
    "own",
    "require_broadcasts",
    "require_real",
    "tracks",
    "widened",
]

Terms = Sequence[tuple[int, Any]]
Move = Callable[[Any, Any, Terms, Sequence[Any]], Any]
Combine = Callable[[Any, Any, Sequence[Any], Sequence[Any]], Any]


#: Namespaces of the libraries where each class of arrays has one; looking it up takes a while.
_namespaces: dict[type, Any] = {}


def namespace(*arrays: Any) -> Any:
    """The array API namespace that all these arrays share; TypeError where they share none."""
    kind = type(arrays[0])
    if len(arrays) == 1 and kind in _namespaces:
        return _namespaces[kind]
    found = array_namespace(*arrays)
    if len(arrays) == 1 and (kind is np.ndarray or is_torch_array(arrays[0])):
        _namespaces[kind] = found
    return found


def limits(array: Any, /) -> Any:
    """`finfo` of the real numbers in an array: bits, eps, smallest_normal."""
    return _limits(namespace(array), array.dtype)


def widened(array: Any, /) -> Any:
    """Half precision as float32, in which its squares and long sums stay; others as they are."""
    if limits(array).bits >= 32:
        return array
    xp = namespace(array)
    return xp.astype(array, xp.float32)


def doubled(array: Any, /) -> Any:
    """Real numbers in float64, where the library and the device have it; others as they are."""
    if limits(array).bits >= 64:
        return array
    xp = namespace(array)
    known = xp.__array_namespace_info__()
    found = known.dtypes(device=device(array), kind="real floating")
    return xp.astype(array, found["float64"]) if "float64" in found else array


@lru_cache(maxsize=64)
def _limits(xp: Any, dtype: Any) -> Any:
    return xp.finfo(dtype)


def is_torch_array(array: Any, /) -> bool:
    """Whether this is a torch tensor, of any subclass; torch is not imported to find out."""
    return _is_torch(type(array))  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _is_torch(kind: type) -> bool:
    return any(c.__module__ == "torch" and c.__name__ == "Tensor" for c in kind.__mro__)


def as_state(value: Any, label: str, /) -> Any:
    """Accept a floating-point array as it is and turn Python numbers and lists into float64.

    Raises
    ------
    TypeError
        If the array does not hold real or complex floating-point numbers, or is masked, a matrix
        or a record of NumPy, whose arithmetic is not that of arrays.
    """
    if isinstance(value, np.ma.MaskedArray | np.matrix | np.recarray):
        raise TypeError(
            f"`{label}` must be a plain array, got {type(value).__name__}, whose arithmetic is its "
            "own: fill masked entries, value.filled(0.0), or leave them out, value.compressed(); "
            "of a matrix take numpy.asarray(value), and of a record a dict of its fields"
        )
    if not is_array_api_obj(value):
        try:
            found = np.asarray(value)
            if found.dtype.kind in "SU" or (found.dtype == object and None in found.ravel()):
                raise TypeError("text, or None, would become a number")
            return found.astype(np.complex128 if np.iscomplexobj(found) else np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(
                f"`{label}` must be a floating-point array, or numbers that make one; got "
                f"{type(value).__name__}"
            ) from error
    xp = namespace(value)
    if not xp.isdtype(value.dtype, ("real floating", "complex floating")):
        raise TypeError(
            f"`{label}` must hold floating-point numbers, got dtype {value.dtype}; convert it first"
        )
    return value


def nonzero(weights: Sequence[Any], /) -> Terms:
    """Weights with their indices, without those that are the float 0."""
    return [(j, w) for j, w in enumerate(weights) if not (isinstance(w, float) and w == 0.0)]


def mover(like: Any, /, floats: bool = False) -> Move:
    """The hot operation (y, h, terms, stages) -> y + h sum_j w_j k_j, for arrays like this one.

    The terms are pairs (j, w_j), at least one; without y where that is None. Only the first needs
    new memory, and torch multiplies and adds at once where the scale is a float; `floats` says that
    all are, and y is there.
    """
    if not is_torch_array(like):
        return _move
    return _move_torch_by_floats if floats else _move_torch


def _move(y: Any, h: Any, terms: Terms, stages: Sequence[Any], writes: bool = True) -> Any:
    moved = y
    for j, weight in terms:
        scale = weight * h
        if moved is None:
            moved = scale * stages[j]
        elif moved is y or not writes or not isinstance(scale, float):
            moved = moved + scale * stages[j]  # an array may be larger than what it is added to
        else:
            moved += scale * stages[j]
    return moved


def _move_torch(y: Any, h: Any, terms: Terms, stages: Sequence[Any]) -> Any:
    moved = y
    try:
        for j, weight in terms:
            scale = weight * h
            if type(scale) is not float or moved is None:
                moved = scale * stages[j] if moved is None else moved + scale * stages[j]
            elif moved is y:
                moved = y.add(stages[j], alpha=scale)
            else:
                moved.add_(stages[j], alpha=scale)
    except RuntimeError:  # under torch.func.vmap, where k has a dimension that y has not
        return _move(y, h, terms, stages, writes=False)
    return moved


def _move_torch_by_floats(y: Any, h: float, terms: Terms, stages: Sequence[Any]) -> Any:
    moved = None
    try:
        for j, weight in terms:
            if moved is None:
                moved = y.add(stages[j], alpha=weight * h)
            else:
                moved.add_(stages[j], alpha=weight * h)
    except RuntimeError:  # as above
        return _move(y, h, terms, stages, writes=False)
    return y if moved is None else moved


def combiner(like: Any, /) -> Combine:
    """`mover` for weights that may be the float 0, which cost nothing, and may all be."""
    move = mover(like)

    def combine(y: Any, h: Any, weights: Sequence[Any], stages: Sequence[Any]) -> Any:
        moved = move(y, h, nonzero(weights), stages)
        return namespace(stages[0]).zeros_like(stages[0]) if moved is None else moved

    return combine


def is_like(array: Any, other: Any, /) -> bool:
    """Whether two values are arrays of one library."""
    return is_array_api_obj(array) and namespace(array) is namespace(other)


def constant(array: Any, /) -> Any:
    """The same values without the history of an array library's autograd."""
    return array.detach() if is_torch_array(array) and array.requires_grad else array


def constant_like(values: Any, like: Any, /) -> Any:
    """Host numbers as an array of the library, dtype and device of `like`."""
    xp = namespace(like)
    found: Any = np.array(on_host(values) if is_array_api_obj(values) else values)
    if not is_readable(like):
        found = found.tolist()  # also for devices that hold no data
    return xp.asarray(found, dtype=like.dtype, device=device(like))


def on_host(array: Any, /) -> np.ndarray:
    """The values as a NumPy array, a view where that is possible; half precision as float32."""
    if is_torch_array(array):
        half = array.is_floating_point() and array.itemsize < 4
        array = (array.float() if half else array).numpy(force=True)
    return np.asarray(array)


def as_float64(array: Any, label: str, /) -> np.ndarray:
    """Copy real numbers of any library to the host as float64; TypeError for what is none."""
    if is_torch_array(array):
        if array.is_meta:
            raise ValueError(f"`{label}` must have values, got a tensor on the meta device")
        array = _numbers_of_torch(array if array.is_complex() else array.double())
    odd = isinstance(array, np.ma.MaskedArray) or not hasattr(array, "dtype")
    if odd or getattr(array.dtype, "kind", "f") in "OSUMm":
        require_real(array, label)
    if np.iscomplexobj(array):
        raise TypeError(f"`{label}` must be real, got complex numbers; view them as real pairs")
    return np.array(array, dtype=np.float64)


def _numbers_of_torch(array: Any) -> Any:
    try:
        return array.numpy(force=True)
    except RuntimeError:  # of a tensor that torch.func differentiates, whose numbers can be read
        numbers = [x.item() for x in array.reshape(-1)]  # its own words under vmap
        return np.array(numbers).reshape(tuple(array.shape))


def require_real(value: Any, label: str, /) -> None:
    """Raise TypeError for text, dates, complex or masked numbers and what makes no floats, or is a
    list with tensors that require gradients.
    """
    try:
        found = value if hasattr(value, "dtype") else np.asarray(value)
        if found.dtype == object and all(hasattr(x, "__float__") for x in found.flat):
            found = found.astype(np.float64)
    except (TypeError, ValueError, OverflowError):  # of classes, ragged rows, ints above all floats
        found = np.asarray(None)
    except RuntimeError as error:
        if "requires grad" not in str(error):
            raise
        raise TypeError(f"`{label}` is read, and gets no gradient: give it detached") from error
    wrong = getattr(found.dtype, "kind", None) in ("O", "S", "U", "M", "m")
    if wrong or "complex" in str(found.dtype) or isinstance(found, np.ma.MaskedArray):
        raise TypeError(f"`{label}` must be a real number, or an array of them, got {value!r}")


def as_float(value: Any, /) -> float:
    """A real number, a 0-d array's too, as a float; infinite for an int above all floats."""
    try:
        return float(constant(value))
    except OverflowError:
        return inf if value > 0 else -inf


def require_broadcasts(
    label: str, value: Any, shape: Sequence[int], against: str = "`y0`", /
) -> None:
    """Raise ValueError unless a value for each entry of the state, or of another array, fits."""
    found = np.shape(value)
    pairs = zip(reversed(found), reversed(shape), strict=False)
    if len(found) > len(shape) or any(a not in (1, b) for a, b in pairs):
        raise ValueError(
            f"`{label}` of shape {found} does not broadcast against {against} {tuple(shape)}"
        )


def largest(numbers: Iterable[Any], /) -> float:
    """The largest of numbers: NaN if one of them is, unlike `max`, and 0 if there is none."""
    return float(np.max([float(x) for x in numbers], initial=0.0))


def own(array: Any, /) -> Any:
    """A copy of what its maker may overwrite, as NumPy code that reuses buffers does.

    A copy costs torch a kernel; `odecore.solve.refusing_reuse` looks out there. jax's arrays do
    not change.
    """
    if isinstance(array, np.ndarray):
        return array.copy()
    if is_torch_array(array) or is_jax_array(array):
        return array
    return namespace(array).asarray(array, copy=True)


def copied(array: Any, /) -> Any:
    """A copy, through which torch's gradients pass; jax's arrays do not change."""
    return array.clone() if is_torch_array(array) else own(array)


def is_readable(array: Any, /) -> bool:
    """Whether Python may branch on the values of an array at no cost.

    False for arrays on an accelerator (reading would wait for the device), on torch's data-less
    meta device, and for jax values that are being traced.
    """
    if is_torch_array(array):
        return bool(array.device.type == "cpu")
    if is_jax_array(array):
        return not is_traced(array) and all(d.platform == "cpu" for d in array.devices())
    return True


def is_traced(array: Any, /) -> bool:
    """Whether this is a value that jax traces."""
    return any(base.__name__ == "Tracer" for base in type(array).__mro__)


def all_finite(array: Any, reads: bool | None = True, /) -> bool:
    """Whether all entries are finite, or may not be read; None for reading where it is free."""
    if reads is False or (reads is None and not is_readable(array)):
        return True
    xp = namespace(array)
    # In less time than isfinite; they may overflow, of which NumPy's vdot does not warn.
    host = isinstance(array, np.ndarray)
    size: Any = abs(np.vdot(array, array) if host else xp.sum(constant(array)))
    # Under jax's transformations constants become values that can not be read.
    if not (reads or is_readable(size)):
        return True
    return isfinite(float(size)) or bool(xp.all(xp.isfinite(array)))


def tracks(array: Any, /) -> bool:
    """Whether the array library records the history of this array for derivatives."""
    return is_torch_array(array) and bool(array.requires_grad)
