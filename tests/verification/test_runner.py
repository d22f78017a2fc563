"""Runs of claims: kept whatever stops them, the same on any workers, told by page and exit code."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from verification import claims as known
from verification.__main__ import main
from verification._record import Conditions, Record
from verification._runner import open_executor, run_claims
from verification.claims import Claim, Finding

ROOT = Path(__file__).parents[2]


def results(folder):
    """What a run found, without its seconds."""
    found = json.loads((folder / "results.json").read_text())
    for claim in found["claims"]:
        claim["seconds"] = 0
    return found


@pytest.fixture
def out(tmp_path):
    return ["--jobs", "1", "--out", str(tmp_path)]


def test_list_run_and_report(tmp_path, out, capsys):
    assert main(["list"]) == 0
    assert "rk4-proof" in capsys.readouterr().out
    assert main(["run", "--only", "chart", *out]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
    (tmp_path / "index.html").unlink()
    assert main(["report", "--only", "chart", *out[2:]]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
    assert "classic-in-chart" in (tmp_path / "index.html").read_text()
    assert main(["report", *out[2:]]) == 0  # of what the run was asked for
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"open {tmp_path / 'index.html'}",
        "1 passed, 0 failed",
    ]
    assert main(["report", "--only", "rk4-proof", *out[2:]]) == 2
    assert "was asked for no claim of these" in capsys.readouterr().err


def test_a_report_tells_what_the_run_did_not_finish(tmp_path, monkeypatch, out, capsys):
    some = tuple(Claim(name, "x", "x", lambda fault: 0, 0) for name in ("one", "two", "three"))
    monkeypatch.setattr("verification.__main__.CLAIMS", some)
    monkeypatch.setattr(known, "CLAIMS", some)
    assert main(["run", "--only", "o", *out]) == 0
    (tmp_path / "outcomes" / "two.json").unlink()  # as where the run was stopped
    capsys.readouterr()
    assert main(["report", *out[2:]]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["1 not finished", "1 passed, 0 failed"]
    assert main(["run", "--only", "three", "--resume", *out]) == 0
    capsys.readouterr()
    assert main(["report", *out[2:]]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["1 not finished", "2 passed, 0 failed"]


def test_planted_faults_turn_claims_red_and_what_stays_green_is_told(out, monkeypatch, capsys):
    assert main(["run", "--only", "ssp-coefficient", "--planted-faults", *out]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed"
    blind = Claim("blind", "sees no fault", "none", lambda fault: 1, 1)
    monkeypatch.setattr("verification.__main__.CLAIMS", (blind,))
    monkeypatch.setattr(known, "CLAIMS", (blind,))
    assert main(["run", "--planted-faults", *out]) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--only", "nothing-like-it"], "see `list`"),
        (["run", "--resume"], "holds no run"),
        (["report"], "holds no run"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, told, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path / "new")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments", [["--seed", "-1"], ["--jobs", "0"], ["--quick", "--full"], ["--executor", "mpi"]]
)
def test_bad_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["run", *arguments])
    assert exit_.value.code == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("conditions.json", '{"seed": 0, "weather": "fine"}'),
        ("outcomes/chart.json", '{"passed":'),
        ("asked.json", "3"),
    ],
)
def test_files_of_another_version_are_named(name, text, tmp_path, out, capsys):
    Record(tmp_path).begin(Conditions(), known.CLAIMS, resume=False)
    (tmp_path / name).write_text(text)
    assert main(["report", *out[2:]]) == 2
    assert f"{tmp_path / name} is not of this version: " in capsys.readouterr().err


@pytest.mark.long
def test_ctrl_c_does_not_reach_workers_that_start():
    """It would break their pool, which does not end where tasks of it are cancelled."""
    with open_executor("spawn", 2) as executor:
        tasks = [executor.submit(abs, -k) for k in range(2)]
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)
        assert [task.result() for task in tasks] == [0, 1]


def test_a_run_goes_on_under_the_same_conditions_only(out, capsys):
    assert main(["run", "--only", "chart", *out]) == 0
    assert main(["run", "--only", "chart", "--resume", "--seed", "1", *out]) == 2
    assert "seed: was 0, is 1" in capsys.readouterr().err
    assert main(["run", "--only", "cha", "--resume", *out]) == 0


def test_a_crash_and_a_failure_leave_the_rest_alone(tmp_path, monkeypatch, out, capsys):
    def crash(fault):
        raise RuntimeError("<b>lost</b>")

    some = (
        Claim("crashes", "x", "x", crash, 0),
        Claim("fails", "x", "x", lambda fault: 1, 2),
        Claim("draws", "x", "x", lambda fault: Finding(0, figure="<svg id='drawn'/>"), 0),
    )
    monkeypatch.setattr("verification.__main__.CLAIMS", some)
    monkeypatch.setattr(known, "CLAIMS", some)
    assert main(["run", *out]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 2 failed"
    found = {claim["name"]: claim for claim in results(tmp_path)["claims"]}
    assert "Traceback" in found["crashes"]["crash"]
    assert (found["fails"]["crash"], found["fails"]["passed"]) == ("", False)
    page = (tmp_path / "index.html").read_text()
    assert "&lt;b&gt;lost&lt;/b&gt;" in page
    assert "<b>lost" not in page
    assert "<svg id='drawn'/>" in page


def test_ctrl_c_keeps_what_is_finished(tmp_path, monkeypatch, out, capsys):
    ran = []

    def interrupt(fault):
        ran.append("second")
        if len(ran) == 2:
            raise KeyboardInterrupt
        return 0

    some = (
        Claim("first", "x", "x", lambda fault: ran.append("first") or 0, 0),
        Claim("second", "x", "x", interrupt, 0),
    )
    monkeypatch.setattr("verification.__main__.CLAIMS", some)
    monkeypatch.setattr(known, "CLAIMS", some)
    assert main(["run", *out]) == 130
    assert "--resume" in capsys.readouterr().err
    assert main(["run", "--resume", *out]) == 0
    assert ran == ["first", "second", "second"]


@pytest.mark.long
def test_a_killed_run_loses_no_outcome_and_repeats_none(tmp_path):
    command = [sys.executable, "-m", "verification", "run", "--jobs", "1", "--out", str(tmp_path)]
    command += ["--only", "equiangular"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603
    finished, end = tmp_path / "outcomes", time.monotonic() + 60
    while not list(finished.glob("*.json")) and time.monotonic() < end:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*.json")}
    assert before
    (finished / "left.json.1").write_text("{")  # what a kill in the middle of a write leaves
    more = [*command, "--resume"]
    again = subprocess.run(more, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert f"{len(before)} claims are kept" in again.stdout
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    total = sum("equiangular" in claim.name for claim in known.CLAIMS)
    assert again.stdout.splitlines()[-1] == f"{total} passed, 0 failed"


LIGHT = ("classic-in-chart", "ssp-coefficient", "sketch-self-report", "equiangular-scales")


@pytest.mark.parametrize(
    "kind",
    [
        "threads",
        pytest.param("spawn", marks=pytest.mark.long),
        pytest.param("loky", marks=pytest.mark.long),
        pytest.param("dask", marks=pytest.mark.long),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # dask's own sockets at exit
def test_outcomes_do_not_depend_on_the_workers(kind, tmp_path):
    for package in {"loky": ["loky"], "dask": ["distributed"]}.get(kind, []):
        pytest.importorskip(package)
    chosen, found = [claim for claim in known.CLAIMS if claim.name in LIGHT], []
    assert len(chosen) == len(LIGHT)
    for name, jobs in (("spawn", 1), (kind, 2)):
        record, conditions = Record(tmp_path / f"{name}{jobs}"), Conditions(seed=3)
        record.begin(conditions, chosen, resume=False)
        with open_executor(name, jobs) as executor:
            assert (executor is None) == (jobs == 1)
            run_claims(chosen, conditions, record, executor)
        record.conclude(chosen)
        found.append(results(record.folder))
    assert found[0] == found[1]
    assert found[0]["passed"] == len(LIGHT)


@pytest.mark.long
def test_a_worker_that_dies_costs_its_own_claim_only(tmp_path):
    script = (
        "import os, sys\n"
        "from verification import claims as known\n"
        "from verification.claims import Claim\n"
        "def die(fault): os._exit(9)\n"
        "known.CLAIMS = (Claim('dies', 'x', 'x', die, 0), *known.CLAIMS[2:4])\n"
        "import verification.__main__ as program\n"
        "program.CLAIMS = known.CLAIMS\n"
        "if __name__ == '__main__':\n"
        f"    sys.exit(program.main(['run', '--out', {str(tmp_path)!r}, '--jobs', '2']))\n"
    )
    (tmp_path / "program.py").write_text(script)
    found = subprocess.run(  # noqa: S603
        [sys.executable, str(tmp_path / "program.py")],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert found.returncode == 1, found.stderr
    assert found.stdout.splitlines()[-1] == "2 passed, 1 failed"
    assert "FAILED  dies" in found.stdout


class Links(HTMLParser):
    """Identifiers and what is referred to."""

    def __init__(self):
        super().__init__()
        self.ids, self.targets = [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        for key in ("href", "src"):
            if key in attributes and tag in {"a", "img", "script", "link"}:
                self.targets.append(attributes[key])


def test_the_page_is_self_contained_and_its_map_leads_to_every_claim(tmp_path, out):
    assert main(["run", "--only", "equiangular", *out]) == 0
    page = (tmp_path / "index.html").read_text()
    links = Links()
    links.feed(page)
    assert links.targets
    assert all(target[1:] in links.ids for target in links.targets)  # all within the page
    assert page.index("The map") < page.index("Every claim")
    assert "arXiv 2007.06937" in page
    assert "<code>odecore.directions</code>" in page
    for name in ("numpy", "torch", "Seed 0"):
        assert name in page


def test_conditions_tell_what_outcomes_depend_on():
    now = Conditions()
    assert dataclasses.asdict(now) == dataclasses.asdict(Conditions())
    assert {"python", "odecore", "numpy", "torch"} <= set(now.versions)
