"""Progress of a long solve: a bar, or a call of the user's function."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["reporter"]


def reporter(
    progress: bool | Callable[[float], None] | None, first: float, last: float
) -> tuple[Callable[[float], None] | None, Callable[[], None]]:
    """A function of the time reached, or None, and a function that ends the report.

    Raises
    ------
    TypeError
        If `progress` is neither a bool nor callable.
    ImportError
        If a bar is asked for and tqdm is missing.
    """
    if progress is None or progress is False:
        return None, lambda: None
    if callable(progress):
        return lambda t: progress((t - first) / (last - first)), lambda: None
    if progress is not True:
        raise TypeError(
            f"`progress` must be a bool or callable with the fraction done, got {progress!r}"
        )
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "a progress bar needs tqdm: pip install 'odecore[progress]', or give a callable"
        ) from error
    bar = tqdm(total=1.0, bar_format="{percentage:3.0f}% {bar} {elapsed}<{remaining}")

    def report(t: float) -> None:
        bar.update((t - first) / (last - first) - bar.n)

    return report, bar.close
