"""What replaces slow functions of torch's compiler computes the same."""

import math

import pytest
import torch

from torch_bridge._inductor import _tanh


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_to_rounding(dtype):
    x = torch.cat([torch.linspace(-25, 25, 20_001), torch.logspace(-30, 0, 500)]).to(dtype)
    exact = torch.tensor([math.tanh(float(v)) for v in x], dtype=torch.float64)
    found = _tanh(x).double()
    assert (found - exact).abs().le(6 * torch.finfo(dtype).eps * exact.abs()).all()
    assert found.abs().max() <= 1
    edges = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan], dtype=dtype)
    near = {"rtol": 6 * torch.finfo(dtype).eps, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(_tanh(edges), torch.tanh(edges), **near)


def test_other_numbers_keep_the_tanh_of_the_compiler():
    assert _tanh(torch.ones(2, dtype=torch.bfloat16)) is NotImplemented
    assert _tanh(torch.ones(2, dtype=torch.complex64)) is NotImplemented
