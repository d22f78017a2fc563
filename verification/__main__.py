"""`python -m verification`: run the evidence.

Exit codes of `run` and `report`: 0, all claims passed, in a report all that are finished; 1, some
failed; 2, asked for wrongly; 130, interrupted. With --planted-faults 1 is right, all failed; 3 says
that some claim passed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from odecore.__main__ import failed, write
from verification._options import natural, positive
from verification._page import write_page
from verification._record import Conditions, Record
from verification._runner import EXECUTORS, open_executor, run_claims
from verification.claims import CLAIMS, Claim, Outcome
from verification.demo import run_demo


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run; the result is the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m verification",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _claim_options(commands)
    demo = commands.add_parser(
        "demo",
        help="train on real handwritten digits: five systems, solver regimes, normalization",
        description="Train small neural ODEs on scikit-learn's 1,797 handwritten digits, one row "
        "for each system, solver regime and normalization, and write one HTML page.",
    )
    demo.add_argument("--quick", action="store_true", help="one seed, few epochs, coarse figures")
    demo.add_argument("--seeds", type=positive, default=3, help="runs of each row (default: 3)")
    demo.add_argument("--jobs", type=positive, default=2, help="processes (default: 2)")
    demo.add_argument("--out", type=Path, default=Path("build/demo"), help="where the page goes")
    options = parser.parse_args(arguments)
    run = {"demo": _demo, "list": _list, "run": _run, "report": _report}[options.command]
    try:
        return run(options)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        kept = "; what is finished is kept: add --resume to go on" if run is _run else ""
        print(f"interrupted{kept}", file=sys.stderr)
        return 130
    except (ValueError, ImportError) as error:
        return failed(parser.prog, error)
    except OSError as error:  # such as a full disk
        sys.stdout = None
        return failed(parser.prog, error)


def _claim_options(commands: argparse._SubParsersAction) -> None:
    listed = commands.add_parser("list", help="list the claims")
    run = commands.add_parser("run", help="measure the claims, compare, write a page")
    report = commands.add_parser("report", help="write the page of a run again, as far as it got")
    for command in (listed, run, report):
        command.add_argument("--only", metavar="TEXT", default="", help="in the claim's name")
    size = run.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="leave out claims of many seconds")
    size.add_argument("--full", action="store_true", help="ten times the random draws")
    run.add_argument("--seed", type=natural, default=0, help="of all random draws (default: 0)")
    run.add_argument("--jobs", type=positive, default=2, help="workers (default: 2)")
    run.add_argument(
        "--executor", choices=EXECUTORS, default="spawn", help="what they are (default: spawn)"
    )
    run.add_argument("--resume", action="store_true", help="keep what an interrupted run finished")
    run.add_argument(
        "--planted-faults", action="store_true", help="corrupt the formulas: every claim must fail"
    )
    for command in (run, report):
        command.add_argument(
            "--out", type=Path, default=Path("build/claims"), help="folder of results and page"
        )


def _demo(options: argparse.Namespace) -> int:
    return run_demo(options.out, seeds=options.seeds, jobs=options.jobs, quick=options.quick)


def _list(options: argparse.Namespace) -> int:
    for claim in _chosen(options.only):
        write(f"{claim.name:24s} {claim.statement} ({claim.source})")
    return 0


def _run(options: argparse.Namespace) -> int:
    chosen = [claim for claim in _chosen(options.only) if not (options.quick and claim.slow)]
    conditions = Conditions(options.seed, options.full, options.planted_faults)
    record = Record(options.out)
    record.begin(conditions, chosen, resume=options.resume)
    held = record.outcomes()
    kept = sum(claim.name in held for claim in chosen)
    if kept:
        write(f"{kept} claims are kept from before")
    with (
        open_executor(options.executor, options.jobs) as executor,
        tqdm(total=len(chosen), initial=kept, unit="claim", file=sys.stderr, disable=None) as bar,
    ):

        def seen(claim: Claim, outcome: Outcome) -> None:
            with tqdm.external_write_mode(sys.stdout):
                _verdict(claim, outcome)
            bar.update()

        run_claims(chosen, conditions, record, executor, seen=seen)
    return _conclude(chosen, record)


def _report(options: argparse.Namespace) -> int:
    record = Record(options.out)
    record.conditions()  # first, for what is no run has none
    outcomes, asked = record.outcomes(), record.asked()
    chosen = [claim for claim in _chosen(options.only) if claim.name in asked]
    if not chosen:
        raise ValueError(f"the run in {record.folder} was asked for no claim of these")
    for claim in chosen:
        if claim.name in outcomes:
            _verdict(claim, outcomes[claim.name])
    return _conclude(chosen, record)


def _conclude(chosen: list[Claim], record: Record) -> int:
    """Write results and page, say how many passed and failed."""
    conditions, outcomes = record.conditions(), record.outcomes()
    record.conclude(chosen)
    page = record.folder / "index.html"
    write_page(page, chosen, record)
    write(f"open {page}")
    verdicts = [outcomes[claim.name].passed for claim in chosen if claim.name in outcomes]
    passed = sum(verdicts)
    if len(verdicts) < len(chosen):
        write(f"{len(chosen) - len(verdicts)} not finished")
    write(f"{passed} passed, {len(verdicts) - passed} failed")
    if conditions.planted_faults:
        return 3 if passed else 1
    return int(passed < len(verdicts))


def _verdict(claim: Claim, found: Outcome) -> None:
    verdict = "passed" if found.passed else "FAILED"
    write(f"{verdict}  {claim.name:24s} {found.measured}  ({found.seconds:.1f} s)")


def _chosen(text: str) -> list[Claim]:
    """The claims with this in their name.

    Raises
    ------
    ValueError
        If there is none.
    """
    chosen = [claim for claim in CLAIMS if text in claim.name]
    if not chosen:
        raise ValueError(f"no claim has {text!r} in its name; see `list`")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
