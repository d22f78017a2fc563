"""Tests of the bridge repeat: torch starts each from one seed."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20240917)
