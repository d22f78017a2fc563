"""One test, many array libraries, both precisions."""

import importlib
import re
import zlib

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


def one_precision(test):
    """float32 for half of the tests, by name, and float64 for the others."""
    return ("float32", "float64")[zlib.crc32(test.encode()) % 2]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of each test one case for jax, which compiles for seconds, and for strict arrays one
    precision: the other cases are for the long tests."""
    seen = set()
    for item in items:
        found = re.search(r"\b(jax|array_api_strict)-(float\d\d)", item.name)
        if found is None:
            continue
        case = item.path, item.originalname, found[1]
        other = found[2] != one_precision(item.originalname)
        if other or (found[1] == "jax" and case in seen):
            item.add_marker(pytest.mark.long)
        else:
            seen.add(case)


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
