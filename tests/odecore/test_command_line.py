"""`python -m odecore` as a user meets it."""

import json
import subprocess
import sys

import pytest

from odecore.__main__ import main
from odecore.tableaux import tableau, tableau_from_json, tableau_to_json


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


def test_json_files_are_read(capsys, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(tableau_to_json(tableau("kutta3")))
    assert "[" not in run(capsys, "order", str(path))[2]
    code, out, _ = run(capsys, "tableau", str(path), "--json")
    assert code == 0
    assert tableau_from_json(out) == tableau("kutta3")


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
        (("family", "RK5"), "did you mean RK"),
        (("tableau", "RK4"), "choose a member with --at u=... v=..."),
        (("tableau", "RK4", "--at", "u"), "--at takes name=value"),
        (("tableau", "RK4", "--at", "u=1/3"), "has the parameters u, v"),
        (("tableau", "RK4", "--at", "u=0", "v=1/2"), "u = 0"),
        (("tableau", "RK4", "--at", "u=__import__('os')", "v=1/2"), "not an exact number"),
        (("tableau", "classic", "--at", "u=1"), "--at needs a family"),
        (("order", "missing.json"), "missing.json"),
    ],
)
def test_mistakes_end_with_a_remedy(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert not out


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "odecore", "order", "heun"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert "stage order" in found.stdout
