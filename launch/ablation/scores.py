"""What one cell measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median

from configs.ablation_schema import AblationConfig
from configs.loader import load_run_config
from configs.schema import PretrainConfig
from configs.system.run_status import read_environment
from finetune.scoring.method_scores import read_scores
from launch.ablation.cells import Cell, last_record
from launch.ablation.study import Metric

SENTENCES = 1_000
"""of the held-out text, that fertility is counted on"""
METRICS = {
    metric.name: metric
    for metric in (
        Metric("mlm_loss", "MLM loss", False, 3),
        Metric("perplexity", "perplexity", False, 1),
        Metric("mlm_accuracy", "masked accuracy (%)", True, 1, 100.0),
        Metric("bits_per_byte", "bits per byte", False, 3),
        Metric("nsp_accuracy", "NSP accuracy (%)", True, 1, 100.0),
        Metric("fertility", "tokens per word", False, 3, is_result=False),
        Metric("parameters", "parameters (M)", False, 2, 1e-6, is_result=False),
    )
}


@dataclass(frozen=True)
class Score:
    """One number of one cell."""

    metric: Metric
    value: float
    folder: Path
    """where it stands: in metrics.jsonl, or in scores.json"""
    finetuning_seed: int | None = None

    def __str__(self) -> str:
        return f"{self.metric.label} {self.value * self.metric.scale:.{self.metric.digits}f}"


def scores_of(config: AblationConfig, cell: Cell) -> list[Score]:
    """All that a completed cell measured of what the ablation asks for."""
    if cell.task:
        return list(_task_scores(cell))
    return list(_pretraining_scores(config, cell.run_dir))


def headline(config: AblationConfig, cell: Cell) -> str:
    """A cell's first figure, of a task the median of its trials, for a line of progress."""
    if not cell.task:
        return str(next(_pretraining_scores(config, cell.run_dir), ""))
    found = list(_task_scores(cell))
    first = [score for score in found if score.metric == found[0].metric]
    return str(replace(first[0], value=median(score.value for score in first))) if first else ""


def _pretraining_scores(config: AblationConfig, run_dir: Path) -> Iterator[Score]:
    heldout = last_record(run_dir, "heldout")
    for name in config.metrics:
        if name == "fertility":
            value = fertility(run_dir)
        elif name == "parameters":
            value = read_environment(run_dir).get("parameters")
        else:
            value = heldout.get(name)
        if value is not None:
            yield Score(METRICS[name], value, run_dir)


def _task_scores(cell: Cell) -> Iterator[Score]:
    """Of the task and, where labels were merged for it, of the task with all labels."""
    for folder in (cell.results, cell.results / "unmerged"):
        folder = folder / (cell.method or "")
        if not (folder / "scores.json").is_file():
            continue
        found = read_scores(folder)
        for name in cell.columns or (found.metric,):
            label = f"{found.task} {name.replace('_', '-')}"
            metric = Metric(f"{found.task}.{name}", label, True, 1, 100.0)
            for trial in found.trials:
                if name in trial.dev:
                    yield Score(metric, trial.dev[name], folder, trial.seed)


def fertility(run_dir: Path) -> float | None:
    """Tokens a word of held-out text (Rust et al., 2021); None where a run read no text itself."""
    environment = read_environment(run_dir)
    return _count(_Vocabulary(environment.get("tokenizer"), environment.get("corpus"), run_dir))


@dataclass(frozen=True)
class _Vocabulary:
    """A tokenizer and its text: the same in all runs that have them."""

    tokenizer: str | None
    corpus: str | None
    run_dir: Path = field(compare=False)


@cache
def _count(vocabulary: _Vocabulary) -> float | None:
    from pretrain.data.prepare import sentences
    from tokenizer.load import load_tokenizer
    from tokenizer.report import report

    run_dir = vocabulary.run_dir
    config = load_run_config(PretrainConfig, run_dir)
    if config.data.store:
        return None
    texts = list(islice(sentences(config, heldout=True), SENTENCES))
    return report(load_tokenizer(run_dir / "tokenizer"), texts).tokens_per_word
