"""Checks and plans of modules that hold tensors of all layouts: they are put back too."""

import warnings

import pytest
import torch
from torch import nn

from torch_bridge import NeuralODE, check_rhs, plan, saved_bytes

pytestmark = pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
y = torch.linspace(-1, 2, 24).reshape(6, 4)


class Frozen(dict):
    """Refuses to be emptied."""

    def clear(self):
        raise TypeError("frozen")


def nested():
    with warnings.catch_warnings(action="ignore"):
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


HELD = {
    "coo": lambda: torch.eye(4).to_sparse(),
    "csr": lambda: torch.eye(4).to_sparse_csr(),
    "csc": lambda: torch.eye(4).to_sparse_csc(),
    "bsr": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "nested": nested,
    "jagged": lambda: torch.nested.nested_tensor(
        [torch.ones(2), torch.ones(3)], layout=torch.jagged
    ),
    "expanded NaN": lambda: torch.full((1,), torch.nan).expand(5),
}


class Holding(nn.Module):
    """Holds something, as an attribute or a buffer, and may change it when called."""

    def __init__(self, held, *, buffer, change=None):
        super().__init__()
        self.net, self.change = nn.Linear(4, 4), change
        if buffer:
            self.register_buffer("held", held)
        else:
            self.held = held

    def forward(self, t, y=None):
        if self.change is not None:
            with torch.no_grad():
                self.change(self)
        return self.net(t if y is None else y)


def planned(module):
    model = nn.Sequential(module, nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 3))
    return plan(model, y, noise=1.0, loss=lambda y, x: y.square().mean())


@pytest.mark.parametrize("buffer", [False, True])
@pytest.mark.parametrize("kind", HELD)
def test_what_does_not_change_is_no_matter(kind, buffer):
    field = Holding(HELD[kind](), buffer=buffer)
    version = field.held._version
    report = check_rhs(field, 0.0, y)
    assert report, str(report)
    assert report.left == ()
    with warnings.catch_warnings(action="error", category=UserWarning):
        NeuralODE(field, solver="euler", steps=2)(y)
    assert planned(field).layers
    assert field.held._version == version
    assert torch.func.grad(lambda x: (x * x).sum())(torch.ones(2)).tolist() == [2, 2]


@pytest.mark.parametrize("buffer", [False, True])
@pytest.mark.parametrize("kind", [kind for kind in HELD if kind != "expanded NaN"])
def test_what_changes_in_place_is_put_back(kind, buffer):
    field = Holding(HELD[kind](), buffer=buffer, change=lambda module: module.held.mul_(2))
    held, before = field.held, numbers(field.held)
    report = check_rhs(field, 0.0, y)
    assert report.left == ()
    assert {finding.kind for finding in report.findings} == ({"state changed"} if buffer else set())
    planned(field)
    assert field.held is held
    assert numbers(held) == before


def numbers(held):
    parts = held.unbind() if held.is_nested else [held.to_dense()]
    return [part.tolist() for part in parts]


def test_changes_that_count_no_version_are_put_back():
    field = Holding(torch.ones(3), buffer=False, change=lambda module: module.held.data.mul_(2))
    assert check_rhs(field, 0.0, y).left == ()
    planned(field)
    assert field.held.tolist() == [1, 1, 1]


@pytest.mark.parametrize("buffer", [False, True])
def test_what_can_not_be_put_back_is_named(buffer):
    base = torch.ones(1)
    field = Holding(base.expand(5), buffer=buffer, change=lambda module: base.mul_(2))
    assert check_rhs(field, 0.0, y).left == ("held",)
    planned(field)
    assert torch.func.grad(lambda x: (x * x).sum())(torch.ones(2)).tolist() == [2, 2]


def test_a_dictionary_that_is_not_emptied():
    field = Holding(Frozen(a=1), buffer=False)
    assert check_rhs(field, 0.0, y).left == ()
    planned(field)
    changing = Holding(Frozen(a=1), buffer=False, change=lambda module: module.held.update(b=2))
    assert check_rhs(changing, 0.0, y).left == ("held",)


def test_sparse_tensors_that_are_saved_count_with_their_parts():
    A, x = torch.eye(10).to_sparse(), torch.randn(10, 3, requires_grad=True)
    assert saved_bytes(lambda: A @ x) == 10 * (2 * 8 + 4)
    assert saved_bytes(lambda: A @ x, besides=[A]) == 0


def test_hooks_of_saved_tensors_end_with_the_check():
    class Unkept(dict):
        def __iter__(self):
            if self.get("broken"):
                raise OSError("no items any more")
            return super().__iter__()

    field = Holding(
        Unkept(a=1), buffer=False, change=lambda module: module.held.update(broken=True)
    )
    with pytest.raises(OSError, match="no items"):
        check_rhs(field, 0.0, y)
    assert torch.func.grad(lambda x: (x * x).sum())(torch.ones(2)).tolist() == [2, 2]
