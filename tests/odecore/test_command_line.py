"""`python -m odecore` as a user meets it."""

import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from odecore.__main__ import main
from odecore.tableaux import tableau, tableau_from_json, tableau_to_json
from verification.__main__ import main as verify


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("tableau", "classic"), ["1/2  |  1/2", "order 4, 4 stages", "source: Kutta"]),
        (("tableau", "tsit5"), ["known to within 1e-75"]),
        (("tableau", "RK4", "--at", "u=1/3", "v=2/3"), ["RK4(u=1/3, v=2/3)", "1/8  3/8  3/8  1/8"]),
        (("tableau", "SDIRK2", "--at", "gamma=1-1/2*sqrt(2)", "c=1"), ["1-1/2*sqrt(2)"]),
        (("order", "dopri5"), ["order ", "5", "sqrt(16719)/324000", "B(5), C(1), D(1)", "embedded order"]),
        (("order", "gauss3"), ["symplectic", "yes", "B(6), C(3), D(3)"]),
        (("order", "ark548_esdirk"), ["norm 2       0.001679799447"]),  # of more digits than Python writes
        (("stability", "classic"), ["2.785293563405282", "2.82842712474619", "not A-stable", "1/24"]),
        (("stability", "radau_iia3"), ["inf", "L-stable"]),
        (("family", "RK4"), ["4, proved", "holds", "6*u*v", "three_eighths", "chart at (1/2, 1/2)"]),
        (("family", "rk2"), ["2, proved", "u = 0"]),
        (("family", "list"), ["COLLOCATION2", "RKC1(5)"]),
        (("tableau", "list"), ["radau_iia3"]),
    ],
)  # fmt: skip
def test_commands(capsys, arguments, expected):
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    for text in expected:
        assert text in out


@pytest.mark.parametrize("command", ["tableau", "order", "stability", "family"])
def test_json(capsys, command):
    name = "RK4B" if command == "family" else "gill"
    code, out, _ = run(capsys, command, name, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


@pytest.mark.filterwarnings("ignore:a coefficient of this member")
def test_members_beyond_floats_are_exact_or_refused(capsys):
    code, out, _ = run(capsys, "order", "RK4", "--at", "u=1e400", "v=2")
    assert code == 0
    assert "principal error, norm 2       above 1.8e308" in out
    for u in ("1e400", "1e-400"):
        code, _, err = run(capsys, "stability", "RK4", "--at", f"u={u}", "v=2")
        assert code == 2
        assert "a coefficient of RK4(u=1" in err
        assert "is beyond the largest float" in err


def test_json_files_are_read(capsys, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(tableau_to_json(tableau("kutta3")))
    found = run(capsys, "order", str(path))
    assert "[" not in found[2]
    path.write_text(tableau_to_json(tableau("kutta3")), encoding="utf-8-sig")  # of other editors
    assert run(capsys, "order", str(path)) == found
    code, out, _ = run(capsys, "tableau", str(path), "--json")
    assert code == 0
    assert tableau_from_json(out) == tableau("kutta3")


def test_json_is_read_from_the_input(capsys, monkeypatch):
    text = tableau_to_json(tableau("kutta3")).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert run(capsys, "order", "-")[1] == run(capsys, "order", "kutta3")[1]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "error: -: not JSON: " in run(capsys, "order", "-")[2]


def test_plots(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    for arguments in (("stability", "classic"), ("family", "RK4B", "--at", "w=1/3")):
        path = tmp_path / "region.png"
        code, out, _ = run(capsys, *arguments, "--plot", str(path))
        assert code == 0
        assert f"wrote {path}" in out
        assert path.read_bytes()[:4] == b"\x89PNG"
        path.unlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("order", "dorpi5"), "did you mean 'dopri5'"),
        (
            ("order", "RK45"),
            "no method or family 'RK45': the method nearest to SciPy's is 'dopri5'; ",
        ),
        (("tableau", "dopri8"), "torchdiffeq's is 'dormand_prince87' here; "),
        (("stability", "DOP853"), "nearest to SciPy's is 'dop853'; "),
        (("family", "RK5"), "did you mean 'RK"),
        (("tableau", "RK4"), "choose a member with --at u=... v=..."),
        (("tableau", "RK4", "--at", "u"), "--at takes name=value"),
        (("tableau", "RK4", "--at", "u=1/3"), "has the parameters u, v"),
        (("tableau", "RK4", "--at", "u=0", "v=1/2"), "u = 0"),
        (("tableau", "RK4", "--at", "u=__import__('os')", "v=1/2"), "not an exact number"),
        (("tableau", "classic", "--at", "u=1"), "--at needs a family"),
        (("order", "missing.json"), "error: missing.json: No such file"),
        (("family", "dopri5"), "'dopri5' is one method, no family: `python -m odecore tableau"),
    ],
)
def test_mistakes_end_with_a_remedy(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert not out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not text in UTF-8"),
        (b"{", "not JSON: "),
        (b"[1]", "a tableau is a JSON object"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(capsys, tmp_path, content, message):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    code, out, err = run(capsys, "order", str(path))
    assert code == 2
    assert f"error: {path}: {message}" in err
    assert not out


@pytest.mark.long
def test_orders_are_decided_as_far_as_they_are_at_all(capsys, tmp_path):
    path = tmp_path / "vague.json"
    path.write_text('{"A": [["1/2"]], "b": ["1"], "uncertainty": "1/2"}')
    _, _, err = run(capsys, "order", str(path))
    assert "all order conditions up to `max_order` = 14 hold; no higher ones are decided" in err


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.split() == ["odecore", version("odecore")]


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "odecore", "order", "heun"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert "stage order" in found.stdout


# Found by attack. ------------------------------------------------------------------------------


def unwritable(target):
    if target == "full":
        if not Path("/dev/full").exists():
            pytest.skip("this system has no /dev/full")
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("target", ["pipe", "full"])
def test_output_that_cannot_be_written_ends_quietly(target, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with os.fdopen(unwritable(target), "wb") as output:
        command = [sys.executable, "-m", "odecore", "order", "heun"]
        found = subprocess.run(  # noqa: S603
            command, stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    if target == "pipe":
        assert (found.returncode, found.stderr) == (0, "")
    else:
        assert found.returncode == 2
        assert "No space left" in found.stderr
        assert "Exception ignored" not in found.stderr


@pytest.mark.parametrize(("target", "code"), [("pipe", 0), ("full", 2)])
def test_claims_that_cannot_be_written_end_quietly(target, code, monkeypatch):
    output = os.fdopen(unwritable(target), "w")
    monkeypatch.setattr(sys, "stdout", output)
    assert verify(["list"]) == code
    assert sys.stdout is None
    with suppress(OSError):
        output.close()


def test_signs_that_the_output_lacks_are_escaped(tmp_path):
    path = tmp_path / "wrong.json"
    path.write_text(tableau_to_json(replace(tableau("heun"), order=3)))
    command = [sys.executable, "-m", "odecore", "order", str(path)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603
    assert "[[\\u2022]]" in found.stdout


def test_reports_in_json_hold_what_they_print(capsys):
    _, out, _ = run(capsys, "stability", "radau_iia3", "--json")

    def refuse(text):
        raise AssertionError(text)

    found = json.loads(out, parse_constant=refuse)
    assert found["real interval"] == "inf"
    assert found["decision"].startswith("L-stable")
    _, out, _ = run(capsys, "order", "dopri5", "--json")
    found = json.loads(out)
    assert (found["order"], found["stage order"], found["embedded order"]) == (5, 1, 4)
    assert found["dominance"] == "9.91226"
    _, out, _ = run(capsys, "stability", "gill", "--json")
    found = json.loads(out)
    assert (found["dispersion order"], found["dissipation order"]) == (4, 5)
    _, out, _ = run(capsys, "order", "gauss2", "--json")
    assert json.loads(out)["stage order"] == 2
    _, out, _ = run(capsys, "tableau", "list", "--json")
    assert "gill" in json.loads(out)


def test_failing_trees_are_shown(capsys, tmp_path):
    path = tmp_path / "wrong.json"
    path.write_text(tableau_to_json(replace(tableau("heun"), order=3)))
    code, out, _ = run(capsys, "order", str(path))
    assert code == 0
    assert "failing trees" in out
    assert "[[•]]: -1/6" in out


def test_pictures_are_written_where_they_are_said_to_be(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure"
    code, out, _ = run(capsys, "stability", "heun", "--plot", str(path))
    assert code == 0
    assert f"wrote {path}" in out
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [item.name for item in tmp_path.iterdir()] == ["figure"]
    code, _, err = run(capsys, "stability", "heun", "--plot", str(tmp_path))
    assert code == 2
    assert "directory" in err
    assert not tmp_path.with_suffix(".png").exists()
    code, out, _ = run(capsys, "stability", "heun", "--json", "--plot", str(path))
    assert json.loads(out)["name"]


def test_charts_are_families(capsys):
    name = "RK4 chart at (1/2, 1/2)"
    code, out, _ = run(capsys, "tableau", name, "--at", "u=1/2", "m=-1")
    assert code == 0
    assert "1/6  1/3  1/3  1/6" in out
    code, out, _ = run(capsys, "family", name)
    assert code == 0
    assert "member classic" in out


def test_a_family_without_excluded_set_says_so(capsys):
    lines = run(capsys, "family", "THETA")[1].splitlines()
    assert ["excluded", "nothing"] in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tableau", "RK4", "--at", "u=1/3", "u=1/4", "v=1/2"), "gives u twice"),
        (("tableau", "list", "--at", "u=1"), "neither --at nor --plot"),
        (("family", "list", "--plot", "x.png"), "neither --at nor --plot"),
        (("order", "DOPRI5"), "did you mean 'dopri5'"),
        (("order", "dorpi5"), "`python -m odecore tableau list` shows all"),
        (("tableau", "RK5", "--at", "u=1"), "no family 'RK5': did you mean 'RK"),
        (("family", "zzz"), "no family 'zzz': `python -m odecore family list` shows all"),
        (("family", "RK4", "--plot", "x.png"), "choose a member with --at"),
    ],
)
def test_mistakes_are_named_one_by_one(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert not out


def test_numbers_of_seeds_are_whole(capsys):
    with pytest.raises(SystemExit):
        verify(["demo", "--seeds", "x"])
    assert "must be a whole number, from 1 to 10^9; got 'x'" in capsys.readouterr().err
