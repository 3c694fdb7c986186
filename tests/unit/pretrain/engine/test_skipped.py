"""Steps that are skipped: how many in a row end the run, and what is dumped of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from configs.errors import RunError
from pretrain.engine.skipped import MOST_DUMPS, SkippedSteps, write_dump
from tests.unit.pretrain.engine.batches import LetterTokenizer, letter_batch


def test_so_many_in_a_row_end_the_run_and_one_less_does_not():
    steps = SkippedSteps(limit=3, total=0, dumps=Path("dumps"))
    steps.add((4, 5), end=10)
    steps.add((8, 9), end=10)
    with pytest.raises(RunError, match="not finite at step 10, nor in 3 steps in a row"):
        steps.add((10,), end=11)
    assert steps.total == 5


def test_a_row_goes_on_over_log_lines_but_not_over_a_step_that_was_taken():
    steps = SkippedSteps(limit=3, total=7, dumps=Path("dumps"))
    steps.add((9,), end=10)
    steps.add((), end=20)
    steps.add((20, 21), end=30)
    assert (steps.total, steps.in_a_row) == (10, 0)
    steps.add((29,), end=30)
    assert steps.in_a_row == 1


def test_a_dump_shows_the_micro_batch_that_failed(tmp_path):
    batches = [letter_batch("good"), letter_batch("evil")]
    path = write_dump(tmp_path / "dumps", 12, 1, batches, [2.5, math.nan], LetterTokenizer())
    dump = json.loads(path.read_text())
    assert (path.name, dump["step"], dump["rank"]) == ("step-00000012-rank-1.json", 12, 1)
    (part,) = dump["micro_batches"]
    assert (part["micro_batch"], part["loss"], part["texts"]) == (1, "nan", ["evil"])


def test_where_no_loss_failed_all_are_shown_and_there_is_a_limit_to_dumps(tmp_path):
    batches = [letter_batch("a"), letter_batch("b")]
    for step in range(MOST_DUMPS):
        path = write_dump(tmp_path, step, 0, batches, [1.0, 2.0], LetterTokenizer())
        assert len(json.loads(path.read_text())["micro_batches"]) == 2
    assert write_dump(tmp_path, MOST_DUMPS, 0, batches, [1.0, 2.0], LetterTokenizer()) is None
    assert write_dump(tmp_path, MOST_DUMPS, 1, batches, [1.0, 2.0], LetterTokenizer()) is not None
