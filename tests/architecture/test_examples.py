"""Every example that a user may copy runs: docstrings, README, documentation pages."""

import ast
import doctest
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import odecore
import torch_bridge

ROOT = Path(__file__).parents[2]


def modules():
    for package in (odecore, torch_bridge):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield found.name


@pytest.mark.parametrize("name", list(modules()))
def test_docstring_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


def code_blocks():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if "_build" not in path.parts:
            blocks = re.findall(
                r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE
            )
            for k, block in enumerate(blocks):
                yield pytest.param(block, id=f"{path.relative_to(ROOT)}-{k}")


@pytest.mark.parametrize("block", list(code_blocks()))
def test_documented_examples_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=lambda p: p.stem
)
def test_example_scripts_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    plt.close("all")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=lambda p: p.stem
)
def test_examples_have_titles_for_their_tutorials(path):
    title, line = ast.get_docstring(ast.parse(path.read_text())).splitlines()[:2]
    assert line == "=" * len(title)


def test_the_readme_has_its_three_examples_in_one_screen():
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    assert all(block.count("\n") <= 15 for block in blocks)
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (ROOT / picture).exists()
