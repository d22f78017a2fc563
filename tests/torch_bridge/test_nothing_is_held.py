"""What a user lets go is free: no use of a model leaves it, or its activations, in memory.

Autograd does not see cycles through its own nodes: what hooks keep of a graph may hold it for ever.
"""

import gc
import weakref

import pytest
import torch

from tests.helpers.uses import FIELDS, MODELS, SOLVERS, Field, Model
from torch_bridge import Certifier, _own_derivatives, odeint_adjoint


@pytest.fixture(autouse=True, scope="module")
def fixture_only_what_is_new_is_searched():
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def is_held(make, use):
    model = make()
    parameters = [weakref.ref(p) for p in model.parameters()]
    use(model)
    del model
    gc.collect()
    return any(parameter() is not None for parameter in parameters)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("use", FIELDS.values(), ids=FIELDS)
def test_a_field_is_free_afterwards(use):
    assert not is_held(Field, use)


@pytest.mark.parametrize("use", MODELS.values(), ids=MODELS)
def test_a_model_is_free_afterwards(use):
    assert not is_held(Model, use)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_model_with_a_regime_is_free_afterwards(solver):
    assert not is_held(lambda: Model(solver=solver()), MODELS["training"])


def test_a_model_with_certified_gradients_is_free_afterwards():
    def make():
        return Model(solver="dopri5", steps=None, adjoint="restored", certificate=Certifier())

    assert not is_held(make, MODELS["training"])


@pytest.mark.parametrize("adjoint", ["restored", "reversed", "discrete"])
@pytest.mark.parametrize("method", ["dopri5", "gl4"])
def test_a_state_is_free_before_cycles_are_searched_for(adjoint, method):
    y0, t = torch.ones(6, 3, requires_grad=True), torch.tensor([0.0, 1.0])
    state = weakref.ref(y0)
    gc.disable()
    try:
        odeint_adjoint(Field(), y0, t, method=method, adjoint=adjoint).sum().backward()
        del y0
        assert state() is None
    finally:
        gc.enable()


def test_hooks_that_keep_histories_would_hold_it(monkeypatch):
    hooks = torch.autograd.graph.saved_tensors_hooks

    def watched(field):
        with hooks(torch.Tensor.detach, lambda x: x):
            FIELDS["a report"](field)

    assert not is_held(Field, watched)
    monkeypatch.setattr(
        _own_derivatives, "saved_tensors_hooks", lambda _, unpack: hooks(lambda x: x, unpack)
    )
    assert is_held(Field, watched)
