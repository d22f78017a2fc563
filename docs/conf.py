"""Sphinx configuration; builds offline."""

import importlib.metadata

project = "odecore"
author = "The odecore developers"
copyright = "2026, the odecore developers"
release = importlib.metadata.version("odecore")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx-mathjax-offline",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 2
exclude_patterns = ["_build", "examples", "sg_execution_times.rst"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"\.py$",  # all of them are run
    "abort_on_example_error": True,
    "download_all_examples": False,
    "capture_repr": (),  # what is printed is shown, not what the last line is
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "odecore"
html_static_path = ["_static"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}
