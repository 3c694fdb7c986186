"""Answers as lines of CSV, in a file and on both kinds of standard output."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest

from configs.system.safe_text import Spreadsheet
from launch.answers import show_answers, write_answers

NAMES = ["id", "prediction"]
ANSWERS = [{"prediction": "a,b", "id": 1}, {"prediction": "=2\x1b", "id": 2}]


def test_a_file_holds_the_answers_as_they_are(tmp_path):
    path = tmp_path / "new" / "out.csv"
    write_answers(path, NAMES, ANSWERS, None)
    assert path.read_bytes() == b'id,prediction\r\n1,"a,b"\r\n2,=2\x1b\r\n'


def test_a_formula_is_made_text_where_that_is_asked_for(tmp_path):
    safe = Spreadsheet()
    write_answers(tmp_path / "out.csv", NAMES, ANSWERS, safe)
    assert (tmp_path / "out.csv").read_bytes().endswith(b"2,'=2\x1b\r\n") and safe.changed == 1


def test_a_file_appears_as_a_whole_or_not_at_all(tmp_path):
    def broken() -> Iterator[dict[str, object]]:
        yield ANSWERS[0]
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        write_answers(tmp_path / "out.csv", NAMES, broken(), None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("watched", "last"), [(False, "2,=2\x1b\r\n"), (True, "2,=2\\x1b\n")], ids=["pipe", "terminal"]
)
def test_a_terminal_is_shown_what_a_pipe_gets_as_it_is(monkeypatch, watched, last):
    out = io.StringIO()
    out.isatty = lambda: watched
    monkeypatch.setattr(sys, "stdout", out)
    show_answers(NAMES, ANSWERS, None)
    assert out.getvalue().endswith(last)
