"""Docstrings of what is public name the parameters that there are: all of them, and no others."""

import builtins
import enum
import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import odecore

ROOT = Path(__file__).parents[2]
DOORS = [f"odecore.{found.name}" for found in pkgutil.iter_modules(odecore.__path__)]
DOORS = [door for door in DOORS if "._" not in door] + ["torch_bridge"]
MODULES = [importlib.import_module(door) for door in DOORS]
THINGS = {f"{m.__name__}.{name}": getattr(m, name) for m in MODULES for name in m.__all__}
FUNCTIONS = {name: thing for name, thing in THINGS.items() if inspect.isroutine(thing)}
CLASSES = {name: thing for name, thing in THINGS.items() if inspect.isclass(thing)}
PROTOCOLS = [cls for cls in CLASSES.values() if getattr(cls, "_is_protocol", False)]


def is_ours(cls):
    return cls.__module__.split(".")[0] in {"odecore", "torch_bridge"}


def members():
    """Public methods and properties of public classes, of bases that are ours too."""
    kinds = (property, functools.cached_property, classmethod, staticmethod)
    for name, cls in CLASSES.items():
        for member in (m for m in dir(cls) if not m.startswith("_")):
            found = inspect.getattr_static(cls, member)
            owner = next(base for base in cls.__mro__ if member in vars(base))
            if is_ours(owner) and (inspect.isfunction(found) or isinstance(found, kinds)):
                yield pytest.param(cls, member, id=f"{name}.{member}")


def sections(thing):
    """The sections of a docstring in numpydoc's form, by their titles."""
    text = f"{inspect.cleandoc(thing.__doc__ or '')}\n"
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(thing):
    """From each name of the section Parameters to its type."""
    heads = re.findall(r"^(\S.*)$", sections(thing).get("Parameters", ""), re.MULTILINE)
    pairs = [head.partition(" : ")[::2] for head in heads]
    return {name: kind for names, kind in pairs for name in names.split(", ")}


def parameters(thing):
    """The parameters of a call, by their names in numpydoc: with the stars."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    found = inspect.signature(thing).parameters.values()
    return {stars.get(p.kind, "") + p.name: p for p in found if p.name not in {"self", "cls"}}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_and_what_it_returns(name):
    takes, said = parameters(FUNCTIONS[name]), described(FUNCTIONS[name])
    assert said.keys() == takes.keys()
    for parameter, kind in said.items():  # an entry without a type refers to another function
        if kind and not parameter.startswith("*"):
            has_default = takes[parameter].default is not inspect.Parameter.empty
            assert ("optional" in kind) == has_default, parameter
    if inspect.signature(FUNCTIONS[name]).return_annotation not in {"None", "Iterator[None]"}:
        assert {"Returns", "Yields"} & sections(FUNCTIONS[name]).keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_what_it_is_made_of(name):
    cls = CLASSES[name]
    assert cls.__doc__
    if not issubclass(cls, enum.Enum | Exception) and cls not in PROTOCOLS:
        maker = next(base for base in cls.__mro__ if "__init__" in vars(base) or described(base))
        assert described(maker).keys() == parameters(cls).keys()


@pytest.mark.parametrize(("cls", "member"), list(members()))
def test_a_method_names_its_parameters(cls, member):
    """In the section or, where a line says it, in backticks; those of a protocol are told there."""
    assert inspect.getattr_static(cls, member).__doc__
    method = getattr(cls, member)
    if inspect.isfunction(method) or inspect.ismethod(method):
        takes, said = parameters(method), described(method)
        assert said.keys() <= takes.keys()
        told = [getattr(base, member) for base in (cls, *PROTOCOLS) if hasattr(base, member)]
        names = {name.strip("*") for name in takes} - {
            name for one in told for name in described(one)
        }
        quoted = " ".join(word for one in told for word in re.findall(r"`([^`]*)`", one.__doc__))
        assert names <= {*re.findall(r"\w+", quoted)}


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_errors_and_warnings_that_are_named_exist(name):
    found = sections(THINGS[name])
    heads = re.findall(r"^(\S.*)$", found.get("Raises", "") + found.get("Warns", ""), re.MULTILINE)
    named = {error.removeprefix("odecore.errors.") for head in heads for error in head.split(", ")}
    assert named <= {*dir(builtins), *odecore.errors.__all__}


@pytest.mark.parametrize("name", sorted(THINGS.keys() - FUNCTIONS.keys() - CLASSES.keys()))
def test_a_constant_is_described_on_its_page(name):
    door, _, name = name.removeprefix("odecore.").rpartition(".")
    page = (ROOT / "docs" / "api" / f"{door}.rst").read_text()
    assert re.search(rf"^\.\. data:: {name}\n\n   \S", page, re.MULTILINE)
