"""One test, many array libraries, both precisions."""

import importlib
import re
import zlib
from collections import defaultdict

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


def drawn(name, share):
    """Whether a name is among one in `share` of all names, the same ones in each run."""
    return zlib.crc32(name.encode()) % share == 0


def unsampled(items):
    """The cases of a test with many that are left out: of those that are asked for, some stay."""
    cases = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sampled") and not item.get_closest_marker("long"):
            cases[item.path, item.originalname].append(item)
    for same in cases.values():
        (share,) = same[0].get_closest_marker("sampled").args
        stay = [item for item in same if drawn(item.name, share)] or same
        yield from (item for item in same if item not in stay)


def in_other_precision(items):
    """All cases but one precision for strict arrays, and one case for jax, which compiles long."""
    seen = set()
    for item in items:
        if found := re.search(r"\b(jax|array_api_strict)-(float\d\d)", item.name):
            library, precision = found.groups()
            case = item.path, item.originalname, library
            other = (precision == "float32") != drawn(item.originalname, 2)
            long = library == "jax" and (case in seen or item.get_closest_marker("long_on_jax"))
            if other or long:
                yield item
            else:
                seen.add(case)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in (*unsampled(items), *in_other_precision(items)):
        item.add_marker(pytest.mark.long)


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
