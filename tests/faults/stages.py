"""The stages of a run's life: rows of data, each with what shows from outside that it is now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.lives import EVALUATE_EVERY, STEPS, STEPS_OF_RANKS
from tests.faults.starts import Start

A_PIECE = "cache/stores/*/.[0-9]*.????????"
A_TRIAL_SAVE = "run/trials/seed=0/checkpoints/.step-*"
LAST = f"run/checkpoints/step-{STEPS:08d}"


@dataclass(frozen=True)
class Stage:
    """When and whom to kill."""

    life: str
    name: str
    is_now: Callable[[Start], bool]
    span: float
    """seconds that it lasts, about: the kill comes at a random moment of them"""
    order: int
    """of the stages of one life: those of equal order come in any"""
    command: int = 0
    whom: str = "all"
    again: bool = False
    """whether it can come more than once in one life"""

    @property
    def title(self) -> str:
        return f"{self.life}: {self.name}"

    @property
    def is_training(self) -> bool:
        """Whether the steps of pretraining run, with all that goes on between them."""
        return self.life in ("pretrain", "asynchronous", "ranks") and self.again


def imports(start: Start) -> bool:
    return not start.has_libraries() and not start.has("cache/*")


def libraries(start: Start) -> bool:
    """PyTorch is there, nothing else yet."""
    return start.has_libraries() and not start.has("cache/*")


def tokenizer(start: Start) -> bool:
    return start.has("cache/tokenizers/*.lock") and not start.has("cache/tokenizers/" + 16 * "?")


def pieces(start: Start) -> bool:
    return start.has("cache/stores/*/") and not start.has("cache/stores/*/manifest.json")


def joining(start: Start) -> bool:
    return start.has("cache/stores/*/train") and not start.has("cache/stores/*/manifest.json")


def building(start: Start) -> bool:
    return start.has("cache/stores/*/manifest.json") and not start.status("run")


def first_seconds(start: Start) -> bool:
    return start.status("run") == "running" and start.last("run")[0] in ("", "baseline")


def steps(start: Start) -> bool:
    return start.has_stepped() and start.last("run")[1] < STEPS and not saving(start)


def steps_to_come(start: Start) -> bool:
    """Many of them: ranks that noticed nothing would be seen to train on."""
    return steps(start) and start.last("run")[1] < STEPS_OF_RANKS // 2


def saving(start: Start) -> bool:
    return start.is_writing("run/checkpoints/.step-*")


def evaluating(start: Start) -> bool:
    """From the last step before an evaluation to the end of its picture."""
    kind, step = start.last("run")
    is_after = kind == "heldout" and not start.has(f"run/checkpoints/step-{step:08d}")
    is_before = kind == "train" and step % EVALUATE_EVERY == 0 and step > 0
    is_new = start.has_stepped() and not saving(start)
    return is_new and (is_after or (is_before and step < STEPS))


def final_save(start: Start) -> bool:
    return start.is_writing("run/checkpoints/.step-00000120.*")


def exporting(start: Start) -> bool:
    is_open = start.has(LAST) and start.status("run") == "running"
    return is_open and (start.has_stepped() or start.said(f"resumed at step {STEPS}"))


def ending(start: Start) -> bool:
    return start.status("run") == "completed"


def resuming(start: Start) -> bool:
    """A start on what a kill left, before it has said where it resumes."""
    return start.has("run/checkpoints/step-*") and not start.said("resumed at step")


def reading(start: Start) -> bool:
    return start.has_libraries() and not start.has("run/config.yaml")


def trial(seed: int) -> Callable[[Start], bool]:
    """Inside a trial."""
    folder = f"run/trials/seed={seed}"
    return lambda start: (
        start.has_stepped(f"seed={seed}")
        and not start.has(f"{folder}/predictions.csv")
        and not start.has(f"{folder}/result.json")
    )


def keeping_best(start: Start) -> bool:
    return start.is_writing("run/checkpoints/.best.*")


def between_trials(start: Start) -> bool:
    done = start.has("run/trials/seed=0/result.json")
    return done and not start.has("run/trials/seed=1/metrics.jsonl")


def reporting(start: Start) -> bool:
    is_over = start.has("run/trials/seed=1/result.json") and start.status("run") == "running"
    return is_over and start.seconds > 1


def repeating(start: Start) -> bool:
    """A start on what a kill left, before its first trial resumes."""
    return start.has("run/config.yaml") and not start.said("encoder  ")


def adapt_begins(start: Start) -> bool:
    return start.has("run/adapt/texts.txt") and not start.has("run/adapt/metrics.jsonl")


def adapt_steps(start: Start) -> bool:
    return start.has_stepped() and start.status("run/adapt") == "running"


def adapt_ends(start: Start) -> bool:
    is_saved = start.has("run/adapt/checkpoints/step-*")
    return is_saved and not start.has("run/trials/*/metrics.jsonl")


def writes(pattern: str) -> Callable[[Start], bool]:
    return lambda start: start.is_writing(pattern)


def lacks(pattern: str) -> Callable[[Start], bool]:
    return lambda start: not start.has(pattern) and start.has_libraries()


def driver_begins(start: Start) -> bool:
    return not start.has("study/tiny/*/seed0/metrics.jsonl")


def child_works(start: Start) -> bool:
    return start.has("study/tiny/*/seed0/metrics.jsonl") and bool(start.processes("job.yaml"))


def making_table(start: Start) -> bool:
    done = list(start.work.glob("study/tiny/*/seed0/tasks/*/status"))
    is_over = len(done) == 2 and all(path.read_text().strip() == "completed" for path in done)
    return is_over and not start.processes("job.yaml")


STAGES = [
    Stage("pretrain", "imports", imports, 1.0, 0),
    Stage("pretrain", "libraries", libraries, 2.0, 1),
    Stage("pretrain", "tokenizer training", tokenizer, 0.1, 2),
    Stage("pretrain", "store", pieces, 0.1, 3),
    Stage("pretrain", "model building", building, 1.0, 4),
    Stage("pretrain", "first seconds", first_seconds, 0.3, 5),
    Stage("pretrain", "between saves", steps, 0.3, 6, again=True),
    Stage("pretrain", "inside a save", saving, 0.02, 6, again=True),
    Stage("pretrain", "evaluation and plot", evaluating, 0.4, 6, again=True),
    Stage("pretrain", "restart", resuming, 5.0, 7),
    Stage("pretrain", "final save", final_save, 0.02, 8),
    Stage("pretrain", "export", exporting, 0.1, 9),
    Stage("pretrain", "end", ending, 0.2, 10),
    Stage("asynchronous", "between saves", steps, 0.3, 0, again=True),
    Stage("asynchronous", "inside a save", saving, 0.02, 0, again=True),
    Stage("asynchronous", "restart", resuming, 5.0, 1),
    Stage("ranks", "imports", imports, 2.0, 0),
    Stage("ranks", "joining", libraries, 2.0, 1),
    Stage("ranks", "first seconds", first_seconds, 0.3, 2),
    Stage("ranks", "between saves", steps, 0.5, 3, again=True),
    Stage("ranks", "inside a save", saving, 0.03, 3, again=True),
    Stage("ranks", "launcher alone", steps_to_come, 0.3, 2, whom="first"),
    Stage("ranks", "restart", resuming, 6.0, 4),
    Stage("prepare", "imports", imports, 1.0, 0),
    Stage("prepare", "tokenizer training", tokenizer, 0.1, 1),
    Stage("prepare", "pieces", pieces, 0.3, 2),
    Stage("prepare", "join", joining, 0.03, 3),
    Stage("shards", "first shard", writes(A_PIECE), 0.2, 0),
    Stage("shards", "second shard", writes(A_PIECE), 0.2, 1, command=1),
    Stage("shards", "merge", joining, 0.03, 2, command=2),
    Stage("finetune", "reading", reading, 1.0, 0),
    Stage("finetune", "inside the first trial", trial(0), 0.5, 1),
    Stage("finetune", "inside a save", writes(A_TRIAL_SAVE), 0.01, 1),
    Stage("finetune", "best model kept", keeping_best, 0.02, 2),
    Stage("finetune", "between trials", between_trials, 0.1, 3),
    Stage("finetune", "inside the second trial", trial(1), 0.5, 4),
    Stage("finetune", "restart", repeating, 4.0, 5),
    Stage("finetune", "report", reporting, 0.6, 6),
    Stage("finetune", "end", ending, 0.2, 7),
    Stage("adapt", "preparation", adapt_begins, 0.5, 0),
    Stage("adapt", "adaptation", adapt_steps, 0.2, 1),
    Stage("adapt", "save and export", adapt_ends, 0.3, 2),
    Stage("adapt", "inside a trial", trial(0), 0.4, 3),
    Stage("export", "begin", lacks("huggingface"), 2.0, 0),
    Stage("export", "writing", writes(".huggingface.*"), 0.05, 1),
    Stage("export", "ONNX", writes(".onnx.*"), 1.5, 2, command=1),
    Stage("export", "fine-tuned", lacks("task"), 2.0, 3, command=2),
    Stage("predict", "begin", lacks(".answers.csv.*"), 2.0, 0),
    Stage("predict", "writing", writes(".answers.csv.*"), 1.0, 1),
    Stage("ablate", "begin", driver_begins, 4.0, 0),
    Stage("ablate", "driver alone", child_works, 1.0, 1, whom="first"),
    Stage("ablate", "driver and children", child_works, 1.0, 2),
    Stage("ablate", "child alone", child_works, 1.0, 3, whom="children"),
    Stage("ablate", "table", making_table, 0.8, 4),
]
