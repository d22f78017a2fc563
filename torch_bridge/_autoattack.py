"""AutoAttack, by pyautoattack, fitted to the inputs and the classes of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from torch_bridge._attack import Attack
from torch_bridge._evaluation import untouched_randomness
from torch_bridge._unknown_options import require_choice

__all__ = ["autoattack"]

VERSIONS = ("standard", "plus", "rand", "custom")  # of AutoAttack
ATTACKS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
CLASSES = {"apgd-dlr": 3, "apgd-t": 4}  # that the losses of these attacks need
SIDE = 5  # of the smallest image that all attacks take


def autoattack(
    eps: float,
    norm: str = "inf",
    *,
    version: str = "standard",
    seed: int = 0,
    attacks: Sequence[str] | None = None,
) -> Attack:
    """AutoAttack, by pyautoattack, for inputs in [0, 1].

    Parameters
    ----------
    eps : float
    norm : {"inf", "2", "1"}, optional
    version : {"standard", "plus", "rand", "custom"}, optional
        "rand" averages gradients over draws of a random model, and is the one for those.
    seed : int, optional
    attacks : sequence of str, optional
        For "custom", and needed there, at least one: of "apgd-ce", "apgd-dlr", "apgd-t", "fab",
        "fab-t" and "square".

    Returns
    -------
    Attack

    Raises
    ------
    ValueError
        For another `version` or `norm`, other `attacks`, none with "custom" or some with another
        version; when it attacks, if `attacks` holds one that needs more classes than the model
        tells apart: 3 for "apgd-dlr", 4 for "apgd-t".
    ImportError
        Without the extra `robust`: ``pip install odecore[robust]``.

    Notes
    -----
    Inputs that are no images (n, channels, height, width) of at least 5 by 5 are laid out on a
    square, whose rest the model does not see. Of fewer than 10 classes all others are targets. The
    versions leave out attacks that need more classes, and of 3 take "apgd-dlr" in place of
    "apgd-t"; one logit counts as two classes.
    """
    require_choice("version", version, VERSIONS)
    attacks = attacks if attacks is None or isinstance(attacks, str) else list(attacks)
    if (version == "custom") != bool(attacks) or isinstance(attacks, str):
        raise ValueError(
            f'`attacks` must be a list of names with version="custom", which needs one at least, '
            f"and left out with another version; got {attacks!r} with {version!r}"
        )
    for name in attacks or ():
        require_choice("attacks", name, ATTACKS)
    try:
        from pyautoattack import AutoAttack  # optional
    except ImportError as error:
        raise ImportError("install the extra: pip install odecore[robust]") from error

    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        wide, back = _as_images(x)

        def scores(z: Tensor) -> Tensor:
            output = model(back(z))
            one = output.reshape(len(output), -1)
            return torch.cat([torch.zeros_like(one), one], 1) if one.shape[1] == 1 else output

        with untouched_randomness():  # it sets torch's seed
            attack = AutoAttack(
                scores,
                eps=eps,
                norm={"inf": "Linf", "2": "L2", "1": "L1"}[norm],
                version=version,
                seed=seed,
                device=x.device,
                attacks=attacks,
            )
            with torch.no_grad():
                _fit_to_classes(attack, scores(wide[:1]).shape[1], version)
            found = attack.run_standard_evaluation(wide, y, batch_size=len(x))[0]
        return back(found)

    return Attack(run, eps, norm, low=0.0, high=1.0)


def _as_images(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Inputs as images, and the way back."""
    shape = x.shape[1:]
    if x.ndim == 4 and min(x.shape[2:]) >= SIDE:
        return x, lambda z: z
    size = prod(shape)
    side = max(SIDE, ceil(sqrt(size)))
    images = pad(x.reshape(len(x), size), (0, side * side - size)).reshape(-1, 1, side, side)
    return images, lambda z: z.reshape(len(z), -1)[:, :size].reshape(len(z), *shape)


def _fit_to_classes(attack: Any, classes: int, version: str) -> None:
    """Leave out attacks that need more classes, and take no more targets than there are."""
    wanted = list(attack.attacks_to_run or ())
    unfit = [name for name in wanted if classes < CLASSES.get(name, 2)]
    if unfit and version == "custom":
        raise ValueError(
            f"{unfit[0]} needs at least {CLASSES[unfit[0]]} classes, the model tells {classes} "
            'apart: take "apgd-ce", "fab" or "square"'
        )
    fit = [name for name in wanted if name not in unfit]
    if "apgd-t" in unfit and classes >= CLASSES["apgd-dlr"] and "apgd-dlr" not in fit:
        fit.append("apgd-dlr")
    attack.attacks_to_run = fit
    for one in (attack.apgd_targeted, attack.fab):
        one.n_target_classes = min(one.n_target_classes, classes - 1)
