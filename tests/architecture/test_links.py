"""The check of the documentation's links sees what is broken, and only that."""

import runpy
from pathlib import Path

import pytest

broken = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "check_links.py"))["broken"]


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">x</a><a href="https://example.org/none">x</a><a href="#">x</a>'
        '<a href="b.html#gone">x</a><a href="c.html">x</a><img src="none.svg">'
    )
    (tmp_path / "b.html").write_text('<p id="here"><a href="a.html">x</a>')
    assert list(broken(tmp_path)) == [
        ("a.html", "b.html#gone"),
        ("a.html", "c.html"),
        ("a.html", "none.svg"),
    ]


def test_a_folder_without_pages_is_no_success(tmp_path):
    with pytest.raises(FileNotFoundError, match="build the documentation"):
        list(broken(tmp_path))
