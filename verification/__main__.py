"""`python -m verification`: run the evidence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from verification.demo import run_demo


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m verification", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="train a neural ODE on real handwritten digits with all five systems",
        description="Train a small neural ODE on scikit-learn's 1,797 handwritten digits, one row "
        "for each system against the plain baseline, and write one HTML page.",
    )
    demo.add_argument("--quick", action="store_true", help="one seed, few epochs, coarse figures")
    demo.add_argument("--seeds", type=_positive, default=3, help="runs of each row (default: 3)")
    demo.add_argument("--jobs", type=_positive, default=2, help="processes (default: 2)")
    demo.add_argument("--out", type=Path, default=Path("build/demo"), help="where the page goes")
    options = parser.parse_args(arguments)
    return run_demo(options.out, seeds=options.seeds, jobs=options.jobs, quick=options.quick)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
