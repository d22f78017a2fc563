"""The published recipe on CIFAR-10: ODENet10 by normalization, 350 epochs (arXiv 2004.09222).

`python -m verification.experiments.cifar10 --data DIRECTORY` needs torchvision and the data set,
which it downloads there, and in practice a GPU. `--keep FILE` writes a checkpoint after each epoch
and goes on from it. `--limit N` trains on N generated images, without either: does it run?
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from torch_bridge import NORMALIZATIONS, WEIGHT_NORMALIZATIONS, ODENet4, ODENet10
from verification._options import file_to_write, positive

__all__ = ["generated", "main", "rate", "shifted_and_mirrored"]

NETWORKS: dict[str, Any] = {"ODENet4": ODENet4, "ODENet10": ODENet10}
MEAN, SPREAD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
Images = tuple[Tensor, Tensor]


def rate(epoch: int) -> float:
    """Learning rate: 0.1, a tenth of it after 150 epochs, a hundredth after 250."""
    return 0.1 / (10 if epoch >= 150 else 1) / (10 if epoch >= 250 else 1)


def downloaded(directory: Path) -> tuple[Images, Images]:
    """CIFAR-10, (50000, 3, 32, 32) and (10000, 3, 32, 32), each channel in units of its spread."""
    try:
        from torchvision.datasets import CIFAR10
    except ImportError as error:
        raise SystemExit("install torchvision for CIFAR-10, or give --limit") from error
    mean, spread = (torch.tensor(x)[:, None, None] for x in (MEAN, SPREAD))

    def images(train: bool) -> Images:
        found = CIFAR10(directory, train=train, download=True)
        x = torch.from_numpy(found.data).permute(0, 3, 1, 2).float() / 255
        return (x - mean) / spread, torch.tensor(found.targets)

    return images(True), images(False)


def generated(count: int) -> tuple[Images, Images]:
    """Ten kinds of waves with noise, in the shape of CIFAR-10: to see that training runs."""
    generator = torch.Generator().manual_seed(0)
    grid = torch.arange(32) * (2 * math.pi / 32)

    def images(count: int) -> Images:
        y = torch.randint(10, (count,), generator=generator)
        wave = torch.sin((y[:, None] + 1) * grid)[:, None, None]
        return wave + 0.5 * torch.randn(count, 3, 32, 32, generator=generator), y

    return images(count), images(max(1, count // 5))


def shifted_and_mirrored(x: Tensor, generator: torch.Generator) -> Tensor:
    """Random crops of 32 x 32 from images with a border of 4 zeros, half of them mirrored."""
    count, _, size, _ = x.shape
    rows, columns = torch.randint(9, (2, count), generator=generator)
    mirrored = torch.rand(count, generator=generator) < 0.5
    index = torch.arange(size)
    across = torch.where(mirrored[:, None], index.flip(0), index) + columns[:, None]
    down = index + rows[:, None]
    sample = torch.arange(count)[:, None, None]
    moved = pad(x, (4, 4, 4, 4)).permute(0, 2, 3, 1)
    return moved[sample, down[:, :, None], across[:, None]].permute(0, 3, 1, 2)


def epoch_of_training(
    model: nn.Module,
    data: Images,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    options: argparse.Namespace,
) -> float:
    """Train once through the data, in an order of the epoch's own; the mean loss."""
    generator = torch.Generator().manual_seed(10_000 * options.seed + epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate(epoch)
    losses = []
    model.train()
    for index in torch.randperm(len(data[0]), generator=generator).split(options.batch):
        x = shifted_and_mirrored(data[0][index], generator).to(options.device)
        optimizer.zero_grad()
        loss = cross_entropy(model(x), data[1][index].to(options.device))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@torch.no_grad()
def accuracy(model: nn.Module, data: Images, options: argparse.Namespace) -> float:
    """Share of right answers in evaluation."""
    model.eval()
    pairs = zip(data[0].split(options.batch), data[1].split(options.batch), strict=True)
    hits = [int((model(x.to(options.device)).argmax(1).cpu() == y).sum()) for x, y in pairs]
    return sum(hits) / len(data[0])


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build/cifar10"))
    parser.add_argument("--limit", type=positive, help="generated images, in place of CIFAR-10")
    parser.add_argument("--keep", type=file_to_write, help="checkpoint, continued if it is there")
    parser.add_argument("--network", choices=NETWORKS, default="ODENet10")
    choices = sorted({*NORMALIZATIONS, *WEIGHT_NORMALIZATIONS})
    parser.add_argument("--ode", choices=choices, default="group", help="in the ODE blocks")
    outside = [choice for choice in choices if choice != "time batch"]  # where there is no time
    parser.add_argument("--elsewhere", choices=outside, default="batch", help="and outside of them")
    parser.add_argument("--activation", choices=("post", "pre"), default="post")
    parser.add_argument("--width", type=positive, default=64)
    parser.add_argument("--solver", default="euler")
    parser.add_argument("--steps", type=positive, default=8)
    parser.add_argument("--epochs", type=positive, default=350)
    parser.add_argument("--batch", type=positive, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train, and print the loss and the accuracy after each epoch."""
    options = parsed(arguments)
    train, test = generated(options.limit) if options.limit else downloaded(options.data)
    torch.manual_seed(options.seed)
    more = {"residual": options.elsewhere} if options.network == "ODENet10" else {}
    try:
        model = NETWORKS[options.network](
            3, 10, width=options.width, first=options.elsewhere, ode=options.ode,
            activation=options.activation, solver=options.solver, steps=options.steps,
            intervals=options.steps, **more,
        )  # fmt: skip
    except ValueError as error:  # such as an unknown solver
        raise SystemExit(f"no such network: {error}") from error
    model.to(options.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    start = 0
    setting = {k: str(v) for k, v in vars(options).items() if k not in ("epochs", "keep", "device")}
    if options.keep and options.keep.exists():
        kept = torch.load(options.keep, map_location=options.device)
        if kept["setting"] != setting:
            raise SystemExit(f"{options.keep} is of another setting: {kept['setting']}")
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        start = kept["epoch"]
        if start >= options.epochs:
            print(f"{options.keep} has its {start} epochs already: give more with --epochs")
    for epoch in range(start, options.epochs):
        loss = epoch_of_training(model, train, optimizer, epoch, options)
        share = accuracy(model, test, options)
        print(f"epoch {epoch + 1:3d}  loss {loss:.4f}  accuracy {share:.4f}", flush=True)
        if options.keep:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            written = options.keep.with_name(f"{options.keep.name}.new")
            torch.save({**state, "epoch": epoch + 1, "setting": setting}, written)
            os.replace(written, options.keep)  # whole, or not at all
    return 0


if __name__ == "__main__":
    sys.exit(main())
