"""Sketched layers against `nn.Linear`: time of a training step, bytes kept, cost in rows.

`python -m verification.benchmarks.linear` prints one table; two threads, as a user has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from torch_bridge import SketchedConv2d, SketchedLinear, saved_bytes, sketch_rows
from verification.benchmarks._rows import Row, add_options, keep
from verification.benchmarks._times import fastest

#: Rows, inputs, outputs; the last is the head of a language model.
SIZES = ((4096, 768, 768), (4096, 768, 3072), (16384, 768, 768), (1024, 384, 30522))
PIXELS = (16, 256, 256, 32)  # images, channels in and out, height and width
ROWS = (16384, 32768, 65536)
RATIOS = (0.1, 0.5)
CHEAP, DENSE = ("uniform", "balanced"), ("rademacher", "gaussian")
ROUNDS = 6  # the dense sketches take most of the minutes


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


def linear(sizes: Sequence[tuple[int, int, int]], rounds: int) -> Iterator[Row]:
    """Wall time by that of nn.Linear, and bytes kept by those of the input."""
    _head("rows, in, out | layer | time / nn.Linear | bytes kept / X")
    for rows, inputs, outputs in sizes:
        torch.manual_seed(0)
        x, y_grad = torch.randn(rows, inputs), torch.randn(rows, outputs) / rows
        chosen = layers(inputs, outputs)
        times = fastest({k: training_step(v, x, y_grad) for k, v in chosen.items()}, rounds)
        for name, layer in chosen.items():
            besides = layer.parameters()
            fed = x.clone().requires_grad_()
            kept = saved_bytes(lambda layer=layer, fed=fed: layer(fed), besides=besides)
            share = kept / (4 * x.numel())
            size = f"{rows}, {inputs}, {outputs}"
            ratio = times[name] / times["nn.Linear"]
            print(f"| {size} | {name} | {ratio:.2f} | {share:.3f} |", flush=True)
            yield from _rows_of(size, name, times, share)


def _rows_of(size: str, name: str, times: dict[str, float], share: float) -> Iterator[Row]:
    table, case = "A layer; rows, inputs, outputs", f"{size}: {name}"
    numbers = {"bytes kept / those of the input": share}
    if name == "nn.Linear" or "replayed" in name:  # theirs
        yield Row(table, case, numbers=numbers)
        return
    published = f"dense, replayed {name.rsplit(maxsplit=1)[-1]}"
    yield Row(table, case, "nn.Linear", times[name] / times["nn.Linear"], numbers)
    yield Row(table, case, "dense, replayed", times[name] / times[published])


def convolution(rounds: int, images: int) -> Iterator[Row]:
    """The same for a convolution of one pixel."""
    _, inputs, outputs, side = PIXELS
    x, y_grad = torch.randn(images, inputs, side, side), torch.randn(images, outputs, side, side)
    chosen: dict[str, nn.Module] = {"nn.Conv2d": nn.Conv2d(inputs, outputs, 1)}
    for ratio in RATIOS:
        for sketch in CHEAP:
            chosen[f"{sketch} {ratio}"] = SketchedConv2d(
                inputs, outputs, ratio=ratio, sketch=sketch
            )
    times = fastest({k: training_step(v, x, y_grad) for k, v in chosen.items()}, rounds)
    size = f"{images} x {inputs} x {side}^2"
    _head(f"convolution, {size} | time / nn.Conv2d")
    peer = times.pop("nn.Conv2d")
    for name, seconds in times.items():
        print(f"| {name} | {seconds / peer:.2f} |", flush=True)
        case = f"{size}: {name}"
        yield Row("A convolution of one pixel", case, "nn.Conv2d", seconds / peer)


def rows_of_sketches(rounds: int) -> Iterator[Row]:
    """Time of the sketch itself, for each row: constant where the cost is linear."""
    runs = {}
    for rows in ROWS:
        x = torch.randn(rows, 768)
        for sketch in CHEAP:
            runs[sketch, rows] = lambda x=x, sketch=sketch: sketch_rows(x, ratio=0.1, sketch=sketch)
    times = {key: seconds / key[1] for key, seconds in fastest(runs, rounds).items()}
    _head("sketch | rows | time a row / that of 16384")
    for (sketch, rows), each in times.items():
        share = each / times[sketch, ROWS[0]]
        print(f"| {sketch} | {rows} | {share:.2f} |", flush=True)
        if rows != ROWS[0]:
            case = f"{sketch}, one of {rows} rows"
            yield Row("A sketch alone; near 1 where cost is linear", case, "one of 16384", share)


def _head(columns: str) -> None:
    print(f"\n| {columns} |\n" + "|---" * (columns.count("|") + 1) + "|")


def rows(quick: bool) -> Iterator[Row]:
    """All of them."""
    rounds = 1 if quick else ROUNDS
    yield from linear([(256, 64, 64)] if quick else SIZES, rounds)
    yield from convolution(rounds, 1 if quick else PIXELS[0])
    yield from rows_of_sketches(rounds)


def main() -> None:
    """Print all tables."""
    options = add_options(argparse.ArgumentParser(description=__doc__)).parse_args()
    torch.set_num_threads(2)
    keep(rows(options.quick), options.rows)


if __name__ == "__main__":
    main()
