"""One test, many array libraries, both precisions."""

import importlib

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile(
    "odecore", deadline=None, max_examples=60, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("odecore")

LIBRARIES = ("numpy", "array_api_strict", "torch", "jax")


def load(name):
    if name == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        return importlib.import_module("jax.numpy")
    if name == "torch":
        return importlib.import_module("array_api_compat.torch")
    return importlib.import_module(name)


#: Tests for which jax compiles for seconds: all but one case of each are for the long tests.
COMPILED_LONG = {
    "test_a_body_that_falls_on_a_raised_floor",
    "test_a_panel_at_once_is_the_panel_pass_by_pass",
    "test_coefficient_arrays_solve_with_many_methods_at_once",
    "test_every_array_library_and_precision",
    "test_gradients_are_homogeneous_in_any_library",
    "test_gradients_of_a_linear_map",
    "test_gradients_of_a_linear_problem",
    "test_it_is_the_inverse_of_all_unknowns",
    "test_numbers_of_a_batch_on_every_array_library",
    "test_samples_that_are_not_done_go_on_alone",
    "test_solution_of_a_dense_system",
    "test_the_same_draw_and_variance_on_every_array_library",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    seen = set()
    for item in items:
        if "jax" in item.name and item.originalname in COMPILED_LONG:
            test = item.path, item.originalname
            if "jax-float32" in item.name or test in seen:
                item.add_marker(pytest.mark.long)
            else:
                seen.add(test)


@pytest.fixture(params=LIBRARIES)
def xp(request):
    return load(request.param)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture
def array(xp, dtype):
    """Make an array of the library and precision of this test from numbers."""
    return lambda values: xp.asarray(np.asarray(values).tolist(), dtype=getattr(xp, dtype))


@pytest.fixture
def eps(dtype):
    return float(np.finfo(dtype).eps)


@pytest.fixture
def rng():
    return np.random.default_rng(20240917)
