"""Values of command lines, checked when they are read and not after hours of work."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

__all__ = ["file_to_write", "natural", "positive"]


def natural(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"must be a whole number, at least 0; got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 to 10^9."""
    if not text.isdecimal() or len(text) > 10 or not 1 <= int(text) <= 10**9:
        raise ArgumentTypeError(f"must be a whole number, from 1 to 10^9; got {text!r}")
    return int(text)


def file_to_write(text: str) -> Path:
    """The path of a file, in a folder that is made where it is missing."""
    path = Path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        path.open("ab").close()
    except OSError as error:
        raise ArgumentTypeError(f"must be a file that can be written; {error}") from error
    if is_new:
        path.unlink()
    return path
