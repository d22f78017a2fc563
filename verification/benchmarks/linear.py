"""Sketched layers against `nn.Linear`: time of a training step, bytes kept, cost in rows.

`python -m verification.benchmarks.linear` prints one table; two threads, as a user has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from torch_bridge import SketchedConv2d, SketchedLinear, saved_bytes, sketch_rows

#: Rows, inputs, outputs; the last is the head of a language model.
SIZES = ((4096, 768, 768), (4096, 768, 3072), (16384, 768, 768), (1024, 384, 30522))
PIXELS = (16, 256, 256, 32)  # images, channels in and out, height and width
ROWS = (16384, 32768, 65536)
RATIOS = (0.1, 0.5)
CHEAP, DENSE = ("uniform", "balanced"), ("rademacher", "gaussian")
ROUNDS = 15


class Replayed(torch.autograd.Function):
    """The published way: a dense Gaussian sketch, drawn anew from its seed in the backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, size: int) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.seed, ctx.size = int(torch.randint(0, 2**40, ())), size
        ctx.save_for_backward(_gaussian(ctx.seed, size, x) @ x, weight)
        return nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, y_grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[no-untyped-def]
        kept, weight = ctx.saved_tensors
        sketched = _gaussian(ctx.seed, ctx.size, y_grad) @ y_grad
        return y_grad @ weight, sketched.mT @ kept, y_grad.sum(0), None


def _gaussian(seed: int, size: int, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, like.shape[0], generator=generator) / size**0.5


def training_step(layer: nn.Module, x: Tensor, y_grad: Tensor) -> Callable[[], None]:
    """Forward and backward pass of one layer, for input, weight and bias."""
    x = x.clone().requires_grad_()

    def run() -> None:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        layer(x).backward(y_grad)

    return run


def fastest(runs: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """The least time of each, taken in turns."""
    found = dict.fromkeys(runs, float("inf"))
    for k in range(rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if k > 1:
                found[name] = min(found[name], time.perf_counter() - start)
    return found


class _Replaying(nn.Linear):
    def __init__(self, inputs: int, outputs: int, ratio: float) -> None:
        super().__init__(inputs, outputs)
        self.ratio = ratio

    def forward(self, x: Tensor) -> Tensor:
        return Replayed.apply(x, self.weight, self.bias, int(self.ratio * x.shape[0]))


def layers(inputs: int, outputs: int) -> dict[str, nn.Module]:
    """All layers of one size."""
    found: dict[str, nn.Module] = {"nn.Linear": nn.Linear(inputs, outputs)}
    for ratio in RATIOS:
        for sketch in (*CHEAP, *DENSE):
            found[f"{sketch} {ratio}"] = SketchedLinear(inputs, outputs, ratio=ratio, sketch=sketch)
        found[f"dense, replayed {ratio}"] = _Replaying(inputs, outputs, ratio)
    found["balanced, centred 0.1"] = SketchedLinear(
        inputs, outputs, ratio=0.1, sketch="balanced", centred=True
    )
    found["uniform, int8 0.1"] = SketchedLinear(inputs, outputs, ratio=0.1, storage=torch.int8)
    return found


def linear_table(rounds: int = ROUNDS) -> list[str]:
    """Wall time by that of nn.Linear, and bytes kept a row of the input."""
    lines = ["| rows, in, out | layer | time / nn.Linear | bytes kept / X |", "|---|---|---|---|"]
    for rows, inputs, outputs in SIZES:
        torch.manual_seed(0)
        x, y_grad = torch.randn(rows, inputs), torch.randn(rows, outputs) / rows
        chosen = layers(inputs, outputs)
        times = fastest({k: training_step(v, x, y_grad) for k, v in chosen.items()}, rounds)
        for name, layer in chosen.items():
            besides = layer.parameters()
            fed = x.clone().requires_grad_()
            kept = saved_bytes(lambda layer=layer, fed=fed: layer(fed), besides=besides)
            ratio = times[name] / times["nn.Linear"]
            size = f"{rows}, {inputs}, {outputs}"
            lines.append(f"| {size} | {name} | {ratio:.2f} | {kept / (4 * x.numel()):.3f} |")
    return lines


def convolution_table(rounds: int = ROUNDS) -> list[str]:
    """The same for a convolution of one pixel."""
    images, inputs, outputs, side = PIXELS
    x, y_grad = torch.randn(images, inputs, side, side), torch.randn(images, outputs, side, side)
    chosen: dict[str, nn.Module] = {"nn.Conv2d": nn.Conv2d(inputs, outputs, 1)}
    for ratio in RATIOS:
        for sketch in CHEAP:
            chosen[f"{sketch} {ratio}"] = SketchedConv2d(
                inputs, outputs, ratio=ratio, sketch=sketch
            )
    times = fastest({k: training_step(v, x, y_grad) for k, v in chosen.items()}, rounds)
    lines = [f"| convolution, {images} x {inputs} x {side}^2 | time / nn.Conv2d |", "|---|---|"]
    return lines + [f"| {k} | {t / times['nn.Conv2d']:.2f} |" for k, t in times.items()]


def rows_table(rounds: int = ROUNDS) -> list[str]:
    """Time of the sketch itself, for each row: constant where the cost is linear."""
    runs = {}
    for rows in ROWS:
        x = torch.randn(rows, 768)
        for sketch in CHEAP:
            runs[f"{sketch} {rows}"] = lambda x=x, sketch=sketch: sketch_rows(
                x, ratio=0.1, sketch=sketch
            )
    times = fastest(runs, rounds)
    lines = ["| sketch | rows | time a row / that of 16384 |", "|---|---|---|"]
    for sketch in CHEAP:
        first = times[f"{sketch} {ROWS[0]}"] / ROWS[0]
        for rows in ROWS:
            share = times[f"{sketch} {rows}"] / rows / first
            lines.append(f"| {sketch} | {rows} | {share:.2f} |")
    return lines


def main() -> None:
    """Print all tables."""
    torch.set_num_threads(2)
    for table in (linear_table, convolution_table, rows_table):
        print(*table(), sep="\n", end="\n\n", flush=True)


if __name__ == "__main__":
    main()
