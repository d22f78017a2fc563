"""The walls of the architecture, held by tests."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A package imports only from what stands above it.
MAY_IMPORT = {
    "errors": set(),
    "_array": set(),
    "_flags": set(),
    "_recording": {"_array"},
    "_krylov": {"_array", "_recording"},
    "_kept": set(),
    "_tolerances": {"_array", "_recording"},
    "_times": {"_array", "_recording"},
    "_step_counts": {"_array", "_times"},
    "exact": {"errors"},
    "order": {"errors", "exact"},
    "families": {"errors", "exact", "order"},
    "tableaux": {"errors", "_array", "_flags", "exact", "order", "families"},
    "stability": {"errors", "_array", "_flags", "exact", "order", "families", "tableaux"},
    "solve": {
        "errors",
        "_array",
        "_flags",
        "_krylov",
        "_recording",
        "_step_counts",
        "_times",
        "_tolerances",
        "order",
        "families",
        "tableaux",
    },
    "interpolation": {"errors", "_array", "_kept"},
    "adjoint": {
        "errors",
        "_array",
        "_flags",
        "_kept",
        "_krylov",
        "_step_counts",
        "_times",
        "_tolerances",
        "tableaux",
        "solve",
        "interpolation",
    },
    "sketching": {"errors", "_array", "_flags"},
    "directions": {"errors", "_array"},
    "testing": {
        "errors",
        "_array",
        "_flags",
        "exact",
        "order",
        "families",
        "tableaux",
        "solve",
        "sketching",
    },
    "__main__": {"exact", "order", "families", "tableaux", "stability"},
}
EXACT = ("exact", "order", "families")
EXACT_MATH = {f"math.{name}" for name in ("comb", "factorial", "gcd", "isqrt", "lcm", "prod")} | {
    "math"
}
MODULES = sorted((ROOT / "odecore").rglob("*.py"))
BRIDGE = sorted((ROOT / "torch_bridge").glob("*.py"))


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """Every imported module, imports inside functions and under TYPE_CHECKING included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def package_of(name):
    return name.split(".")[1] if name.count(".") else ""


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_import_direction_and_doors(path):
    own = package_of(name_of(path))
    if not own:
        return  # odecore itself opens all doors
    modules = {m for m in imports(path) if m.startswith("odecore.")}
    for module in modules:
        other = package_of(module)
        if other == own:
            continue
        assert other in MAY_IMPORT[own], f"{own} must not import {module}"
        door = module.split(".")[2:3]
        assert not door or not door[0].startswith("_") or other == "_array", (
            f"{module} is private: enter {other} by its door"
        )


def test_every_package_has_its_floor():
    packages = {p.stem if p.is_file() else p.name for p in (ROOT / "odecore").iterdir()}
    assert packages - {"__init__", "__pycache__", "py"} - {"py.typed"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_core_never_imports_torch(path):
    assert not any(m.split(".")[0] in {"torch", "torch_bridge", "jax"} for m in imports(path))


@pytest.mark.parametrize("path", BRIDGE, ids=name_of)
def test_the_bridge_enters_by_the_doors(path):
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "odecore":
            assert not any(part.startswith("_") for part in parts if part != "__version__"), module


@pytest.mark.parametrize(
    "path", [p for p in MODULES if package_of(name_of(p)) in EXACT], ids=name_of
)
def test_exact_packages_hold_no_floating_point(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float | complex), f"line {node.lineno}: {node.value}"
        if isinstance(node, ast.Name):
            assert node.id not in {"float", "complex", "eval", "exec"}, f"line {node.lineno}"
    modules = imports(path)
    assert not any(m.split(".")[0] in {"numpy", "cmath", "decimal"} for m in modules)
    assert {m for m in modules if m.startswith("math")} <= EXACT_MATH


@pytest.mark.parametrize("path", [*MODULES, *BRIDGE], ids=name_of)
def test_one_concept_a_file(path):
    assert path.read_text().count("\n") < 350
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the caption of a file is its first line"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length < 60, f"the body of {node.name} has {length} lines"


def public_packages():
    names = [name_of(p) for p in MODULES if p.name == "__init__.py" and p.parent.name != "odecore"]
    return [*names, "odecore.errors", "torch_bridge"]


@pytest.mark.parametrize("name", public_packages())
def test_a_door_holds_names_only(name):
    module = importlib.import_module(name)
    assert module.__all__
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public)
    path = Path(module.__file__)
    if path.name == "__init__.py":
        body = ast.parse(path.read_text()).body
        kinds = (ast.Expr, ast.ImportFrom, ast.Assign)
        assert all(isinstance(node, kinds) for node in body)
        assert [n.targets[0].id for n in body if isinstance(n, ast.Assign)] == ["__all__"]


def test_the_version_has_one_source():
    import odecore
    import torch_bridge

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert odecore.__version__ == torch_bridge.__version__ == project["version"]


def test_the_citation_says_what_the_project_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    told = [f"title: {project['name']}", f'abstract: "{project["description"]}"']
    told += [f"{name}: {project[name]}" for name in ("version", "license")]
    assert {*told, *(f"  - {word}" for word in project["keywords"])} <= {*lines}
    (author,) = [line.removeprefix("  - name: ") for line in lines if "name:" in line]
    assert f"Copyright (c) 2026 {author}" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("name", public_packages())
def test_api_pages_list_exactly_the_public_names(name):
    page = ROOT / "docs" / "api" / f"{name.removeprefix('odecore.')}.rst"
    directives = ("autofunction", "autoclass", "autoexception", "data")
    listed = [
        line.split("::")[1].strip()
        for line in page.read_text().splitlines()
        if line.startswith(tuple(f".. {d}::" for d in directives))
    ]
    assert sorted(listed) == sorted(importlib.import_module(name).__all__)


def test_importing_the_core_stays_light():
    heavy = ["torch", "jax", "sympy", "scipy", "matplotlib", "hypothesis", "tqdm", "sklearn"]
    code = f"import sys; from odecore import *; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.strip() == "[]"


def test_packages_are_loaded_on_demand():
    code = (
        "import sys, odecore; print([m for m in sys.modules if m.startswith(('odecore.', 'numpy'))]); "
        "print(odecore.order.RootedTree().order, 'testing' in dir(odecore), hasattr(odecore, 'x'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.split("\n")[:2] == ["[]", "1 True False"]


def test_the_exact_core_works_without_torch_installed():
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] == 'torch': raise ImportError(name)\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "import odecore, numpy as np\n"
        "from odecore.families import RK4, order_is_proved; assert order_is_proved(RK4); "
        "print(odecore.solve.solve_ivp(lambda t, y: -y, (0, 1), np.ones(2)).status.name)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert found.stdout.strip() == "SUCCESS"


def test_every_warning_is_of_one_class():
    from odecore import errors

    kinds = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(k, errors.OdecoreWarning) for k in kinds if issubclass(k, Warning))
