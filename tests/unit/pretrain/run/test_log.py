"""metrics.jsonl after crashes and power cuts, and TensorBoard's file beside it."""

from __future__ import annotations

import json

import pytest

from configs.system.run_folder import RunFolder
from pretrain.run.log import RunLog

WHOLE = [json.dumps({"kind": "train", "step": step, "loss": 1.5}).encode() for step in (1, 2, 3)]
TORN = {
    "the first line": [WHOLE[0][:9], *WHOLE[1:]],
    "the last line": [*WHOLE[:2], WHOLE[2][:20]],
    "a line in the middle": [WHOLE[0], WHOLE[1][5:], WHOLE[2]],
    "zeros": [b"\0" * 4096, *WHOLE[1:]],
    "no characters": [b"\xff\xfe\x80", *WHOLE[1:]],
    "a number": [b"17", *WHOLE[1:]],
    "a list": [b"[1]", *WHOLE[1:]],
    "no step": [b'{"kind": "train"}', *WHOLE[1:]],
}


@pytest.mark.parametrize("case", TORN)
def test_torn_lines_are_counted_and_the_rest_is_read(tmp_path, console, case):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(TORN[case]) + b"\n")
    assert len(RunFolder(tmp_path).read_metrics()) == 2
    told = console.readouterr().err
    assert told == f"note: {path}: torn lines, or none of a run's: 1 left out\n"
    RunFolder(tmp_path).drop_metrics_after(3)
    console.readouterr()
    assert len(RunFolder(tmp_path).read_metrics()) == 2
    assert not console.readouterr().err


@pytest.mark.parametrize("content", [b'{"kind": "tra', b"\0" * 512, b"\xff\xff"])
def test_a_log_that_is_nothing_but_torn_begins_anew(tmp_path, content):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    log = RunLog(tmp_path, True, resumed_step=2)
    log.record("train", 3, {"loss": 1.0})
    log.close()
    assert [record["step"] for record in RunFolder(tmp_path).read_metrics()] == [3]
    assert len(path.read_bytes().splitlines()) == 1


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(point.step, round(point.value, 4)) for point in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_the_events_and_forgets_those_after_a_resumed_step(tmp_path):
    first = RunLog(tmp_path, True)
    for step in (1, 2, 3):
        first.record("train", step, {"loss": step / 2, "f1($_\udcff\n)": 0.25})
    first.close()
    second = RunLog(tmp_path, True, resumed_step=2)
    second.record("train", 3, {"loss": 9.0})
    second.close()
    found = scalars(tmp_path / "tensorboard")
    assert found["train/loss"] == [(1, 0.5), (2, 1.0), (3, 9.0)]
    assert [value for _, value in found["train/f1($_\\udcff\\n)"]] == [0.25] * 2


def test_a_kill_leaves_what_was_flushed_and_a_log_that_begins_anew_shows_each_step_once(tmp_path):
    killed = RunLog(tmp_path, is_main=True)
    killed.record("train", 1, {"loss": 3.0})
    killed.record("train", 2, {"loss": 2.5})
    killed.flush()
    assert scalars(tmp_path / "tensorboard")["train/loss"] == [(1, 3.0), (2, 2.5)]
    anew = RunLog(tmp_path, is_main=True)
    anew.record("train", 1, {"loss": 3.0})
    anew.close()
    assert scalars(tmp_path / "tensorboard")["train/loss"] == [(1, 3.0)]
    assert [record["step"] for record in RunFolder(tmp_path).read_metrics()] == [1]


def test_a_full_disk_takes_tensorboard_alone_where_the_log_still_fits(tmp_path, disk, console):
    log = RunLog(tmp_path, True, tensorboard=disk.folder)
    disk.leave(0)
    for step in range(1, 2000):
        log.record("train", step, {"loss": 1.0})
        if step % 100 == 0:
            log._flushed = -1e9
    log.close()
    assert len(RunFolder(tmp_path).read_metrics()) == 1999
    told = console.readouterr().err
    assert told.count("TensorBoard's further events could not be made") == 1
    assert told.count("\n") == 1
