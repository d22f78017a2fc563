"""A solve is where its tensors are, whatever device torch takes where none is named."""

import pytest
import torch

from tests.helpers.uses import FIELDS, MODELS, SOLVERS, Field, Model


@pytest.fixture
def elsewhere():
    """The default device is another one, on which there are no values to take by mistake."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def on_the_host(make):
    with torch.device("cpu"):
        return make()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("use", FIELDS.values(), ids=FIELDS)
def test_fields_are_solved_where_they_are(use):
    use(on_the_host(Field))


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("use", MODELS.values(), ids=MODELS)
def test_models_are_used_where_they_are(use):
    use(on_the_host(Model))


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_regimes_draw_where_they_are(solver):
    MODELS["training"](on_the_host(lambda: Model(solver=solver())))
