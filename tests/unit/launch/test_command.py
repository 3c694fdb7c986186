"""How a command ends: in one line, said by one rank, with a code that tells what it was."""

from __future__ import annotations

import pytest

from configs.errors import InputError, RunError
from configs.schema import PretrainConfig
from launch import command


def leave(monkeypatch, rank: int, error: Exception) -> int:
    """The exit code of a rank whose work ends in `error`."""
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setattr(command.time, "sleep", lambda seconds: None)

    def end(code: int) -> None:
        raise SystemExit(code)

    def main() -> None:
        raise error

    monkeypatch.setattr(command.os, "_exit", end)
    with pytest.raises(SystemExit) as left:
        command.run(main)
    return left.value.code


def of_all_ranks(error: Exception) -> Exception:
    error.is_of_all_ranks = True
    return error


def test_what_all_ranks_raise_is_said_by_rank_0(monkeypatch, capsys):
    assert leave(monkeypatch, 1, of_all_ranks(InputError("no text"))) == 2
    assert capsys.readouterr().err == ""
    assert leave(monkeypatch, 0, of_all_ranks(RunError("no memory"))) == 1
    assert capsys.readouterr().err == "error: no memory\n"


def test_what_one_rank_alone_raises_has_its_number(monkeypatch, capsys):
    assert leave(monkeypatch, 3, InputError("no text")) == 2
    assert capsys.readouterr().err == "error: rank 3: no text\n"
    assert leave(monkeypatch, 3, RunError("rank 3 ran out of memory")) == 1
    assert capsys.readouterr().err == "error: rank 3 ran out of memory\n"


@pytest.mark.parametrize(("rank", "told"), [("0", True), ("1", False)])
def test_a_model_that_no_class_holds_is_told_when_its_configuration_is_read(
    monkeypatch, console, rank, told
):
    monkeypatch.setenv("RANK", rank)
    parser = command.config_parser("pretrain.py", "", PretrainConfig)
    words = ["--config", "roberta_small", "model.norm=pre", "model.qk_norm=true"]
    command.read_config(parser.parse_intermixed_args(words), PretrainConfig)
    note = console.readouterr().err
    line = "RobertaForMaskedLM has no place for model.norm=pre, model.qk_norm=true, so that no"
    assert (line in note) == told and note.count("\n") == told
    command.read_config(parser.parse_intermixed_args(words[:2]), PretrainConfig)
    assert console.readouterr().err == ""
