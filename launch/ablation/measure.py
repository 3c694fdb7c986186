"""What one run measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median

from configs.ablation_metrics import METRICS, Metric
from configs.system.run_folder import RunFolder
from configs.system.run_names import SCORES, UNMERGED_FOLDER
from finetune.scoring.method_scores import read_scores
from launch.ablation.grid import GridRun
from launch.ablation.measurements import Measurement

SENTENCES = 1_000
"""of the held-out text, that fertility is counted on"""


def measure(run: GridRun, metrics: list[str]) -> Iterator[Measurement]:
    """All that a completed run measured: those of `metrics` that a pretraining run has, or the
    dev scores of a task."""
    return _task_scores(run) if run.task else _pretraining_figures(run, metrics)


def headline(run: GridRun, metrics: list[str]) -> str:
    """A run's first figure, of a task the median of its trials, for a line of progress."""
    first = next(measure(run, metrics), None)
    if first is None:
        return ""
    same = [m.value for m in measure(run, metrics) if m.metric == first.metric] if run.task else []
    return str(replace(first, value=median(same)) if same else first)


def _pretraining_figures(run: GridRun, metrics: list[str]) -> Iterator[Measurement]:
    heldout = run.folder.last_record("heldout")
    for name in metrics:
        read = READERS.get(name)
        value = read(run.folder) if read else heldout.get(name)
        if value is not None:
            yield Measurement(run.row, METRICS[name], run.seed, value, run.run_dir)


def _task_scores(run: GridRun) -> Iterator[Measurement]:
    """Of the task and, where labels were merged for it, of the task with all labels."""
    path = run.status_folder.path
    for folder in (path / (run.method or ""), path / UNMERGED_FOLDER / (run.method or "")):
        if not (folder / SCORES).is_file():
            continue
        scores = read_scores(folder)
        for name in run.metrics or (scores.metric,):
            label = f"{scores.task} {name.replace('_', '-')}"
            metric = Metric(f"{scores.task}.{name}", label, True, 1, 100.0)
            for trial in scores.trials:
                if name in trial.dev:
                    value = trial.dev[name]
                    yield Measurement(run.row, metric, run.seed, value, folder, trial.seed)


def parameters(folder: RunFolder) -> float | None:
    """Of the encoder and its heads; None where the run did not say."""
    return folder.read_environment().get("parameters")


def fertility(folder: RunFolder) -> float | None:
    """Tokens per word of held-out text; None where a run read no text itself.

    Rust et al., 2021, How Good is Your Tokenizer?, https://arxiv.org/abs/2012.15613
    """
    environment = folder.read_environment()
    vocabulary = _Vocabulary(environment.get("tokenizer"), environment.get("corpus"), folder.path)
    return _count(vocabulary)


READERS: dict[str, Callable[[RunFolder], float | None]] = {
    "fertility": fertility,
    "parameters": parameters,
}
"""how a metric is found that no held-out record has"""


@dataclass(frozen=True)
class _Vocabulary:
    """A tokenizer and its text: the same in all runs that have them."""

    tokenizer: str | None
    corpus: str | None
    run_dir: Path = field(compare=False)


@cache
def _count(vocabulary: _Vocabulary) -> float | None:
    from pretrain.data.prepare import sentences
    from pretrain.run.load import open_run
    from tokenizer.tokenizer_report import tokenizer_report

    run = open_run(vocabulary.run_dir)
    if run.config.data.store:
        return None
    texts = list(islice(sentences(run.config, heldout=True), SENTENCES))
    return tokenizer_report(run.tokenizer, texts).tokens_per_word
