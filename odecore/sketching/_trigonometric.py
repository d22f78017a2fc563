"""Sketches that mix all rows by a fast orthogonal transform, then sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from odecore._array import constant_like, namespace, widened
from odecore._flags import require_flags
from odecore.sketching._moments import Moments, moments_of, paired
from odecore.sketching._sampling import sampling_factor, uniform_indices
from odecore.sketching._sketch import (
    Draw,
    MomentSketch,
    random_signs,
    require_size,
    rows_of,
    take_rows,
)

__all__ = ["CosineSketch", "HadamardSketch"]

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class HadamardSketch(MomentSketch):
    """Subsampled randomized Hadamard transform (SRHT): signs, transform, uniform rows.

    Parameters
    ----------
    size : int
        p. Without replacement at most B', the power of two from the number of rows B on.
    replacement : bool, optional
        Whether the same coefficient may be drawn again.

    Raises
    ------
    ValueError
        If `size` is no positive int; at the draw without replacement, if it is above B'.

    Notes
    -----
    The variance with replacement is that of `RademacherSketch`; without, it is (B' - p)/(B' - 1)
    times that, and 0 for p = B'. X is padded with zeros to B' rows. The transform is O(B N log B).
    Ailon and Chazelle (2006); Tropp (2011).
    """

    size: int
    replacement: bool = False

    def __post_init__(self) -> None:
        require_size(self.size)
        require_flags(replacement=self.replacement)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw a sign for each row and the coefficients to keep."""
        rows = rows_of(X, rng)
        padded = _power_of_two(rows)
        signs = random_signs(rows, rng)[:, None]
        indices = uniform_indices(padded, self.size, self.replacement, rng)
        weights = np.full(self.size, 1 / self.size)
        return Draw(partial(_hadamard_rows, signs, indices, padded), weights, rows)

    def variance_of(self, moments: Moments, /) -> Any:
        """Exact variance from the moments alone."""
        factor = sampling_factor(_power_of_two(moments.rows), self.size, self.replacement)
        return factor * moments.between_pairs


@dataclass(frozen=True)
class CosineSketch:
    """Signs, the orthonormal discrete cosine transform (DCT-II), uniform rows.

    Parameters
    ----------
    size : int
        p. Without replacement at most the number of rows B; with p = B the product is exact.
    replacement : bool, optional
        Whether the same coefficient may be drawn again.

    Raises
    ------
    ValueError
        If `size` is no positive int; at the draw without replacement, if there are fewer rows.

    Notes
    -----
    With orthonormal H the variance with replacement is (B T_D - g)/p, where T_D is the mean over
    the signs of sum_k ||z_k||^2 ||w_k||^2 for the rows of H D X and H D Y. Pairing equal signs,

        T_D = sum_ij Q_ij (K_ii L_jj + 2 K_ij L_ij) - 2 sum_i Q_ii K_ii L_ii,

    K = X X^T, L = Y Y^T, and Q_ij = sum_k H_ki^2 H_kj^2, which for i, j from 0 is
    (B - 1)/B^2 + ([i = j] + [i + j = B - 1])/(2 B). Without replacement, times
    (B - p)/(B - 1). Unlike SRHT it needs no padding. The transform is a real FFT, O(B N log B) for
    smooth B (Makhoul, 1980).
    """

    size: int
    replacement: bool = False

    def __post_init__(self) -> None:
        require_size(self.size)
        require_flags(replacement=self.replacement)

    def draw(self, X: Any, Y: Any, rng: np.random.Generator, /) -> Draw:
        """Draw a sign for each row and the frequencies to keep."""
        rows = rows_of(X, rng)
        signs = random_signs(rows, rng)[:, None]
        indices = uniform_indices(rows, self.size, self.replacement, rng)
        # A row of cosines has squared length B/2, the constant one B.
        weights = np.where(indices == 0, 1.0, 2.0) / self.size
        return Draw(partial(_cosine_rows, signs, indices), weights, rows)

    def variance(self, X: Any, Y: Any, /) -> Any:
        """Exact variance; see the notes of the class."""
        X, Y = paired(X, Y)
        B, m, xp = X.shape[0], moments_of(X, Y), namespace(X, Y)
        factor = sampling_factor(B, self.size, self.replacement)
        x_rows, y_rows = xp.sum(X * X, axis=1), xp.sum(Y * Y, axis=1)
        mirrored = xp.sum(x_rows * xp.flip(y_rows, axis=0))
        x_mirror, y_mirror = (xp.sum(A * xp.flip(A, axis=0), axis=1) for A in (X, Y))
        mirrored = mirrored + 2 * xp.sum(x_mirror * y_mirror)
        flat = (B - 1) / B**2 * (m.x * m.y + 2 * m.product - 2 * m.rowwise)
        middle = B // 2
        # The middle row of an odd number is its own mirror image: its Q_ii holds both terms.
        own = x_rows[middle] * y_rows[middle] if B % 2 else 0.0
        T_D = flat + (3 * m.rowwise + mirrored - 2 * m.rowwise - 2 * own) / (2 * B)
        return factor * (B * T_D - m.product)


def _power_of_two(rows: int) -> int:
    return 1 << (rows - 1).bit_length()


def _hadamard_rows(signs: Indices, indices: Indices, padded: int, X: Any) -> Any:
    """The coefficients that are kept of the transform of X with signs, padded with zeros."""
    xp = namespace(X)
    zeros = xp.zeros((padded - X.shape[0], X.shape[1]), dtype=X.dtype, device=device(X))
    mixed = _walsh_hadamard(xp.concat([constant_like(signs, X) * X, zeros], axis=0))
    return take_rows(mixed, indices)


def _cosine_rows(signs: Indices, indices: Indices, X: Any) -> Any:
    """The frequencies that are kept of the transform of X with signs."""
    found = _cosine_sums(widened(constant_like(signs, X) * X), indices)
    return namespace(X).astype(found, X.dtype, copy=False)


def _walsh_hadamard(X: Any) -> Any:
    """H X with entries -1 and 1 in H, for 2^k rows, by sums and differences of halves."""
    xp, (rows, columns) = namespace(X), X.shape
    half = 1
    while half < rows:
        blocks = xp.reshape(X, (rows // (2 * half), 2, half, columns))
        upper, lower = blocks[:, 0, :, :], blocks[:, 1, :, :]
        X = xp.stack([upper + lower, upper - lower], axis=1)
        half *= 2
    return xp.reshape(X, (rows, columns))


def _cosine_sums(X: Any, frequencies: Indices) -> Any:
    """sum_i cos(pi k (2 i + 1)/(2 B)) x_i at these frequencies k, by one real FFT."""
    xp, B = namespace(X), X.shape[0]
    if not hasattr(xp, "fft"):
        raise TypeError(
            f"a CosineSketch needs a library with the array API's `fft`, got {xp.__name__}; take "
            "HadamardSketch, which needs sums only"
        )
    if X.shape[1] == 0:
        return take_rows(X, frequencies)
    # Even rows up, odd rows down: with V its transform and Z_k = exp(-i pi k/(2 B)) V_k, the sum
    # at k is Re Z_k and that at B - k is -Im Z_k.
    order = np.concatenate([np.arange(0, B, 2), np.arange(1, B, 2)[::-1]])
    V = xp.fft.rfft(take_rows(X, order), axis=0)
    angles = np.pi * np.arange(V.shape[0])[:, None] / (2 * B)
    cosine, sine = constant_like(np.cos(angles), X), constant_like(np.sin(angles), X)
    real, imaginary = xp.real(V), xp.imag(V)
    Z = xp.concat([cosine * real + sine * imaginary, sine * real - cosine * imaginary], axis=0)
    return take_rows(Z, np.where(frequencies <= B // 2, frequencies, V.shape[0] + B - frequencies))
