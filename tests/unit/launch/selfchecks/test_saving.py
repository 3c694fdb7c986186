"""What saving in a thread is judged by."""

from __future__ import annotations

import torch

from launch.selfchecks import saving
from tests.unit.pretrain.run.runs import FakeEngine


class Steps:
    """Steps that change every weight."""

    def __init__(self) -> None:
        self.engine = FakeEngine(torch.nn.Linear(300, 300))
        self.engine.fill(0)
        self.taken = 0

    def take(self) -> None:
        self.engine.fill(self.taken + 1)
        self.taken += 1  # last: a thread may wait for it

    def wait(self) -> None:
        pass


def found(tmp_path, steps: Steps):
    both = [saving.save(tmp_path, steps, asynchronous) for asynchronous in (False, True)]
    return list(saving.compare(*both))


def test_what_is_saved_is_the_state_before_the_steps(tmp_path):
    steps = Steps()
    same, waits = found(tmp_path, steps)
    assert steps.taken == saving.AHEAD and same.state == "ok"
    assert waits.values["size"] > 3 * 4 * 300 * 300


def test_a_thread_that_writes_what_steps_change_fails(tmp_path, monkeypatch):
    from pretrain.run import checkpoint

    gather, write = checkpoint.gather, checkpoint.Writer._write
    steps = Steps()
    monkeypatch.setattr(checkpoint, "gather", lambda engine, copy: gather(engine))

    def late(*words):
        while steps.taken == 0 and words[0].config.asynchronous:
            pass
        write(*words)

    monkeypatch.setattr(checkpoint.Writer, "_write", late)
    same, _ = found(tmp_path, steps)
    assert same.state == "FAILED" and "DIFFER" in same.text


def test_a_damaged_checkpoint_fails(tmp_path):
    both = [saving.save(tmp_path, Steps(), asynchronous) for asynchronous in (False, True)]
    for saved in both:
        with (saved.path / "model.safetensors").open("ab") as file:
            file.write(b"!")
    assert next(saving.compare(*both)).state == "FAILED"
