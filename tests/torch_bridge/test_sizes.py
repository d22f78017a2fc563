"""Memory and work of the bridge do not grow with what they need not grow with."""

import weakref

import pytest
import torch

from torch_bridge import odeint


@pytest.mark.parametrize(
    "interface_options", [{"step_size": 0.001}, None], ids=["given", "adaptive"]
)
def test_a_search_for_an_event_keeps_no_states(interface_options):
    seen, most = [], 0

    def func(t, y):
        nonlocal most
        seen.append(weakref.ref(y))
        most = max(most, sum(x() is not None for x in seen[-1000:]))
        return -y

    options = {} if interface_options is None else {"options": interface_options}
    method = "dopri5" if interface_options is None else "euler"
    with torch.no_grad():
        end, y = odeint(
            func, torch.ones(3), torch.tensor([0.0, 1.0]), method=method,
            event_fn=lambda t, y: y[0] - 0.7, **options,
        )  # fmt: skip
    assert float(end) == pytest.approx(0.3567, rel=1e-2)
    assert float(y[-1, 0]) == pytest.approx(0.7)
    assert len(seen) > 20
    assert most < 15
