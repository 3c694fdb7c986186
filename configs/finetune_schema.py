"""Everything that can be chosen in fine-tuning, beside what it shares with pretraining."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from configs.checks import require, require_fraction, require_seeds, require_visible
from configs.schema import (
    CheckpointConfig,
    CollectiveConfig,
    EngineConfig,
    OptimizerConfig,
    ResolvedBatchConfig,
    SafetyConfig,
    ScheduleConfig,
    SourceConfig,
)
from configs.task_schema import TaskConfig


@dataclass(frozen=True)
class HeadConfig:
    """What stands on the encoder, and its loss."""

    pooling: Literal["cls", "mean"] = "cls"
    """what a sequence is judged by: the first token's state, as in the papers and in Hugging Face's
    classes, or the mean of all"""
    dropout: float = 0.1
    """before the last linear map"""
    encoder_dropout: Optional[float] = None
    """dropout inside the encoder, attention included; null: as in its pretraining"""
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    """focal: easy examples weigh less (Lin et al., 2017)"""
    focal_gamma: float = 2.0
    """focal: the exponent; a higher one weighs easy examples less"""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: each class weighs n / (classes x its count), scikit-learn's formula"""
    label_smoothing: float = 0.0
    """share of the target spread evenly over all classes"""

    def __post_init__(self) -> None:
        require_fraction("head.dropout", self.dropout, upper_included=False)
        require_fraction("head.encoder_dropout", self.encoder_dropout or 0.0, upper_included=False)
        require_fraction("head.label_smoothing", self.label_smoothing, upper_included=False)
        require(self.focal_gamma >= 0, "head.focal_gamma must not be negative")


@dataclass(frozen=True)
class AdaptConfig:
    """Continued masked-language-model pretraining on the task's own training texts
    (Gururangan et al., 2020)."""

    epochs: float = 0.0
    """passes over the texts before fine-tuning; 0: none"""
    learning_rate: float = 5e-4
    """peak learning rate"""
    masking_probability: float = 0.15
    """share of tokens to predict"""
    sequences: int = 32
    """sequences of max_length tokens a step"""
    sources: list[SourceConfig] = field(default_factory=list)
    """further text of the same kind"""
    cache: str = "~/.cache/masklab"
    """folder of token stores and of what was measured of each machine, shared by runs"""

    def __post_init__(self) -> None:
        require_visible("adapt.cache", self.cache)
        require(self.epochs >= 0, "adapt.epochs must not be negative")


PLACES = ("model", "task.folder", "adapt.cache", "adapt.sources.*.path")
"""fields that name a place, which each node may call otherwise, as in `configs.schema`"""


@dataclass(frozen=True)
class FinetuneConfig:
    """One task, one encoder, one or several training runs (trials)."""

    run_dir: str = "runs/unnamed"
    """folder of everything the run leaves behind; default: runs/<name of the config>"""
    model: Optional[str] = None
    """the encoder: a run folder of ours (a fine-tuning run gives the encoder of its best model), a
    Hugging Face folder, or a name on its hub; or `classical`, or names of classical methods with
    commas between them, to run those"""
    reinitialise: bool = False
    """keep the encoder's shape and tokenizer but forget its weights: what is pretraining worth?"""
    seeds: list[int] = field(default_factory=lambda: [0])
    """one trial each; tables show the median and the interquartile range"""
    grid: dict[str, list[float]] = field(default_factory=dict)
    """fields to try all values of, e.g. {optimizer.learning_rate: [2e-5, 3e-5, 5e-5]}"""
    max_length: int = 128
    """longest sequence in tokens, special tokens included; longer texts are cut (span: contexts,
    tagging: sentences, are read in windows)"""
    layer_decay: float = 1.0
    """each layer learns at this times the rate of the layer above it (Clark et al., 2020)"""
    patience: Optional[int] = None
    """stop after so many evaluations without a better dev score; null: train to the end"""
    evaluations_per_epoch: int = 1
    """how often dev is scored; the best state is kept"""
    log_every_steps: int = 10
    """write metrics and a console line each time this many steps are done"""
    csv_safe: bool = False
    """put ' in front of cells of the run's predictions.csv that a spreadsheet takes for formulas
    (= + - @), and count them"""

    task: TaskConfig = field(default_factory=TaskConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    batch: ResolvedBatchConfig = field(default_factory=ResolvedBatchConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-5, beta2=0.999)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(max_epochs=3, warmup_fraction=0.1)
    )
    engine: EngineConfig = field(default_factory=EngineConfig)
    collective: CollectiveConfig = field(default_factory=CollectiveConfig)
    checkpoint: CheckpointConfig = field(
        default_factory=lambda: CheckpointConfig(every_steps=1000, keep=1)
    )
    """checkpoints from which an interrupted trial resumes; they are removed when the trial is done,
    and a short trial makes none. A trial that is asked to leave saves at once"""
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        require_visible("run_dir", self.run_dir)
        require_visible("model", self.model)
        require_seeds("seeds", self.seeds)
        require(self.max_length >= 8, f"max_length={self.max_length} must be at least 8")
        require(0 < self.layer_decay <= 1, "layer_decay must lie above 0 and not exceed 1")
        require(self.patience is None or self.patience >= 1, "patience must be null or at least 1")
        require(self.evaluations_per_epoch >= 1, "evaluations_per_epoch must be at least 1")
        require(self.log_every_steps >= 1, "log_every_steps must be at least 1")
        require(
            self.task.kind == "classification"
            or (self.head.loss == "cross-entropy" and self.head.class_weights == "none"),
            "head.loss and head.class_weights are for task.kind=classification",
        )
        require(
            self.head.label_smoothing == 0
            or (self.task.kind in ("classification", "tagging") and self.head.loss != "focal"),
            "head.label_smoothing is for classification and tagging with head.loss=cross-entropy",
        )
        saving = self.checkpoint
        require(
            (saving.keep_every_steps, saving.resume, saving.allow_changes) == (None, "auto", []),
            "checkpoint.keep_every_steps, resume and allow_changes are for pretraining: a trial "
            "always resumes where it was stopped, with the same configuration",
        )
        self.optimizer.check_stage(self.engine.zero_stage)
        empty = [name for name, values in self.grid.items() if not values]
        require(not empty, f"grid.{', '.join(empty)} has no values: name some or leave it out")
