"""Tests of the bridge repeat: torch starts each from one seed."""

import pytest
import torch

from torch_bridge._program import _compiled


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240917)


@pytest.fixture(name="untranslated")
def fixture_untranslated(monkeypatch):
    """Programs are traced and run as they are, which takes a second and not twenty."""
    monkeypatch.setattr(
        "torch_bridge._program.inductor", lambda options: lambda graph, inputs: graph.forward
    )
    _compiled.cache_clear()
    yield
    _compiled.cache_clear()
