"""One run of all benchmarks: rows become a page, failures are named, finished parts are kept."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from verification.benchmarks.__main__ import main
from verification.benchmarks._rows import Row, keep, read, tables
from verification.benchmarks._run import BENCHMARKS, Benchmark

ROOT = Path(__file__).parents[2]

# A benchmark that fails where a file says so, and counts its runs.
FAKE = """
import json, sys
from pathlib import Path
here = Path(__file__).with_name("runs")
here.write_text(here.read_text() + "x")
if Path(__file__).with_name("broken").exists():
    sys.exit("the machine is broken")
row = {"table": "Sums", "case": "a", "peer": "abacus", "ratio": 0.25, "numbers": {"beads": 7}}
Path(sys.argv[sys.argv.index("--rows") + 1]).write_text(json.dumps([row]))
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Folder of a package with two benchmarks, of which the first may fail."""
    folder = tmp_path / "fakes"
    (folder / "first").mkdir(parents=True)
    for name in ("first", "second"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__main__.py").write_text(FAKE)
        (folder / name / "runs").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return folder


def run(fake, *more):
    some = [Benchmark(n, n.title(), package="fakes") for n in ("first", "second")]
    return main(["--out", str(fake / "out"), *more], some)


def test_a_failure_is_named_and_leaves_the_rest_alone(fake, capsys):
    (fake / "first" / "broken").touch()
    assert run(fake) == 1
    text = capsys.readouterr().out
    assert "exit code 1, 0 rows; the machine is broken" in text
    assert text.splitlines()[-1] == "failed: first"
    page = (fake / "out" / "table.md").read_text()
    assert "**Failed in this run: First.**" in page
    assert "| a | 0.25 | 7 |" in page[page.index("## Second") :]
    assert "| a |" not in page[: page.index("## Second")]


def test_finished_parts_are_kept_and_failed_ones_repeated(fake, capsys):
    (fake / "first" / "broken").touch()
    run(fake)
    (fake / "first" / "broken").unlink()
    assert run(fake) == 0
    counts = [len((fake / name / "runs").read_text()) for name in ("first", "second")]
    assert counts == [2, 1]
    assert "2/2  second            kept from before" in capsys.readouterr().out
    assert run(fake, "--only", "second", "--fresh") == 0
    assert len((fake / "second" / "runs").read_text()) == 2
    page = (fake / "out" / "table.md").read_text()
    assert "## First" in page  # still of this run
    assert run(fake, "--only", "second", "--quick") == 0  # another kind of run keeps nothing
    assert "(what is kept had other quick)" in capsys.readouterr().out
    page = (fake / "out" / "table.md").read_text()
    assert len((fake / "second" / "runs").read_text()) == 3
    assert "these numbers mean nothing" in page
    assert "**Not in this run: First.**" in page


@pytest.mark.parametrize("text", ["[", "{}", "3", '{"rows": [{"weather": 1}]}'])
def test_parts_of_another_version_are_named(fake, text, capsys):
    path = fake / "out" / "first.json"
    path.parent.mkdir()
    path.write_text(text)
    assert run(fake, "--only", "second") == 2
    assert f"{path} is not of this version: " in capsys.readouterr().err


def test_the_record_tells_machine_date_and_load(fake):
    run(fake)
    found = json.loads((fake / "out" / "results.json").read_text())
    assert set(found) == {"first", "second"}
    part = found["first"]
    assert {"processor", "cores", "platform", "python", "torch", "numpy"} <= set(part["conditions"])
    assert 0 <= part["seconds"] < 60
    page = (fake / "out" / "table.md").read_text()
    for told in (
        part["date"],
        part["conditions"]["processor"],
        f"| First | 1 | {part['load']:.1f}",
    ):
        assert told in page


def test_cases_share_a_line_and_peers_have_columns(tmp_path):
    rows = [
        Row("T", "a", "x", 0.5),
        Row("T", "a", "y", 0.012, {"error": 1.5e-7}),
        Row("T", "x itself", numbers={"error": 0.25}),
        Row("U", "a", "x", 12.0),
    ]
    keep(rows, tmp_path / "rows.json")
    assert read(tmp_path / "rows.json") == rows
    assert dict(tables(rows)) == {
        "T": [
            "| case | time / x | time / y | error |",
            "|---|---|---|---|",
            "| a | 0.50 | 0.012 | 1.5e-07 |",
            "| x itself |  |  | 0.25 |",
        ],
        "U": ["| case | time / x |", "|---|---|", "| a | 12.00 |"],
    }


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf"), None])
def test_no_ratio_of_times_is_no_row(ratio):
    with pytest.raises(ValueError, match="ratio"):
        Row("T", "a", "x", ratio)
    with pytest.raises(ValueError, match="a peer a ratio"):
        Row("T", "a", "", 1.0)


def test_every_benchmark_is_run_by_the_one_command():
    files = {path.stem for path in (ROOT / "verification" / "benchmarks").glob("[a-z]*.py")}
    assert {benchmark.name for benchmark in BENCHMARKS} == files


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("adjoint", "--cases", "invalid choice: '0'"),
        ("adjoint", "--dtypes", "invalid choice: '0'"),
        ("adjoint", "--rounds", "must be a whole number"),
        ("normalization", "--rounds", "must be a whole number"),
        ("compiled_adjoint", "--sizes", "invalid choice: '0'"),
        ("compiled_adjoint", "--rounds", "must be a whole number"),
        ("stiff", "--rounds", "must be a whole number"),
    ],
)
def test_what_can_not_be_measured_is_refused(name, option, message, monkeypatch, capsys):
    if name in ("compiled_adjoint", "stiff"):
        pytest.importorskip("torchdiffeq")
        pytest.importorskip("diffrax")
    program = import_module(f"verification.benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, option, "0"])
    with pytest.raises(SystemExit):
        program.main()
    assert f"{option}: {message}" in capsys.readouterr().err


@pytest.mark.long
def test_a_real_benchmark_runs(tmp_path):
    command = [
        sys.executable,
        "-m",
        "verification.benchmarks",
        "--quick",
        "--only",
        "normalization",
    ]
    found = subprocess.run(  # noqa: S603
        [*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    page = (tmp_path / "table.md").read_text()
    assert "| case | time / GroupNorm |" in page
    assert "signals of 40, width 16, batch 64: TimeBatchNorm |" in page
    assert "GroupNorm  " in (tmp_path / "normalization.log").read_text()  # prints as by itself
