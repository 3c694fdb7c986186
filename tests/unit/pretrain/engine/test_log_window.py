"""What the loop adds up, and what it makes of steps that are not finite."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from configs.errors import RunError
from pretrain.engine.log_window import Window
from pretrain.engine.skipped import MOST_DUMPS, SkippedSteps, write_dump
from tests.unit.pretrain.engine.batches import LetterTokenizer, letter_batch

NAN = float("nan")


def window_of(losses: list[list[float]], norms: list[float]) -> Window:
    """A window with these losses of micro-batches; each brings one token."""
    window = Window(torch.device("cpu"))
    for step, (parts, norm) in enumerate(zip(losses, norms)):
        for loss in parts:
            share = torch.tensor(loss)
            window.add(step, share, {"loss": share, "tokens": torch.tensor(1)}, 10.0**step)
        window.close_step(step, torch.tensor(norm), learning_rate=0.5)
    return window


def test_sums_of_all_steps():
    reading = window_of([[1.0, 2.0], [3.0]], [0.5, 0.25]).read()
    assert reading.names == ("loss", "tokens")
    assert reading.sums.tolist() == [6.0, 3.0]
    assert (reading.taken, reading.skipped, reading.norm) == (2, (), 0.25)


def test_skipped_steps_count_for_nothing():
    window = window_of([[1.0, 2.0], [NAN, 4.0], [5.0], [6.0]], [0.5, NAN, math.inf, 0.75])
    reading = window.read()
    assert reading.sums.tolist() == [9.0, 3.0]
    assert (reading.taken, reading.skipped, reading.norm) == (2, (1, 2), 0.75)
    assert (reading.flops, window.flops) == (1001 + 1, 1111 + 1 + 10)
    assert math.isnan(window.losses(1)[0]) and window.losses(1)[1] == 4.0


def test_no_step_taken():
    reading = window_of([[NAN]], [NAN]).read()
    assert reading.taken == 0 and math.isnan(reading.norm)


def test_as_many_in_a_row_as_allowed_end_the_run():
    skipped = SkippedSteps(limit=3, total=4, dumps=Path("dumps"))
    skipped.add((2, 3), end=4)
    skipped.add((5, 6), end=8)
    assert (skipped.total, skipped.in_a_row) == (8, 0)
    skipped.add((8, 9), end=10)
    with pytest.raises(RunError, match="not finite at step 10, nor in 3 steps in a row"):
        skipped.add((10,), end=12)


def test_steps_in_a_row_are_counted_across_windows():
    skipped = SkippedSteps(limit=2, total=0, dumps=Path("dumps"))
    skipped.add((3,), end=4)
    skipped.add((), end=5)
    skipped.add((5,), end=6)
    with pytest.raises(RunError):
        skipped.add((6,), end=7)


def test_a_dump_shows_the_micro_batch_that_did_it(tmp_path):
    batches = [letter_batch("ab", "c"), letter_batch("de")]
    path = write_dump(tmp_path, 12, 3, batches, [1.0, NAN], LetterTokenizer())
    content = json.loads(path.read_text())
    assert path.name == "step-00000012-rank-3.json"
    assert (content["step"], content["rank"]) == (12, 3)
    (part,) = content["micro_batches"]
    assert (part["micro_batch"], part["loss"], part["texts"]) == (1, "nan", ["de"])
    assert part["sample_ids"] == [0]


def test_a_gradient_that_overflowed_alone_shows_all(tmp_path):
    batches = [letter_batch("ab", "c"), letter_batch("de")]
    path = write_dump(tmp_path, 0, 0, batches, [1.0, 2.0], LetterTokenizer())
    shown = [part["texts"] for part in json.loads(path.read_text())["micro_batches"]]
    assert shown == [["ab", "c"], ["de"]]


def test_there_are_only_so_many_dumps(tmp_path):
    arguments = (0, [letter_batch("a")], [NAN], LetterTokenizer())
    written = [write_dump(tmp_path, step, *arguments) for step in range(MOST_DUMPS + 5)]
    assert written[MOST_DUMPS:] == [None] * 5 and len(list(tmp_path.iterdir())) == MOST_DUMPS
