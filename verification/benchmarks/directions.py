"""Equiangular steps against plain backward passes, and weights against TorchJD's MGDA.

`python -m verification.benchmarks.directions` prints the tables; one thread, where ratios repeat.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from odecore.directions import equiangular_weights, min_norm_weights
from torch_bridge import equiangular_backward
from verification.benchmarks._rows import Row, add_options, keep, versus
from verification.benchmarks._times import fastest

OBJECTIVES = (2, 5, 10)
#: Rows, width of the trunk of three layers.
SIZES = ((64, 256), (256, 512), (1024, 512), (4096, 256))
#: What others do; the rest of `steps` is ours.
PEERS = ("m backward passes", "m calls of autograd.grad", "torchjd, MGDA")
MANY = (5, 32, 128, 256)
LIMITS = {5: 0.2, 32: 1.0, 128: 10.0, 256: 100.0}  # milliseconds
ROUNDS = 9
CALLS = 10  # of weights in a row: one call among others measures what those left in the caches


class Tasks(nn.Module):
    """A trunk of three layers, and a small head for each loss."""

    def __init__(self, m: int, rows: int, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [layer for _ in range(3) for layer in (nn.Linear(width, width), nn.ReLU())]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(width, 10) for _ in range(m))
        self.x, self.y = torch.randn(rows, width), torch.randint(0, 10, (m, rows))
        self.z = self.trunk(self.x)
        cross_entropy = nn.functional.cross_entropy
        heads = zip(self.heads, self.y, strict=True)
        self.losses: list[Tensor] = [cross_entropy(head(self.z), y) for head, y in heads]


def steps(model: Tasks) -> dict[str, Callable[[], object]]:
    """Gradients of one forward pass, which is kept, in all ways."""
    from torchjd.aggregation import MGDA
    from torchjd.autojac import jac_to_grad, mtl_backward

    trunk, heads = list(model.trunk.parameters()), list(model.heads.parameters())
    options = {"parameters": trunk, "task_specific": heads, "retain_graph": True}

    def passes() -> None:
        for loss in model.losses:
            loss.backward(retain_graph=True)

    def gradients() -> None:
        every = [*trunk, *heads]
        for loss in model.losses:
            torch.autograd.grad(loss, every, retain_graph=True, allow_unused=True)

    def equiangular(**more: object) -> Callable[[], object]:
        return lambda: equiangular_backward(model.losses, **options, **more)  # type: ignore[arg-type]

    def cleared(run: Callable[[], object]) -> Callable[[], None]:
        def with_clearing() -> None:
            model.zero_grad()
            run()

        return with_clearing

    def peer() -> None:
        mtl_backward(
            model.losses,
            features=model.z,
            tasks_params=[list(head.parameters()) for head in model.heads],
            shared_params=trunk,
            retain_graph=True,
        )
        jac_to_grad(trunk, MGDA())

    runs = {
        "torchjd, MGDA": peer,
        "m backward passes": passes,
        "m calls of autograd.grad": gradients,
        "equiangular": equiangular(),
        "through features": equiangular(shared=model.z),
        "through features, all at once": equiangular(shared=model.z, chunk=len(model.losses)),
        "weights from features": equiangular(shared=model.z, gramian="features"),
    }
    return {name: cleared(run) for name, run in runs.items()}


def step_rows(quick: bool) -> Iterator[Row]:
    """Time of a step's gradients by that of one backward pass for each loss, and others' ways."""
    print("| m | rows, width | gradients | time / m backward passes |", "|---" * 4 + "|", sep="\n")
    for m in OBJECTIVES[:1] if quick else OBJECTIVES:
        for rows, width in ((16, 32),) if quick else SIZES:
            times = fastest(steps(Tasks(m, rows, width)), 1 if quick else ROUNDS)
            for name, seconds in times.items():
                ratio = seconds / times["m backward passes"]
                print(f"| {m} | {rows}, {width} | {name} | {ratio:.2f} |", flush=True)
                if name not in PEERS:
                    case = f"m = {m}; {rows}, {width}: {name}"
                    yield from versus(
                        "Gradients of m losses; rows, width", case, times, PEERS, name
                    )


def weights_rows(quick: bool) -> Iterator[Row]:
    """Milliseconds for weights; by those of TorchJD's MGDA; inequality of active cosines."""
    from torchjd.aggregation import MGDAWeighting

    print("| m, n | weights | ms | limit | time / torchjd MGDA | error | torchjd's error |")
    print("|---" * 7 + "|")
    peer = MGDAWeighting()
    for m in MANY[:1] if quick else MANY:
        for n in (10 * m, m, m // 2 + 1):
            J = np.random.default_rng(m).standard_normal((m, n)) + 0.1
            G = J @ J.T
            tensor = torch.as_tensor(G)
            times = fastest(
                {
                    "equiangular": _repeated(equiangular_weights, G),
                    "min-norm": _repeated(min_norm_weights, G),
                    "torchjd": _repeated(peer, tensor),
                },
                1 if quick else ROUNDS,
            )
            theirs = _excess(G, peer(tensor).numpy())
            found = equiangular_weights(G)
            errors = {
                "equiangular": abs(found.duality_gap),
                "min-norm": _excess(G, min_norm_weights(G).multipliers),
            }
            for name, error in errors.items():
                ms, ratio = 1e3 * times[name] / CALLS, times[name] / times["torchjd"]
                print(
                    f"| {m}, {n} | {name} | {ms:.2f} | {LIMITS[m]:g} | {ratio:.2f} | {error:.0e} "
                    f"| {theirs:.0e} |",
                    flush=True,
                )
                table, case = "Weights of m gradients in n dimensions", f"{m}, {n}: {name}"
                gaps = {"duality gap": error, "its gap": theirs}
                yield Row(table, case, "TorchJD's MGDA", ratio, gaps)
                yield Row(table, case, "our limit", ms / LIMITS[m])


def _repeated(weights: Callable[[Any], object], G: Any) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CALLS):
            weights(G)

    return run


def _excess(G: np.ndarray, alpha: np.ndarray) -> float:
    """Duality gap of the shortest combination, relative to the largest squared norm."""
    products = G @ alpha
    return float(abs(alpha @ products - products.min()) / np.diag(G).max())


def main() -> None:
    """Print all tables."""
    options = add_options(argparse.ArgumentParser(description=__doc__)).parse_args()
    torch.set_num_threads(1)
    rows = (row for table in (weights_rows, step_rows) for row in table(options.quick))
    keep(rows, options.rows)


if __name__ == "__main__":
    main()
