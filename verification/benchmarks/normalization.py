"""What normalization costs in a training step, and a check of the right-hand side.

`python -m verification.benchmarks.normalization` prints ratios to GroupNorm of the least of many
wall times, all ways in turn, so that what else the machine does falls on all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from statistics import mean
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from torch_bridge import NeuralODE, ODENet4, check_rhs
from verification._options import positive
from verification.benchmarks._rows import Row, add_options, keep
from verification.benchmarks._times import fastest

WAYS: dict[str, Any] = {
    "GroupNorm": "group",
    "none": "none",
    "plain BatchNorm": "batch",
    "TimeBatchNorm": "time batch",
    "weight norm": "weight",
    "spectral norm": "spectral",
}
#: Dimensions of the data and its shape, channels, batch.
SIZES = {
    "8 x 8, width 16, batch 64": (2, (8, 8), 16, 64),
    "16 x 16, width 32, batch 32": (2, (16, 16), 32, 32),
    "signals of 40, width 16, batch 64": (1, (40,), 16, 64),
}
LIMIT = 1.3  # of TimeBatchNorm


def ratios(size: str, rounds: int) -> dict[str, float]:
    """Of a forward and a backward pass through ODENet4 with eight steps of Euler's method."""
    dimensions, shape, width, batch = SIZES[size]
    torch.manual_seed(0)
    x, y = torch.randn(batch, 1, *shape), torch.randint(10, (batch,))
    more = {"width": width, "dimensions": dimensions, "check": "off"}
    models = {name: ODENet4(1, 10, ode=ode, **more) for name, ode in WAYS.items()}
    field = next(m for m in models["GroupNorm"].modules() if isinstance(m, NeuralODE)).func
    state = torch.randn(batch, width, *shape)

    def step(model: ODENet4) -> None:
        cross_entropy(model(x), y).backward()

    runs = {name: partial(step, model) for name, model in models.items()}
    least = fastest(runs | {"one check_rhs": partial(check_rhs, field, 0.0, state)}, rounds)
    return {name: seconds / least["GroupNorm"] for name, seconds in least.items()}


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 if TimeBatchNorm is beyond its limit in the mean over the sizes."""
    parser = add_options(argparse.ArgumentParser(description=__doc__))
    parser.add_argument("--rounds", type=positive, default=60)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sizes = list(SIZES)[-1:] if options.quick else list(SIZES)
    found = {size: ratios(size, 2 if options.quick else options.rounds) for size in sizes}
    print(
        f"{'time / GroupNorm':36s}" + "".join(f"{name:>17s}" for name in (*WAYS, "one check_rhs"))
    )
    for size, row in found.items():
        print(f"{size:36s}" + "".join(f"{ratio:17.2f}" for ratio in row.values()))
    keep(rows(found), options.rows)
    beyond = mean(row["TimeBatchNorm"] for row in found.values()) > LIMIT
    if beyond:
        print(f"TimeBatchNorm takes more than {LIMIT} of GroupNorm in the mean over the sizes")
    return int(beyond and not options.quick)  # few repetitions show nothing


def rows(found: dict[str, dict[str, float]]) -> Iterator[Row]:
    """All ratios but that of GroupNorm to itself."""
    table = "A training step of ODENet4, by the normalization of its ODE block"
    for size, by_name in found.items():
        for name, ratio in by_name.items():
            if name != "GroupNorm":
                yield Row(table, f"{size}: {name}", "GroupNorm", ratio)


if __name__ == "__main__":
    raise SystemExit(main())
