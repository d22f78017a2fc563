"""Torch's compiler inductor, with the functions that it computes slowly replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import comb, factorial
from typing import Any

import torch
from torch import Tensor

__all__ = ["inductor"]

SATURATED = {torch.float32: 9.02, torch.float64: 19.1}  # from where on tanh rounds to 1
DEGREE = {torch.float32: 13, torch.float64: 28}  # of N


def inductor(options: dict[str, Any]) -> Callable[..., Any]:
    """A backend of torch.compile: inductor with these options.

    On the CPU tanh is computed by additions, products and one quotient, which is up to four times
    as fast as the vectorized function that inductor calls, with a relative error below 6 eps;
    and biases are added in the kernel that follows a product, not in one of their own before it.
    """

    def compiled(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        # Both are slow to import.
        from torch._inductor.compile_fx import compile_fx
        from torch._inductor.decomposition import select_decomp_table

        table = select_decomp_table()
        table = {**table, **_replacements(table)}
        tag = f"{torch.compiler.config.cache_key_tag} torch_bridge"  # the caches miss the table
        log = logging.getLogger("torch._inductor.ir")
        log.addFilter(_is_news)
        try:
            with torch.compiler.config.patch(cache_key_tag=tag):
                return compile_fx(graph, inputs, config_patches=options, decompositions=table)
        finally:
            log.removeFilter(_is_news)

    return compiled


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message tells a user anything; that torch calls itself by another way does not."""
    return "missing a c-shim" not in record.getMessage()


def _replacements(table: Any) -> dict[Any, Any]:
    """Decompositions besides and instead of those in a table."""
    aten = torch.ops.aten
    before = table[aten.addmm.default]

    def addmm(bias: Tensor, a: Tensor, b: Tensor, beta: Any = 1, alpha: Any = 1) -> Any:
        found = before(bias, a, b, beta=beta, alpha=alpha)
        scaled = not beta == alpha == 1 or not bias.is_floating_point()
        if found is not NotImplemented or scaled or bias.device.type != "cpu":
            return found
        return torch.mm(a, b) - (-bias)  # a sum would be made one operation again

    return {aten.tanh.default: _tanh, aten.addmm.default: addmm}


def _tanh(x: Tensor) -> Any:
    """The odd over the even part of N(2x), from Pade's exp(2x) = N(2x)/N(-2x)."""
    if x.device.type != "cpu" or x.dtype not in DEGREE:
        return NotImplemented
    coefficients = _pade(DEGREE[x.dtype])
    x = x.clamp(-SATURATED[x.dtype], SATURATED[x.dtype])
    odd, even = (_polynomial(coefficients[i::2], x * x) for i in (1, 0))
    return (x * odd / even).clamp(-1.0, 1.0)


def _polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """With the constant term first."""
    *rest, last = coefficients
    value = x * last + rest.pop()
    for c in reversed(rest):
        value = value * x + c
    return value


def _pade(m: int) -> list[float]:
    """Coefficients of N(2x), of degree m, in x."""
    return [comb(m, j) * 2**j * factorial(2 * m - j) / factorial(2 * m) for j in range(m + 1)]
