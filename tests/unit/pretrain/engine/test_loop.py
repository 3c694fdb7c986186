"""The loop on a toy: when it logs, evaluates, saves and leaves; a resume changes nothing."""

from __future__ import annotations

import gc
import json
import weakref
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from configs.errors import RunError
from configs.schema import CheckpointConfig, OptimizerConfig, SafetyConfig, ScheduleConfig
from configs.system.run_folder import RunFolder
from pretrain.engine.loop import Loop
from pretrain.engine.objective import Objective, Share
from pretrain.engine.reporter import Reporter
from pretrain.optim.schedule import Phase, Schedule
from pretrain.randomness import Purpose, key_64
from pretrain.ranks.preemption import Preempted, PreemptionNotice
from pretrain.ranks.world import World
from pretrain.run import checkpoint, checkpoint_state
from pretrain.run.checkpoint_folder import list_checkpoints, step_of
from pretrain.run.log import RunLog
from tests.unit.pretrain.engine.batches import LetterTokenizer, letter_batch

NAN = float("nan")
CPU = torch.device("cpu")


class ToyEngine:
    """Plain gradient descent in the place of DeepSpeed."""

    def __init__(self) -> None:
        self.world, self.model = World(0, 1, CPU), torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.model.weight, 1.0)
        torch.nn.init.constant_(self.model.bias, 0.0)
        self.calls: list[str] = []

    @contextmanager
    def casts_kept(self):
        self.calls.append("keep")
        yield
        self.calls.append("drop")

    def train(self, mode: bool = True) -> None:
        self.model.train(mode)

    def backward(self, loss: torch.Tensor, is_last: bool) -> None:
        self.calls.append("last" if is_last else "backward")
        loss.backward()

    def step(self, rate: float) -> torch.Tensor:
        self.calls.append("update")
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters()])
        for parameter in self.model.parameters():
            if torch.isfinite(norm):
                parameter.data -= rate * parameter.grad
            parameter.grad = None
        return norm

    def full_weight(self, parameter: torch.Tensor) -> torch.Tensor:
        return parameter.detach()

    def moments_of(self, parameter: torch.Tensor) -> tuple[str, ...]:
        return checkpoint.MOMENTS

    def full_moment(self, parameter: torch.Tensor, moment: str) -> torch.Tensor:
        return torch.zeros_like(parameter)

    @torch.no_grad()
    def set_weight(self, parameter: torch.Tensor, value: torch.Tensor) -> None:
        parameter.copy_(value)

    def set_moment(self, parameter: torch.Tensor, moment: str, value: torch.Tensor) -> None:
        pass

    def set_step(self, step: int) -> None:
        pass


class ToyData:
    """Two micro-batches a step, of one and of two letters."""

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list:
        return [letter_batch(chr(ord("a") + step)), letter_batch("xy")]

    def prefetched(self, first: int, last: int, *_):
        yield from (self.step(step) for step in range(first, last))


class ToyObjective(Objective):
    """Squares of a line; dropout's generator is part of the loss, so that its seed shows."""

    seed = 7

    def __init__(
        self, folder: Path, steps: int, state: checkpoint_state.State, name: str = ""
    ) -> None:
        self.engine, self.data, self.name = ToyEngine(), ToyData(), name
        self.schedule = Schedule.make(ScheduleConfig(max_steps=steps), [Phase(0, 4, 12)])
        log = RunLog(folder, True, state.step)
        self.reporter = Reporter(log, folder, self.schedule, LetterTokenizer(), name)
        self.called: list[str] = []
        self.drawn: list[float] = []
        self.bad: set[int] = set()
        self.last_evaluation = 0

    def counts(self, batches):
        return (sum(len(batch.tokens_T) for batch in batches),)

    def share(self, batch, divisors):
        self.drawn.append(float(torch.rand(())))
        values = batch.tokens_T[:, None].float() / 100 + self.drawn[-1]
        loss = self.engine.model(values).square().sum() / divisors[0]
        if int(batch.tokens_T[0]) - ord("a") in self.bad:
            loss = loss * NAN
        return Share(loss, {"loss": loss}, flops=1.0)

    def evaluates_at(self, step):
        return step % 3 == 0

    def evaluate(self, step):
        self.called.append(f"evaluate {step}")
        return step == self.last_evaluation

    def certify(self, step, beat):
        self.called.append(f"save {step}")

    def extra_state(self):
        return {"called": len(self.called)}, {"best": torch.ones(1)}


def toy_loop(folder: Path, steps: int = 8, notice=None, resume: bool = False, **changes) -> Loop:
    """Saves every 4 steps and logs every 2; `changes` are of the objective."""
    saved = checkpoint.find_last(folder / "checkpoints") if resume else None
    state = checkpoint_state.read_state(saved, {}) if saved else checkpoint_state.State(0)
    objective = ToyObjective(folder, steps, state)
    for name, value in changes.items():
        setattr(objective, name, value)
    config = SimpleNamespace(
        log_every_steps=2,
        optimizer=OptimizerConfig(learning_rate=0.1),
        checkpoint=CheckpointConfig(every_steps=4),
        safety=SafetyConfig(max_skipped_steps=3),
    )
    if saved:
        checkpoint.restore(saved, objective.engine, state)
    writer = checkpoint.Writer(folder / "checkpoints", config.checkpoint)
    beat = lambda doing: objective.called.append(f"beat: {doing}")  # noqa: E731
    return Loop(objective, config, state, writer, notice or PreemptionNotice(), beat)


def weights(loop: Loop) -> list[float]:
    return [p.item() for p in loop.engine.model.parameters()]


def without_times(folder: Path) -> list[dict]:
    timed = ("time", "tokens_per_second", "memory_gigabytes")
    records = RunFolder(folder).read_metrics()
    return [{k: v for k, v in record.items() if k not in timed} for record in records]


def saved_steps(folder: Path) -> list[int]:
    return [step_of(p) for p in list_checkpoints(folder / "checkpoints")]


class After(PreemptionNotice):
    """A notice that is given once it was asked so many times."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def is_given(self) -> bool:
        self.left -= 1
        self.reason = "SIGTERM" if self.left < 0 else None
        return self.left < 0


def test_evaluations_and_saves_come_in_this_order(tmp_path):
    loop = toy_loop(tmp_path, name="seed=0")
    loop.run()
    done = [line for line in loop.objective.called if not line.startswith("beat")]
    assert done == ["evaluate 3", "save 4", "evaluate 6", "evaluate 8", "save 8"]
    records = without_times(tmp_path)
    assert [(r["kind"], r["step"]) for r in records] == [("train", s) for s in (2, 4, 6, 8)]
    assert loop.engine.calls == ["keep", "backward", "last", "drop", "update"] * 8
    assert saved_steps(tmp_path) == [4, 8]
    state = checkpoint_state.read_state(tmp_path / "checkpoints/step-00000008", {})
    assert (state.step, state.evaluated_step, state.tokens) == (8, 8, 24)
    assert state.extra == {"called": len(loop.objective.called)}


def test_what_comes_next_is_told_with_the_name_of_what_is_trained(tmp_path):
    loop = toy_loop(tmp_path, steps=4)
    loop.prefix = "seed=0, "
    loop.run()
    beats = [line for line in loop.objective.called if line.startswith("beat")]
    assert beats == [f"beat: seed=0, step {s}" for s in range(3)] + [
        "beat: seed=0, evaluation at step 3",
        "beat: seed=0, step 3",
        "beat: seed=0, evaluation at step 4",
        "beat: seed=0, checkpoint at step 4",
    ]


def test_a_line_of_the_log_has_means_over_steps(tmp_path):
    loop = toy_loop(tmp_path, steps=2)
    losses, backward = [], loop.engine.backward
    loop.engine.backward = lambda loss, is_last: (
        losses.append(loss.item()),
        backward(loss, is_last),
    )
    loop.run()
    (record,) = without_times(tmp_path)
    assert record["loss"] == pytest.approx(sum(losses) / 2)
    assert record["learning_rate"] == pytest.approx(0.05)


def test_dropout_is_a_function_of_seed_step_and_place(tmp_path):
    loop = toy_loop(tmp_path, steps=2)
    loop.run()
    expected = []
    for step, place in ((0, 0), (0, 1), (1, 0), (1, 1)):
        torch.manual_seed(key_64(7, Purpose.DROPOUT, step, place))
        expected.append(float(torch.rand(())))
    assert loop.objective.drawn == expected


@pytest.mark.parametrize("asked", [0, 1, 2, 3, 5, 6])
def test_a_loop_that_was_cut_anywhere_ends_with_the_same_bits(tmp_path, asked):
    calm = toy_loop(tmp_path / "calm")
    calm.run()
    cut, starts = tmp_path / "cut", 0
    while True:
        loop = toy_loop(cut, notice=After(asked), resume=True)
        starts += 1
        try:
            loop.run()
        except Preempted as left:
            assert saved_steps(cut)[-1] == left.step > loop.state.step
            continue
        break
    assert starts == -(-8 // max(asked, 1))
    assert weights(loop) == weights(calm)


def test_a_kill_is_made_up_for_from_the_last_save(tmp_path):
    calm = toy_loop(tmp_path / "calm")
    calm.run()
    killed = toy_loop(tmp_path / "killed")
    evaluate = killed.objective.evaluate
    killed.objective.evaluate = lambda step: 1 / 0 if step == 6 else evaluate(step)
    with pytest.raises(ZeroDivisionError):
        killed.run()
    assert saved_steps(tmp_path / "killed") == [4]
    again = toy_loop(tmp_path / "killed", resume=True)
    again.run()
    assert again.state.step == 4 and weights(again) == weights(calm)
    assert without_times(tmp_path / "killed") == without_times(tmp_path / "calm")


class Picture:
    """Refers to itself, as a figure does through its axes."""

    def __init__(self) -> None:
        self.axes = self


def test_what_an_evaluation_left_in_a_circle_is_freed(tmp_path):
    loop, left = toy_loop(tmp_path), []
    loop.objective.evaluate = lambda _: left.append(weakref.ref(Picture()))
    gc.disable()
    try:
        loop.evaluate(3)
    finally:
        gc.enable()
    assert left[0]() is None


def test_a_finished_loop_does_nothing_more(tmp_path):
    toy_loop(tmp_path).run()
    again = toy_loop(tmp_path, resume=True)
    again.run()
    assert not again.objective.called and len(without_times(tmp_path)) == 4


def test_an_evaluation_may_end_it_and_what_need_not_stay_is_not_saved(tmp_path):
    loop = toy_loop(tmp_path, last_evaluation=6, saves_last_step=False)
    loop.run()
    assert loop.objective.called[-1] == "evaluate 6"
    assert saved_steps(tmp_path) == [4]
    assert [r["step"] for r in without_times(tmp_path)] == [2, 4, 6]


def test_a_skipped_step_is_told_dumped_and_counts_for_nothing(tmp_path, caplog):
    loop = toy_loop(tmp_path, bad={2})
    with caplog.at_level("INFO"):
        loop.run()
    skipped = [r for r in without_times(tmp_path) if r["kind"] == "skipped"]
    assert skipped == [{"kind": "skipped", "step": 4, "steps": 1, "total": 1}]
    assert "skipped [2]: loss or gradient not finite" in caplog.text
    dump = json.loads((tmp_path / "dumps/step-00000002-rank-0.json").read_text())
    assert [part["texts"] for part in dump["micro_batches"]] == [["c"]]
    state = checkpoint_state.read_state(tmp_path / "checkpoints/step-00000008", {})
    assert (state.skipped_steps, state.tokens) == (1, 21)
    assert loop.state.step == 0 and all(map(torch.isfinite, map(torch.tensor, weights(loop))))


def test_too_many_skipped_steps_end_it(tmp_path):
    with pytest.raises(RunError, match="not finite at step 5, nor in 3 steps in a row"):
        toy_loop(tmp_path, bad={3, 4, 5}).run()


def test_a_clock_ends_it_and_the_last_step_is_scored_and_saved(tmp_path, monkeypatch):
    loop = toy_loop(tmp_path)
    loop.schedule = Schedule.make(ScheduleConfig(max_steps=None, max_minutes=5), [Phase(0, 4, 12)])
    loop.objective.data.prefetched = lambda *a: iter(lambda: ToyData().step(0), None)
    minutes = iter(range(100))
    monkeypatch.setattr(Loop, "elapsed_minutes", property(lambda self: next(minutes)))
    loop.run()
    (last,) = saved_steps(tmp_path)[-1:]
    assert loop.objective.called[-1] == f"save {last}"
    assert f"evaluate {last}" in loop.objective.called
    state = checkpoint_state.read_state(tmp_path / f"checkpoints/step-{last:08d}", {})
    assert state.evaluated_step == last


def test_time_of_earlier_starts_counts(tmp_path):
    loop = toy_loop(tmp_path)
    state = checkpoint_state.State(4, elapsed_minutes=3.0)
    beat, notice = lambda doing: None, PreemptionNotice()
    again = Loop(loop.objective, loop.config, state, loop.writer, notice, beat)
    assert 3 <= again.elapsed_minutes < 3.5


def test_old_checkpoints_and_leftovers_of_a_kill_go_at_the_end(tmp_path):
    toy_loop(tmp_path).run()
    for name in ("step-00000002", ".step-00000008.0123abcd"):
        (tmp_path / "checkpoints" / name).mkdir()
    toy_loop(tmp_path, resume=True).run()
    assert saved_steps(tmp_path) == [4, 8]
    assert not list((tmp_path / "checkpoints").glob(".*"))
