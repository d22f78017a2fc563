"""Values of command lines are refused when they are read, by all programs alike."""

import pytest

from verification import sweep, train_in_parallel
from verification.experiments import (
    adjoint_training,
    cifar10,
    consistency_training,
    direction_paths,
    direction_training,
    normalization_training,
    regime_training,
    text_training,
)

NUMBERS = {
    adjoint_training: ["--seeds"],
    cifar10: ["--limit", "--width", "--steps", "--epochs", "--batch"],
    consistency_training: ["--seeds", "--updates"],
    direction_training: ["--seeds", "--steps"],
    normalization_training: ["--seeds", "--euler", "--updates", "--width"],
    regime_training: ["--seeds"],
    sweep: ["--points", "--steps", "--jobs"],
    text_training: ["--seeds", "--texts"],
    train_in_parallel: ["--steps"],
}
FILES = {
    cifar10: "--keep",
    direction_paths: "--out",
    normalization_training: "--keep",
    sweep: "--out",
}


def refused(program, arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        program.main(arguments)
    assert exit_.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "option"), [(p, option) for p, options in NUMBERS.items() for option in options]
)
def test_numbers_that_are_none_are_refused(program, option, capsys):
    for bad in ("0", "-3", "2.5"):
        error = refused(program, [option, bad], capsys)
        assert f"{option}: must be a whole number, from 1 to 10^9; got {bad!r}" in error


@pytest.mark.parametrize(("program", "option"), FILES.items())
def test_files_that_can_not_be_written_are_refused(program, option, tmp_path, capsys):
    """Before the work whose result they are to hold."""
    (tmp_path / "file").write_text("not a folder")
    for bad in (tmp_path, tmp_path / "file" / "in it"):
        error = refused(program, [option, str(bad)], capsys)
        assert f"{option}: must be a file that can be written; " in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_process_alone_is_told_of_torchrun(monkeypatch, capsys):
    monkeypatch.delenv("RANK", raising=False)
    assert "start it by `torchrun`" in refused(train_in_parallel, [], capsys)
