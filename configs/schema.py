"""Everything that can be chosen, as typed and frozen dataclasses.

A string under a field is its documentation: `--help` prints it. Checks that span several fields
live in `__post_init__`; each message names the field and the cure.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Optional, Protocol

from configs.checks import require, require_fraction, require_visible
from configs.collective_schema import CollectiveConfig
from configs.corpus_schema import DataConfig, MaskingConfig, SourceConfig, TokenizerConfig
from configs.model_schema import EmbeddingsConfig, ModelConfig
from configs.system.run_names import TOKENIZER
from configs.training_schema import (
    LIMITS,
    BatchConfig,
    CheckpointConfig,
    EngineConfig,
    EvaluationConfig,
    InputFormat,
    OptimizerConfig,
    PhaseConfig,
    PrecisionName,
    ResolvedBatchConfig,
    SafetyConfig,
    ScheduleConfig,
)

__all__ = [
    "FREE_TO_CHANGE",
    "LIMITS",
    "PLACES",
    "BatchConfig",
    "CheckpointConfig",
    "CollectiveConfig",
    "DataConfig",
    "EmbeddingsConfig",
    "EngineConfig",
    "EvaluationConfig",
    "InputFormat",
    "MaskingConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PhaseConfig",
    "PrecisionName",
    "PretrainConfig",
    "ResolvedBatchConfig",
    "ResolvedPretrainConfig",
    "SafetyConfig",
    "ScheduleConfig",
    "SourceConfig",
    "StepConfig",
    "TokenizerConfig",
]


FREE_TO_CHANGE = (
    *("run_dir", "log_every_steps", "data", "tokenizer", "checkpoint", "evaluation", "safety"),
    *(f"engine.{name}" for name in ("precision", "zero_stage", "activation_checkpointing")),
    "engine.compile",
    *(f"schedule.{name}" for name in (*LIMITS, "decay_fraction", "decay_shape")),
    *("batch.micro_sequences", "model.attention"),
    *(f"collective.{name}" for name in ("algorithm", "bucket_megabytes", "overlap")),
)
"""fields that may differ between save and load: they don't change the curve, or only its end, or
(data, tokenizer) have a fingerprint of their own"""

PLACES = (*("data.cache", "data.store", "data.sources.*.path", "tokenizer.path", "initial_model"),)
"""fields that name a place, which each node may call otherwise (`*` is a number): ranks compare
what lies there. All others are the same on every rank; so is run_dir, which rank 0 writes"""


PAIR_FORMATS = ("segment-pair", "sentence-pair")


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining run."""

    run_dir: str = "runs/unnamed"
    """folder of everything the run leaves behind; default: runs/<name of the config>"""
    seed: int = 0
    """every random decision is a function of this number"""
    initial_model: Optional[str] = None
    """start from these weights (a run folder, a Hugging Face folder or hub name) instead of new
    ones; `model` must have their shape, and `tokenizer.path` name their tokenizer"""
    input_format: InputFormat = "full-sentences"
    """how a sequence is cut from the corpus (RoBERTa, section 4.2). full-sentences: a separator
    between documents only, and a sentence longer than max_length is cut into pieces; fairseq's
    script puts one after every sentence as well, and keeps a long sentence whole"""
    document_attention: bool = False
    """full-sentences: tokens attend within their own document only; the separator behind it belongs
    to it, [CLS] to the first, and positions count on. With doc-sentences they do so anyway; pair
    formats, whose segments must see each other, refuse it"""
    next_sentence_prediction: bool = False
    """train the NSP objective beside MLM; needs a pair format"""
    max_length: int = 128
    """longest sequence in tokens, special tokens included"""
    short_sequence_probability: float = 0.1
    """pair formats: share of sequences cut to a random shorter length (BERT, appendix A.2)"""
    mask_epochs: Optional[int] = None
    """static masking: the masks of epoch e are those of epoch e modulo this number (BERT: 10);
    null: dynamic masking, new masks in every epoch"""
    sample_epochs: Optional[int] = 1
    """the corpus is cut into samples anew, NSP partners included, in this many ways (BERT's
    duplication: 10); 1: one cut for all epochs; null: a new cut in every epoch"""
    log_every_steps: int = 10
    """write metrics and a console line each time this many steps are done"""

    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    phases: list[PhaseConfig] = field(default_factory=list)
    """batch size, sequence length and learning rate that change during the run: warm-up of the
    batch size, short sequences first, long ones at the end; empty: all steps are alike"""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(max_steps=1000))
    engine: EngineConfig = field(default_factory=EngineConfig)
    collective: CollectiveConfig = field(default_factory=CollectiveConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        require_visible("run_dir", self.run_dir)
        require_visible("initial_model", self.initial_model)
        require(0 <= self.seed < 2**32, f"seed={self.seed} must lie between 0 and 2^32 - 1")
        require(self.max_length >= 8, f"max_length={self.max_length} must be at least 8")
        self._check_table("max_length", self.max_length)
        require(self.log_every_steps >= 1, "log_every_steps must be at least 1")
        require_fraction("short_sequence_probability", self.short_sequence_probability)
        require(
            not self.initial_model or bool(self.tokenizer.path or self.data.store),
            f"initial_model={self.initial_model} has a tokenizer: name it, e.g. "
            f"tokenizer.path={self.initial_model}/{TOKENIZER}",
        )
        self._check_next_sentence_prediction()
        self._check_document_attention()
        self._check_epochs()
        self._check_phases()
        self._check_mask_rates()
        self._check_evaluation()
        self.optimizer.check_stage(self.engine.zero_stage)

    def resolved(self, micro_sequences: int | None = None) -> ResolvedPretrainConfig:
        """The run with this number for `batch.micro_sequences`; None: with its own.

        Raises:
            InputError: its own is `auto`.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return ResolvedPretrainConfig(**values | {"batch": self.batch.resolved(micro_sequences)})

    def _check_table(self, name: str, length: int) -> None:
        require(
            length <= self.model.max_positions or self.model.position != "learned",
            f"{name}={length} is beyond the position table: raise model.max_positions="
            f"{self.model.max_positions} or lower {name}",
        )

    @property
    def mask_probabilities(self) -> tuple[float, ...]:
        """Rates of masking that the run comes by, first to last; between two it may have others."""
        begins_at_once = bool(self.phases) and self.phases[0].begins_at_once
        rates = [phase.mask_probability for phase in self.phases]
        if not (begins_at_once and rates[0]):
            rates.insert(0, self.masking.probability)
        return tuple(rate for rate in (*rates, self.masking.final_probability) if rate)

    def _check_next_sentence_prediction(self) -> None:
        if not self.next_sentence_prediction:
            return
        require(
            self.input_format in PAIR_FORMATS,
            f"next_sentence_prediction needs two segments, but input_format={self.input_format} "
            "has one: choose segment-pair or sentence-pair, or next_sentence_prediction=false",
        )
        require(
            self.model.architecture == "bert" and self.model.segment_types == 2,
            "next_sentence_prediction needs model.architecture=bert and model.segment_types=2",
        )

    def _check_document_attention(self) -> None:
        require(
            not (self.document_attention and self.input_format in PAIR_FORMATS),
            f"document_attention: the segments of input_format={self.input_format} must see each "
            "other: choose full-sentences, or document_attention=false",
        )

    def _check_epochs(self) -> None:
        for name in ("mask_epochs", "sample_epochs"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}={value} must be null or at least 1")
        static, cuts = self.mask_epochs, self.sample_epochs
        require(
            static is None or (cuts is not None and static % cuts == 0),
            f"mask_epochs={static} (static masking) must be a multiple of sample_epochs={cuts}, or "
            "the same mask would fall on another sample: set sample_epochs=1",
        )

    def _check_phases(self) -> None:
        for number, phase in enumerate(self.phases):
            name = f"phases.{number}"
            require(
                number == 0 or not phase.begins_at_once,
                f"{name} has no beginning: set from_steps, from_tokens or from_fraction",
            )
            require(
                phase.from_fraction is None
                or bool(self.schedule.max_steps or self.schedule.max_tokens),
                f"{name}.from_fraction={phase.from_fraction} is a share of schedule.max_steps or "
                "schedule.max_tokens: limit the run by one of them, or set phases=[]",
            )
            self._check_table(f"{name}.max_length", phase.max_length or 0)
            require(
                phase.rope_theta is None or self.model.position == "rope",
                f"{name}.rope_theta={phase.rope_theta} is of rotations, but model.position="
                f"{self.model.position}: set model.position=rope, or leave it out",
            )
            require(
                phase.begins_at_once
                or phase.learning_rate is None
                or self.schedule.max_minutes is None,
                f"{name}.learning_rate: a new schedule needs an end in steps, not in "
                "schedule.max_minutes",
            )

    def _check_mask_rates(self) -> None:
        final, rates = self.masking.final_probability, [p.mask_probability for p in self.phases]
        require(
            final is None or not any(rates),
            "masking.final_probability and phases.N.mask_probability both move the rate: set one",
        )
        require(
            final is None or self.schedule.max_minutes is None,
            f"masking.final_probability={final} lies at the end of the run, which "
            "schedule.max_minutes does not know in steps: limit the run by steps, tokens or "
            "epochs, or set phases.N.mask_probability",
        )

    def _check_evaluation(self) -> None:
        length = self.evaluation.max_length
        begins_at_once = bool(self.phases) and self.phases[0].begins_at_once
        lengths = [phase.max_length or self.max_length for phase in self.phases]
        longest = max(lengths if begins_at_once else [self.max_length, *lengths])
        require(
            length is None or self.model.position != "learned" or length <= longest,
            f"evaluation.max_length={length} is beyond the longest sequence that is trained, "
            f"{longest}: learned positions after it have learnt nothing: choose {longest} or less",
        )


@dataclass(frozen=True)
class ResolvedPretrainConfig(PretrainConfig):
    """A run whose micro-batches have a size: what training, its data and its memory work with."""

    batch: ResolvedBatchConfig = field(default_factory=ResolvedBatchConfig)

    def of_length(self, length: int) -> ResolvedPretrainConfig:
        """The run as if all of it had sequences up to `length`, those of its evaluation as well."""
        evaluation = replace(self.evaluation, max_length=None)
        return replace(self, max_length=length, evaluation=evaluation, phases=[])


class StepConfig(Protocol):
    """The part of a configuration that decides a step, in pretraining and in fine-tuning."""

    @property
    def batch(self) -> ResolvedBatchConfig:
        """How many sequences, and how they are shared out."""
        ...

    @property
    def optimizer(self) -> OptimizerConfig:
        """The update's rule."""
        ...

    @property
    def engine(self) -> EngineConfig:
        """Precision and partitions."""
        ...

    @property
    def collective(self) -> CollectiveConfig:
        """How gradients are added up."""
        ...
