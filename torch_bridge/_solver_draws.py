"""What solvers draw at random: the same in all processes, in a repeated pass, after a restart."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import torch
from torch import Tensor, distributed, nn

from torch_bridge._draws import backward_pass, in_backward
from torch_bridge._evaluation import require_module, untouched_randomness
from torch_bridge._fields import inside_torch_func, inside_transform

__all__ = [
    "DrawnSolver",
    "beside_training",
    "draw_again",
    "drawing",
    "first_draws",
    "require_drawn",
    "untouched_names",
]

DISTRIBUTED = distributed.is_available()  # as torch was built
REMEMBERED = 4096  # draws that a checkpoint may ask for again, of each mode
Named = dict[bool, OrderedDict[int, int | None]]  # numbers of draws by name, in training or not


class _Thread(threading.local):
    """Python's generator: its seed is set in a tenth of the time that NumPy's takes."""

    def __init__(self) -> None:
        self.generator = Random()  # noqa: S311  to make one takes twice as long as to seed it


_thread = _Thread()


class DrawnSolver(nn.Module):
    """Base of solvers that are drawn; draw number k of a seed is the same wherever it is made.

    Parameters
    ----------
    generator : torch.Generator, optional
        Gives the seed, once; by default torch's own, which `torch.manual_seed` sets.

    Notes
    -----
    State is the seed and the number of draws in training; both are in `state_dict`, so that a
    training that is resumed draws what it would have drawn. Draws in evaluation are counted apart
    and leave those of training alone.

    In a process group all draw what the first process draws: its seed and count are broadcast at
    the first draw in training, and again after `load_state_dict`; each process must get there.
    Draws in evaluation, which some processes may leave out, are not waited for: before the first
    draw in training they are the same only after the same seed.

    A checkpoint that runs a forward pass again restores torch's random state. Each draw takes one
    number of that as its name, by which the repeated pass finds it. Names in evaluation are kept
    apart, so that they neither displace nor equal those of training; there a name that comes again,
    after the same seed, is the same draw.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not isinstance(generator, torch.Generator | None):
            raise TypeError(
                "`generator` must be a torch.Generator or None, got "
                f"{type(generator).__name__}; for a seed torch.Generator().manual_seed(0)"
            )
        device = "cpu" if generator is None else generator.device
        self._seed = int(torch.randint(2**62, (), generator=generator, device=device))
        self._counts = {True: 0, False: 0}  # draws in training, and in evaluation
        self._agreed = False
        self._named: Named = {True: OrderedDict(), False: OrderedDict()}
        self.draws_in_evaluation = False
        self.draws_in_backward = -1  # the number of a backward pass that repeats draws

    def is_drawing(self) -> bool:
        """Whether this call draws: in training, inside `drawing`, and where that is repeated.

        A checkpoint that repeats a pass after its mode has changed would see another solver.
        """
        if self.training or self.draws_in_evaluation:
            return True
        if not in_backward() or inside_torch_func():
            return False
        if self.draws_in_backward == backward_pass():
            return True
        name = _next_name()
        if any(name in named for named in self._named.values()):
            raise RuntimeError(
                "a checkpoint repeats a solver that was drawn in its forward pass and is not now: "
                "run the backward pass in the same mode, inside `drawing` as well"
            )
        return False

    def next_draw(self) -> Random:
        """Random numbers of the next draw, or of the one that a checkpoint repeats.

        They are for use at once: the next call in this thread sets the same generator.
        """
        name = None if inside_torch_func() else int(torch.randint(2**62, (), device="cpu"))
        if in_backward():
            in_training, count = self._found(name)
            if count is None:
                raise RuntimeError(
                    "a solver is drawn in a backward pass, but no draw of a forward pass has this "
                    "random state, or more than one has: checkpoint with preserve_rng_state=True, "
                    f"at most {REMEMBERED} draws between the passes, in the same mode, and no seed "
                    "set twice"
                )
        else:
            in_training = self.training
            if in_training and not self._agreed:
                self._agree()
            count = self._named_draw(name, in_training)
        generator = _thread.generator
        generator.seed(self._seed << 65 | in_training << 64 | count)
        return generator

    def _named_draw(self, name: int | None, in_training: bool) -> int:
        """The number of a draw, the next one unless evaluation knows its name."""
        named = self._named[in_training]
        if not in_training and name is not None and (known := named.get(name)) is not None:
            return known
        count = self._counts[in_training]
        self._counts[in_training] += 1
        if name is not None:
            # Two draws of one name, after a seed that was set twice, can not be told apart.
            named[name] = None if name in named else count
        if len(named) > REMEMBERED:
            named.popitem(last=False)
        return count

    def _found(self, name: int | None) -> tuple[bool, int | None]:
        """The draw of a name, rather in the mode of now, and whether it was in training."""
        mode = self.training if name in self._named[self.training] else not self.training
        return mode, None if name is None else self._named[mode].get(name)

    def _agree(self) -> None:
        """Take seed and count of the first process, once there is a process group."""
        if DISTRIBUTED and distributed.is_initialized():
            state = [self._seed, self._counts[True]]
            distributed.broadcast_object_list(state, src=0)
            self._seed, self._counts[True] = state
            self._agreed = True

    def get_extra_state(self) -> Tensor:
        """Seed and number of draws in training, for `state_dict`."""
        return torch.tensor([self._seed, self._counts[True]], device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from the `state` that `get_extra_state` gave."""
        self._seed, self._counts[True] = state.tolist()
        self._agreed = False
        for named in self._named.values():
            named.clear()


def _drawn(model: nn.Module) -> list[DrawnSolver]:
    return [module for module in model.modules() if isinstance(module, DrawnSolver)]


def _next_name() -> int:
    """The number that the next draw would have for its name, which is left to it."""
    state = torch.get_rng_state()
    name = int(torch.randint(2**62, (), device="cpu"))
    torch.set_rng_state(state)
    return name


@contextmanager
def drawing(model: nn.Module) -> Iterator[None]:
    """Let the solvers of a model draw in evaluation as well, for the body of a `with`.

    Parameters
    ----------
    model : Module

    Raises
    ------
    TypeError
        For a model that is no Module.
    """
    require_module(model)
    solvers = _drawn(model)
    before = [solver.draws_in_evaluation for solver in solvers]
    try:
        for solver in solvers:
            solver.draws_in_evaluation = True
        yield
    finally:
        for solver, value in zip(solvers, before, strict=True):
            solver.draws_in_evaluation = value


def draw_again(model: nn.Module, output: Tensor) -> None:
    """Let the solvers draw in the backward pass of an output that was made inside `drawing`."""
    if not output.requires_grad or inside_transform():
        return
    solvers = _drawn(model)

    def mark(_: Tensor) -> None:
        for solver in solvers:
            solver.draws_in_backward = backward_pass()

    output.register_hook(mark)


@contextmanager
def beside_training(model: nn.Module) -> Iterator[None]:
    """Put back torch's random numbers, numbers of draws in evaluation, and names of draws.

    So what is drawn inside is the same once more.
    """
    solvers = _drawn(model)
    before = [solver._counts[False] for solver in solvers]
    try:
        with untouched_randomness(), untouched_names(model):
            yield
    finally:
        for solver, count in zip(solvers, before, strict=True):
            solver._counts[False] = count


@contextmanager
def first_draws(model: nn.Module) -> Iterator[None]:
    """Let the draws in evaluation begin with the first; afterwards they go on where they were."""
    solvers = _drawn(model)
    before = [(solver._counts[False], solver._named[False]) for solver in solvers]
    try:
        for solver in solvers:
            solver._counts[False], solver._named[False] = 0, OrderedDict()
        yield
    finally:
        for solver, (count, named) in zip(solvers, before, strict=True):
            solver._counts[False], solver._named[False] = count, named


@contextmanager
def untouched_names(model: nn.Module) -> Iterator[None]:
    """Put back the names by which checkpoints find draws."""
    solvers = _drawn(model)
    before = [{mode: d.copy() for mode, d in solver._named.items()} for solver in solvers]
    try:
        yield
    finally:
        for solver, named in zip(solvers, before, strict=True):
            solver._named = named


def require_drawn(model: nn.Module) -> None:
    """Raise ValueError unless a solver of the model is drawn, TypeError unless it is a Module."""
    require_module(model)
    if not _drawn(model):
        raise ValueError(
            "no solver of this model is drawn: give a NeuralODE a SmoothedSolver or SwitchedSolver"
        )
