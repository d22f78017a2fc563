"""`python -m verification`: run the evidence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from odecore.__main__ import failed, write
from verification.claims import CLAIMS
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
    run = commands.add_parser("run", help="measure the claims and compare")
    run.add_argument("--only", metavar="NAME", help="claims whose name contains this")
    commands.add_parser("list", help="list the claims")
    options = parser.parse_args(arguments)
    if options.command != "demo":
        try:
            return _claims(options)
        except BrokenPipeError:  # the reader, such as head, has seen enough
            sys.stdout = None
            return 0
        except OSError as error:  # such as a full disk
            sys.stdout = None
            return failed(parser.prog, error)
    return run_demo(options.out, seeds=options.seeds, jobs=options.jobs, quick=options.quick)


def _claims(options: argparse.Namespace) -> int:
    chosen = [c for c in CLAIMS if (getattr(options, "only", None) or "") in c.name]
    if options.command == "list":
        for claim in chosen:
            write(f"{claim.name:20s} {claim.statement} ({claim.source})")
        return 0
    if not chosen:
        print(f"no claim has {options.only!r} in its name; see `list`", file=sys.stderr)
        return 2
    failures = 0
    for claim in chosen:
        found = claim.run()
        failures += not found.passed
        verdict = "passed" if found.passed else "FAILED"
        write(f"{verdict}  {claim.name:20s} {found.measured}  ({found.seconds:.1f} s)")
    write(f"{len(chosen) - failures} passed, {failures} failed")
    return int(failures > 0)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1; got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
