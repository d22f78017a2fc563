"""The part on `check_rhs`: what it says of a right-hand side with normalization in it."""

from __future__ import annotations

import torch

from torch_bridge import DenseField, RightHandSideReport, check_rhs
from verification._digits import digits
from verification.demo._part import Cell, Section

__all__ = ["check_section"]

NAMES = ("none", "layer", "time batch", "batch")
STATES = 64  # images, whose 64 pixels are the state


def check_section() -> Section:
    """Check one field for each normalization on a batch of digits."""
    torch.manual_seed(0)
    states = digits().train_x[:STATES]
    reports = {name: check_rhs(DenseField(64, 64, name), 0.0, states) for name in NAMES}
    sound = [name for name, report in reports.items() if report]
    return Section(
        "What must not stand inside a right-hand side",
        "check_rhs(func, t, y) calls a right-hand side twice and says where it is no function of "
        "t, y and its parameters; a NeuralODE does so at its first solve. Here on a batch of "
        "digits, with each normalization.",
        [f"Nothing is found in: {', '.join(sound)}. Of BatchNorm it says:"],
        ("normalization", "findings"),
        [[Cell(name), Cell(_findings(report))] for name, report in reports.items()],
        quoted=str(reports["batch"]),
    )


def _findings(report: RightHandSideReport) -> str:
    return "; ".join(f"{one.kind}: {one.where}" for one in report.findings) or "none"
