"""The equations of the stages of an implicit step, and their solution by Newton's method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from odecore._array import combiner, constant, constant_like, limits, namespace, tracks
from odecore._krylov import restarted_gmres
from odecore.solve._error_norm import tolerance_scale
from odecore.solve._explicit_step import checked_stage
from odecore.solve._newton import (
    LARGE,
    Newton,
    NoMatrixError,
    approach,
    checked_jacobian,
    finite_difference_jacobian,
    iterate,
    typical_sizes,
)
from odecore.solve._one_sided import OneSided
from odecore.solve._stage_inverse import (
    Decoupled,
    Dense,
    after_inverse,
    alike,
    eigenvectors,
    inverse_of,
    product_of,
)
from odecore.solve._stage_scale import StageScale
from odecore.solve._status import Status
from odecore.solve._transposed_stages import differentiated_stages

__all__ = ["StageEquations"]

Field = Callable[[Any, Any], Any]
Linear = Callable[[Any], Any]

KRYLOV, RESTARTS = 40, 10  # dimension of the largest space, and how often it begins anew
SOLVED = 1e-3  # relative residual; Newton's method sees in its rate what remains
FEW = 6  # iterations with a Jacobian from an earlier step, before there is another
GIVEN = 16  # evaluations that a given Jacobian costs at most
SLOW = 4  # evaluations of a step, in units of the unknowns, from which on matrices are cheaper


class StageEquations:
    """The equations of one step in flat real coordinates, and what solving them cost."""

    def __init__(
        self,
        newton: Newton,
        tolerances: tuple[Any, Any] | None,
        fun: Field,
        t: float,
        y: Any,
        h: float,
        slope: Any,
        matrices: bool,
        jacobian: Any,
    ) -> None:
        self.options, self.tolerances = newton, tolerances
        self.fun, self.t, self.y, self.h = fun, t, y, h
        self.combine, self.complex = combiner(y), namespace(y).isdtype(y.dtype, "complex floating")
        if newton.samples and (self.complex or not y.shape):
            raise ValueError(
                "Newton(samples=True) needs a real state with a first axis of samples, got shape "
                f"{tuple(y.shape)} and {y.dtype}"
            )
        self.evaluations = self.newton = 0
        self.matrices = matrices  # formed whatever the number of unknowns
        self.failure = Status.NEWTON_FAILED  # if there is one
        self.start = self._pack(constant(y))
        self.scale = StageScale(self.start, h, self._tolerance())
        # f and df/dy at the start of the step, once they are needed.
        self.slope: Any = None if slope is None else self._pack(constant(slope))
        self.latest: Any = None  # slope of the stage before, from which the next one is looked for
        self.matrix: Any = jacobian
        self.renewed = False  # in this step
        # Of I - h A (x) J, which stages with one a_ii share, with that A.
        self.inverse: Any = None
        self.tracked = tracks(y) or (slope is not None and tracks(slope))

    def solve(self, times: list[float], bases: list[Any], A: list[list[float]]) -> list[Any]:
        """Slopes k_i = f(t_i, base_i + h sum_j A_ij k_j); none where Newton's method fails."""
        try:
            return self._solved(times, bases, A)
        except NoMatrixError:
            self.options = replace(self.options, jacobian=None)
            self.matrix = self.inverse = None
            return self._solved(times, bases, A)

    def _solved(self, times: list[float], bases: list[Any], A: list[list[float]]) -> list[Any]:
        xp = namespace(self.start)
        s, n = len(times), self.start.shape[0]
        if n == 0:  # nothing to solve for
            self.evaluations += s
            pairs = zip(times, bases, strict=True)
            return [checked_stage(self.fun(t, base), self.y) for t, base in pairs]
        flat = [self._pack(constant(base)) for base in bases]
        direct = self.matrices or self.options.direct(s * self._together)
        coupling = self.h * constant_like(A, self.start)  # (s, s)
        if direct:
            self._jacobian_at_start()  # which may be of samples
        # Of more stages than one: matrices of all unknowns would be large.
        large = s > 1 and s * self._together > LARGE
        vectors = eigenvectors(self.h * np.array(A)) if large else None

        def states(k: Any) -> list[Any]:
            moved = xp.matmul(coupling, k)
            return [flat[i] + moved[i, ...] for i in range(s)]

        def residual(k: Any) -> Any:
            values = [self._flat(t, Y) for t, Y in zip(times, states(k), strict=True)]
            return (xp.stack(values) if s > 1 else values[0]) - k  # (n,) broadcasts to (1, n)

        def linear(k: Any) -> Callable[[Any], Any]:
            places = list(zip(times, states(k), strict=True))
            if direct or self.matrices:
                return self._elimination(places, A, coupling, vectors)
            return self._krylov(places, A, coupling, vectors)

        def newton(k: Any) -> Any:
            return linear(k)(residual(k))

        start = xp.stack([self._slope() if self.latest is None else self.latest] * s)
        found = None
        if direct:
            inverse = self._inverse_at_start(A, coupling, vectors)
            if self.tolerances is None:
                self.scale.learn(inverse, self._jacobian_at_start(), start[0, ...], s)
            found = self._iterate(lambda k: inverse(residual(k)), residual, start, False)
            if found is None and not self.renewed:  # the Jacobian is that of an earlier step
                self.matrix = self.inverse = None
                inverse = self._inverse_at_start(A, coupling, vectors)
                found = self._iterate(lambda k: inverse(residual(k)), residual, start, False)
        if found is None:
            found = self._iterate(newton, residual, start, True)
        if found is None and self.tolerances is None:  # there is no smaller step to try
            units = typical_sizes(self.start, self.h * start[0, ...])
            for first in (xp.zeros_like(start), start):
                near, count = approach(linear, residual, first, units, self.options.max_iterations)
                self.newton += count
                found = self._iterate(newton, residual, near, True)
                if found is not None:
                    break
        if found is None:
            return []
        self.latest = found[-1, ...]
        return self._tracked(times, bases, A, found, states(found), coupling, vectors)

    def _iterate(
        self,
        correction: Callable[[Any], Any],
        residual: Callable[[Any], Any],
        start: Any,
        full: bool,
    ) -> Any:
        """Slopes where the iterations converge, or None, with the reason in `failure`."""
        rounding = self.scale.rounding
        adaptive = self.tolerances is not None
        newton = self.options
        limit = newton.tolerance if adaptive else rounding
        # Full iterations that stop so close are at the end: f has a rounding of its own.
        eps = float(limits(start).eps)
        stuck = 10 * eps**0.5 if full and not adaptive else 100 * rounding
        most = newton.max_iterations if full or self.renewed else min(FEW, newton.max_iterations)
        k, count, good = iterate(correction, self.scale.sizes, start, limit, rounding, stuck, most)
        self.newton += count
        # A correction that is not finite may also come from a singular matrix.
        broken = good is None and not bool(namespace(k).all(namespace(k).isfinite(residual(k))))
        self.failure = Status.NONFINITE_RHS if broken else Status.NEWTON_FAILED
        return k if good else None

    def _tolerance(self) -> Any:
        """What an error of each entry may be; None in given steps."""
        if self.tolerances is None:
            return None
        scale = tolerance_scale(constant(self.y), *self.tolerances)
        xp = namespace(scale)
        flat = xp.reshape(scale, (-1,))
        return xp.concat([flat, flat]) if self.complex else flat

    def _slope(self) -> Any:
        if self.slope is None:
            self.slope = self._flat(self.t, self.start)
        return self.slope

    def _jacobian_at_start(self) -> Any:
        if self.matrix is None:
            self.matrix, self.renewed = self._jacobian(self.t, self.start), True
        return self.matrix

    @property
    def price(self) -> int:
        """About how many evaluations a Jacobian costs."""
        return self._together if self.options.jacobian is None else min(self._together, GIVEN)

    @property
    def _together(self) -> int:
        """Entries that may depend on each other, as far as is known."""
        if self.matrix is not None:
            return int(self.matrix.shape[-1])
        n: int = self.start.shape[0]
        return n // max(1, self.y.shape[0]) if self.options.samples else n

    def _inverse_at_start(self, A: Any, coupling: Any, vectors: Any) -> Dense | Decoupled:
        if self.inverse is None or self.inverse[0] != A:
            J = self._jacobian_at_start()
            found = Decoupled(vectors, J) if vectors else Dense.of(coupling, [J] * len(A))
            self.inverse = A, found
        return self.inverse[1]  # type: ignore[no-any-return]

    def _jacobian(self, t: float, Y: Any) -> Any:
        given = self.options.jacobian
        if given is not None:
            t = self.fun.time(t) if isinstance(self.fun, OneSided) else t
            return checked_jacobian(given(t, self._unpack(Y)), Y, None if self.complex else self.y)
        # Not from the slope at hand: that of a stiffly accurate step is not quite f here, and
        # differences would make a Jacobian of the distance.
        value = self._flat(t, Y)
        samples = self.y.shape[0] if self.options.samples else None
        at = t, Y, value, self.h, samples
        found, calls = finite_difference_jacobian(self._uncounted, *at)
        self.evaluations += calls
        return found

    def _jacobians(self, places: list[Any]) -> list[Any]:
        return alike([self._jacobian(*at) for at in places])

    def _elimination(self, places: list[Any], A: Any, coupling: Any, vectors: Any) -> Linear:
        if vectors is None:
            return Dense.of(coupling, self._jacobians(places))
        product = self._product(places, coupling)
        inverse: Linear = self._inverse_at_start(A, coupling, vectors)

        def solve(r: Any) -> Any:
            nonlocal inverse
            x, left = after_inverse(product, inverse, r, SOLVED)
            if left > SOLVED:  # J has changed too much within the step
                J = self._jacobians(places)
                inverse = Decoupled(vectors, sum(J[1:], J[0]) / len(J))
                x, _ = after_inverse(product, inverse, r, SOLVED)
            return x

        return solve

    def _krylov(self, places: list[Any], A: Any, coupling: Any, vectors: Any) -> Linear:
        """By products, until they turn out dear; then by elimination, and so in later steps."""
        product, n = self._product(places, coupling), places[0][1].shape[0]
        size = n if vectors else n * len(places)
        eliminate: Linear | None = None

        def solve(r: Any) -> Any:
            nonlocal eliminate
            if eliminate is None:
                x, left = restarted_gmres(product, r, SOLVED, KRYLOV, RESTARTS)
                dear = not left <= SOLVED or self.evaluations > SLOW * n * len(places)
                if not (dear and isfinite(left) and self.options.may_change(size)):
                    return x
                self.matrices = True
                if left <= SOLVED:
                    return x
                eliminate = self._elimination(places, A, coupling, vectors)
            return eliminate(r)

        return solve

    def _product(self, places: list[Any], coupling: Any) -> Linear:
        """The function x -> (I - h A (x) J) x."""
        xp = namespace(coupling)
        if self.options.jacobian is not None:
            return product_of(coupling, self._jacobians(places))
        root = float(limits(coupling).eps) ** 0.5
        values = [self._flat(*at) for at in places]
        tops = [
            float(xp.max(typical_sizes(Y, self.h * value)))
            for (_, Y), value in zip(places, values, strict=True)
        ]

        def product(x: Any) -> Any:
            moved = xp.matmul(coupling, x)
            out = []
            for i, (t, Y) in enumerate(places):
                size = float(xp.max(xp.abs(moved[i, ...])))
                step = root * tops[i] / size if size > 0 else 1.0
                later = self._flat(t, Y + step * moved[i, ...])
                out.append(x[i, ...] - (later - values[i]) / step)
            return xp.stack(out)

        return product

    def _tracked(
        self,
        times: list[float],
        bases: list[Any],
        A: list[list[float]],
        k: Any,
        states: list[Any],
        coupling: Any,
        vectors: Any,
    ) -> list[Any]:
        """The slopes as arrays like the state, with gradients where the library records them."""
        stages = [self._unpack(k[i, ...]) for i in range(k.shape[0])]
        if not self.tracked:
            return stages
        xp = namespace(k)
        rows = zip(bases, A, strict=True)
        inputs = [self.combine(base, self.h, row, stages) for base, row in rows]
        self.evaluations += len(inputs)
        if not self.options.direct(k.shape[0] * self._together):
            at = self.options, self.fun, self.t, constant(self.y), self.h
            return differentiated_stages(*at, A, times, inputs, stages)
        values = [checked_stage(self.fun(t, Y), self.y) for t, Y in zip(times, inputs, strict=True)]
        left = [self._pack(v - stage) for v, stage in zip(values, stages, strict=True)]
        blocks = self._jacobians(list(zip(times, states, strict=True)))
        moved = inverse_of(coupling, blocks, vectors)(xp.stack(left))
        return [stage + self._unpack(moved[i, ...]) for i, stage in enumerate(stages)]

    def _uncounted(self, t: float, Y: Any) -> Any:
        value = checked_stage(self.fun(t, self._unpack(Y)), self.y)
        self.tracked = self.tracked or tracks(value)
        return self._pack(constant(value))

    def _flat(self, t: float, Y: Any) -> Any:
        self.evaluations += 1
        return self._uncounted(t, Y)

    def _pack(self, y: Any) -> Any:
        """The entries of a state as one real vector."""
        xp = namespace(y)
        flat = xp.reshape(y, (-1,))
        return xp.concat([xp.real(flat), xp.imag(flat)]) if self.complex else flat

    def _unpack(self, v: Any) -> Any:
        xp = namespace(v)
        if self.complex:
            half = v.shape[0] // 2
            v = v[:half] + 1j * v[half:]
        return xp.reshape(v, self.y.shape)
