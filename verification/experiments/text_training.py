"""Fine-tuning a pretrained transformer on film reviews with sketched layers, planned and measured.

`python -m verification.experiments.text_training` prints the variance of each layer's gradient
against its formula, then accuracy, bytes kept and time of a training step. The experiment of arXiv
2201.13195 in small, with real weights and real text.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from odecore.sketching import minibatch_variance, variance
from torch_bridge import SketchPlan, apply, counted_rows, plan, saved_bytes
from torch_bridge._draws import SKETCHES
from verification._interval import Estimate
from verification._options import positive
from verification.text import Classifier, Reviews, minilm, movie_reviews, pad, token_ids

__all__ = ["WAYS", "Way", "main", "noise_table", "train"]

Batch = tuple[Tensor, Tensor]  # tokens and mask
LENGTH, BATCH, RATE, EPOCHS = 48, 32, 1e-4, 2
TRAIN = 2000
DRAWS = 400
LIMIT = 6.0  # standard errors: where few rows dominate, squares have long tails


@dataclass(frozen=True)
class Way:
    """One way to fine-tune.

    Parameters
    ----------
    ratio : float, optional
        Of what planned layers keep, to what their inputs take now.
    counted : bool
        Whether sketches leave padding out.
    checkpointed : bool
        Whether each layer of the encoder runs again in the backward pass.
    sketch : str
    """

    ratio: float | None = None
    counted: bool = False
    checkpointed: bool = False
    sketch: str = "uniform"


WAYS = {
    "exact": Way(),
    "checkpointed": Way(checkpointed=True),
    "padding left out": Way(1.0, counted=True),
    "ratio 0.5": Way(0.5),
    "ratio 0.2": Way(0.2),
    "ratio 0.1": Way(0.1),
    "ratio 0.1, padding left out": Way(0.1, counted=True),
}


@dataclass(frozen=True)
class Run:
    """What one fine-tuning gave: accuracy, the most bytes kept, and the planned noise."""

    accuracy: float
    saved: int
    noise: float


@dataclass(frozen=True)
class LayerNoise:
    """Of a sketched layer: claimed variance per mini-batch variance, measured per claimed, z."""

    name: str
    noise: float
    share: float
    z: float


class _Texts:
    """Tokens and labels of both sides."""

    def __init__(self, reviews: Reviews) -> None:
        self.train = token_ids(reviews.train_texts, length=LENGTH), reviews.train_labels
        self.test = token_ids(reviews.test_texts, length=LENGTH), reviews.test_labels

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Batch, Tensor]]:
        """Training batches in random order."""
        ids, labels = self.train
        order = torch.randperm(len(ids), generator=generator)
        for part in order.split(BATCH):
            if len(part) == BATCH:
                batch = pad([ids[k] for k in part.tolist()], length=LENGTH)
                yield (batch.tokens, batch.mask), labels[part]

    def accuracy(self, model: nn.Module) -> float:
        """Share of right answers on the test side."""
        ids, labels = self.test
        right = 0
        model.eval()
        with torch.no_grad():
            for k in range(0, len(ids), 64):
                batch = pad(ids[k : k + 64])
                answers = model(batch.tokens, batch.mask).argmax(1)
                right += int((answers == labels[k : k + 64]).sum())
        return right / len(ids)


def model_of(seed: int) -> Classifier:
    """MiniLM with frozen embedding tables and a new head."""
    torch.manual_seed(seed)
    model = Classifier(minilm(), 2)
    for table in (model.encoder.words, model.encoder.positions, model.encoder.types):
        table.requires_grad_(False)
    return model


def prepared(
    way: Way, seed: int, batch: Batch, labels: Tensor
) -> tuple[Classifier, SketchPlan | None]:
    """The model of a way, and its plan."""
    model = model_of(seed)
    found = planned(model, way, batch, labels)
    if way.checkpointed:
        for k, layer in enumerate(model.encoder.layers):
            model.encoder.layers[k] = _Checkpointed(layer)
    return model, found


def planned(model: nn.Module, way: Way, batch: Batch, labels: Tensor) -> SketchPlan | None:
    """Sketch the layers of a model, within the memory that the way allows."""
    if way.ratio is None:
        return None
    options: dict[str, Any] = {"loss": lambda y, _: cross_entropy(y, labels), "sketch": way.sketch}
    with _rows(way, batch):
        if way.ratio == 1.0:  # no noise at all, but without padding
            found = plan(model, batch, noise=1e-9, **options)
        else:
            whole = plan(model, batch, budget=1.0, **options)
            inputs = sum(one.bytes_now for one in whole.layers)
            budget = whole.bytes_now - (1 - way.ratio) * inputs
            found = plan(model, batch, budget=budget, **options)
    apply(found)
    return found


def train(way: Way, texts: _Texts, seed: int) -> Run:
    """Fine-tune with AdamW, a warm-up and a linear decay; batches come from the seed only."""
    first, labels = next(texts.batches(torch.Generator().manual_seed(10**6 + seed)))
    model, found = prepared(way, seed, first, labels)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
    steps = EPOCHS * (len(texts.train[0]) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min(1.0, (k + 1) / (0.06 * steps), (steps - k) / (0.94 * steps))
    )
    generator = torch.Generator().manual_seed(seed)
    saved = 0
    for _ in range(EPOCHS):
        model.train()
        for k, (batch, labels) in enumerate(texts.batches(generator)):
            optimizer.zero_grad()
            with _rows(way, batch):
                if k % 20 == 0:
                    saved = max(saved, kept(model, batch, labels))
                cross_entropy(model(*batch), labels).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return Run(texts.accuracy(model), saved, found.noise if found else 0.0)


def step_times(texts: _Texts, rounds: int) -> dict[str, float]:
    """Median time of a forward and a backward pass of each way, taken in turns."""
    batch, labels = next(texts.batches(torch.Generator().manual_seed(5)))
    models = {name: prepared(way, 0, batch, labels)[0] for name, way in WAYS.items()}
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, model in models.items():
            model.zero_grad()
            start = time.perf_counter()
            with _rows(WAYS[name], batch):
                cross_entropy(model(*batch), labels).backward()
            times[name].append(time.perf_counter() - start)
    return {name: median(found) for name, found in times.items()}


def kept(model: nn.Module, batch: Batch, labels: Tensor) -> int:
    """Bytes that autograd keeps of a step."""
    besides = [*model.parameters(), *model.buffers(), *batch, labels]
    return saved_bytes(lambda: cross_entropy(model(*batch), labels), besides=besides)


class _Checkpointed(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, state: Tensor, mask: Tensor) -> Tensor:
        return checkpoint(self.layer, state, mask, use_reentrant=False)


def _rows(way: Way, batch: Batch) -> Any:
    return counted_rows(batch[1]) if way.counted else nullcontext()


def noise_table(texts: _Texts, way: Way, draws: int = DRAWS) -> list[LayerNoise]:
    """Draw each sketched layer's gradient many times, for its real input and output gradient.

    Measured is the mean of ||gradient - exact gradient||^2, claimed the exact variance.
    """
    model = model_of(0)
    batch, labels = next(texts.batches(torch.Generator().manual_seed(5)))
    found = planned(model, way, batch, labels)
    assert found is not None
    pairs: dict[str, list[Tensor]] = {}
    layers = {one.name: model.get_submodule(one.name) for one in found.layers if one.ratio}
    handles = [v.register_forward_hook(_watch(pairs, k)) for k, v in layers.items()]
    with _rows(way, batch):
        cross_entropy(model(*batch), labels).backward()
    for handle in handles:
        handle.remove()
    rows = []
    for name, layer in layers.items():
        X, Y = pairs.pop(name)
        squares = []
        flat = [A.reshape(-1, A.shape[-1]) for A in (X, Y)]
        exact = flat[1].T @ flat[0]
        for _ in range(draws):
            layer.zero_grad()
            with _rows(way, batch):
                layer(X).backward(Y)
            squares.append(float((layer.weight.grad - exact).square().sum()))
        units = torch.arange(len(flat[0])) // (len(flat[0]) // BATCH)
        if way.counted and len(units) == batch[1].numel():
            flat, units = [A[batch[1].flatten()] for A in flat], units[batch[1].flatten()]
        size = next(one.size for one in found.layers if one.name == name)
        claimed = float(variance(SKETCHES[way.sketch](size), *flat))
        noise = float(minibatch_variance(*flat, units=units.numpy()))
        average, error = mean(squares), stdev(squares) / draws**0.5
        z = (average - claimed) / error
        rows.append(LayerNoise(name, claimed / noise, average / claimed, z))
    return rows


def _watch(pairs: dict[str, list[Tensor]], name: str) -> Callable[..., None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pairs[name] = [inputs[0].detach()]
        output.register_hook(lambda g: pairs[name].append(g.detach()))

    return hook


def line(name: str, runs: list[Run], exact: list[Run], times: dict[str, float]) -> str:
    """A line of the table; differences are paired by seed."""
    accuracies, others = ([run.accuracy for run in some] for some in (runs, exact))
    accuracy, difference = Estimate.of(accuracies), Estimate.paired(accuracies, others)
    saved, noise = mean(run.saved for run in runs), mean(run.noise for run in runs)
    return (
        f"| {name} | {accuracy.percent()} | {difference.percent('+')} | {saved / 2**20:.1f} | "
        f"{saved / exact[0].saved:.2f} | {times[name] / times['exact']:.2f} | {noise:.2f} |"
    )


HEADER = (
    "| way | accuracy % | difference | MiB kept | / exact | time / exact | noise |\n"
    "|---|---|---|---|---|---|---|"
)


def main(arguments: list[str] | None = None) -> int:
    """Print both tables; 1 if the noise of a layer is further off its formula than LIMIT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few texts: does it run?")
    parser.add_argument(
        "--seeds", type=positive, default=3, help="trainings of each row (default: 3)"
    )
    parser.add_argument("--only", nargs="+", choices=WAYS, metavar="WAY", help="rows, beside exact")
    parser.add_argument(
        "--texts", type=positive, default=TRAIN, help="to train (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    sides = {"train": 128, "test": 64} if options.quick else {"train": options.texts, "test": 1000}
    reviews = movie_reviews(**sides)
    texts = _Texts(reviews)
    seeds = range(1 if options.quick else options.seeds)
    ways = {name: way for name, way in WAYS.items() if name in ["exact", *(options.only or WAYS)]}
    wrong = 0
    draws = 20 if options.quick else DRAWS
    for name in () if options.only else ("ratio 0.2", "ratio 0.1, padding left out"):
        print(f"\n{name}\n| layer | noise | measured / claimed | z |\n|---|---|---|---|")
        for one in noise_table(texts, WAYS[name], draws):
            print(f"| {one.name} | {one.noise:.3f} | {one.share:.3f} | {one.z:+.1f} |", flush=True)
            wrong += abs(one.z) > LIMIT
    counts = f"{len(texts.train[0])} texts, {len(texts.test[0])} to test, {len(seeds)} seeds"
    print(f"\n{counts}\n{HEADER}")
    exact: list[Run] = []
    times = step_times(texts, 3 if options.quick else 15)
    for name, way in ways.items():
        runs = [train(way, texts, seed) for seed in seeds]
        exact = exact or runs
        print(line(name, runs, exact, times), flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
