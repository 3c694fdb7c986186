"""Everything that can be chosen, as typed and frozen dataclasses.

A string under a field is its documentation: `--help` prints it. Checks that span several fields
live in `__post_init__`; each message names the field and the cure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from configs.errors import InputError


def require(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def require_fraction(name: str, value: float, upper_included: bool = True) -> None:
    """Raise `InputError` unless `value` lies in [0, 1] (or [0, 1) where 1 is excluded)."""
    inside = 0.0 <= value <= 1.0 if upper_included else 0.0 <= value < 1.0
    bounds = "0 to 1" if upper_included else "0 up to, but without, 1"
    require(inside, f"{name}={value} is no fraction: choose a number from {bounds}")


@dataclass(frozen=True)
class SourceConfig:
    """Where documents come from."""

    kind: Literal["installed-docs", "text", "jsonl", "csv", "parquet", "hub"] = "installed-docs"
    """installed-docs: English prose of this Python installation; text, jsonl, csv, parquet: files;
    hub: a Hugging Face data set by name, streamed"""
    path: Optional[str] = None
    """file, folder, glob (also .gz, .xz, .zst) or, for `hub`, the data set's name"""
    documents: Literal["blank-line", "line"] = "blank-line"
    """for text: one sentence a line and blank lines between documents, or one document a line"""
    column: str = "text"
    """for jsonl, csv, parquet, hub: the field that holds the text"""
    subset: Optional[str] = None
    """for hub: the configuration's name, such as 20231101.en"""
    split: str = "train"
    """for hub: the split to read"""
    weight: float = 1.0
    """times each document is used per epoch; 0.5 keeps every second one, 2 repeats each"""

    def __post_init__(self) -> None:
        needs_path = self.kind != "installed-docs"
        require(
            not needs_path or bool(self.path),
            f"data.sources: a source of kind '{self.kind}' has no path: "
            "give your own text, e.g. data.sources.0.path=/data/wiki.jsonl",
        )
        require(
            needs_path or not self.path,
            f"data.sources: path={self.path} says nothing to a source of kind '{self.kind}': "
            "name the kind as well, e.g. data.sources.0.kind=text",
        )
        require(
            0 < self.weight < float("inf"),
            f"data.sources: weight={self.weight} must be above 0 and finite",
        )


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it is kept."""

    sources: list[SourceConfig] = field(default_factory=lambda: [SourceConfig()])
    """where documents come from; several are mixed by their weights"""
    language: Literal["en", "ko"] = "en"
    """rules for splitting documents into sentences"""
    heldout_fraction: float = 0.02
    """share of documents held out for evaluation, chosen by a hash of their content"""
    cache: str = "~/.cache/masklab"
    """folder of tokenizers and token stores, shared by runs"""
    store: Optional[str] = None
    """a token store made by launch/prepare.py: train from it, with its tokenizer, and read no
    sources"""

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "data.sources is empty: name at least one source of text")
        require(
            0.0 < self.heldout_fraction < 0.5,
            f"data.heldout_fraction={self.heldout_fraction} must lie between 0 and 0.5",
        )


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes token ids."""

    kind: Literal["wordpiece", "byte-bpe", "sentencepiece"] = "byte-bpe"
    """WordPiece (BERT), byte-level BPE (RoBERTa) or SentencePiece unigram (KoBERT)"""
    vocabulary_size: int = 8192
    """entries, special tokens included; ignored when `path` names a finished tokenizer"""
    lowercase: bool = False
    """for wordpiece: lower-case and strip accents (BERT's uncased models)"""
    path: Optional[str] = None
    """a saved tokenizer folder or a published vocabulary (vocab.txt, spiece.model, or a folder with
    vocab.json and merges.txt) instead of training one"""
    training_megabytes: int = 64
    """text read, at most, to train the vocabulary"""
    allow_smaller_vocabulary: bool = False
    """accept fewer entries where the text cannot fill vocabulary_size"""

    def __post_init__(self) -> None:
        require(
            self.vocabulary_size >= 64,
            f"tokenizer.vocabulary_size={self.vocabulary_size} is too small: choose 64 or more",
        )
        require(
            self.training_megabytes > 0,
            f"tokenizer.training_megabytes={self.training_megabytes} must be above 0",
        )


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens are predicted, and what stands in their place (BERT, section 3.1)."""

    probability: float = 0.15
    """share of tokens to predict"""
    mask_share: float = 0.8
    """share of those shown as the mask token"""
    random_share: float = 0.1
    """share of those shown as a random token; the rest stays as it is"""
    whole_word: bool = False
    """choose whole words instead of single tokens"""

    def __post_init__(self) -> None:
        require(
            0.0 < self.probability < 1.0,
            f"masking.probability={self.probability} must lie between 0 and 1",
        )
        require_fraction("masking.mask_share", self.mask_share)
        require_fraction("masking.random_share", self.random_share)
        require(
            self.mask_share + self.random_share <= 1.0 + 1e-9,
            "masking.mask_share + masking.random_share exceed 1: lower one of them",
        )


@dataclass(frozen=True)
class ModelConfig:
    """The encoder's shape (BERT, section 3; RoBERTa, appendix table 9)."""

    architecture: Literal["bert", "roberta"] = "roberta"
    """Hugging Face class family of the export; roberta has no pooler, one segment type and
    positions that start after the padding id"""
    layers: int = 4
    """number of transformer layers (L)"""
    hidden_size: int = 256
    """width of the hidden states (H)"""
    heads: int = 4
    """number of attention heads (A)"""
    feed_forward_size: int = 1024
    """inner width of the feed-forward part"""
    max_positions: int = 512
    """longest sequence the position table can hold"""
    segment_types: int = 1
    """rows of the segment embedding table: 2 for BERT, 1 for RoBERTa"""
    dropout: float = 0.1
    """dropout of embeddings and of each sub-layer's output"""
    attention_dropout: float = 0.1
    """dropout of the attention probabilities"""
    layer_norm_epsilon: float = 1e-5
    """added to the variance: 1e-12 for BERT, 1e-5 for RoBERTa"""
    initializer_range: float = 0.02
    """standard deviation of the initial weights"""
    attention: Literal["auto", "eager", "sdpa", "flash"] = "auto"
    """attention backend; auto: eager up to 512 tokens on a CPU and SDPA beyond, flash on CUDA"""

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_size", "heads", "feed_forward_size", "max_positions"):
            require(getattr(self, name) >= 1, f"model.{name} must be at least 1")
        require(
            self.hidden_size % self.heads == 0,
            f"model.hidden_size={self.hidden_size} is no multiple of model.heads={self.heads}: "
            "change one of them",
        )
        require(self.segment_types in (1, 2), "model.segment_types must be 1 or 2")
        require_fraction("model.dropout", self.dropout, upper_included=False)
        require_fraction("model.attention_dropout", self.attention_dropout, upper_included=False)


@dataclass(frozen=True)
class EmbeddingsConfig:
    """What the word embeddings begin with."""

    initial: Literal["random", "word2vec"] = "random"
    """random, like all other weights; or word2vec (Mikolov et al., 2013) of the training tokens,
    which takes a minute or two and spares a small budget the plateau that MLM begins with"""
    skip_gram: bool = False
    """word2vec: skip-gram instead of CBOW"""
    window: int = 5
    """word2vec: tokens on each side"""
    epochs: int = 3
    """word2vec: passes over the training tokens"""
    scale: float = 0.05
    """word2vec: standard deviation of the embeddings it hands over"""

    def __post_init__(self) -> None:
        require(self.window >= 1, "embeddings.window must be at least 1")
        require(self.epochs >= 1, "embeddings.epochs must be at least 1")
        require(self.scale > 0, "embeddings.scale must be above 0")


@dataclass(frozen=True)
class BatchConfig:
    """How much text one optimizer step sees, whatever the number of ranks."""

    sequences: int = 32
    """global batch size: a step holds about `sequences` x `max_length` tokens"""
    micro_sequences: int = 16
    """how many of them, at most, go through the model at once on one rank; the others follow, and
    their gradients add up"""

    def __post_init__(self) -> None:
        require(self.sequences >= 1, f"batch.sequences={self.sequences} must be at least 1")
        require(
            self.micro_sequences >= 1,
            f"batch.micro_sequences={self.micro_sequences} must be at least 1",
        )

    def micro_batches(self, world_size: int) -> int:
        """Micro-batches of one step, all ranks together: the same number for every rank."""
        smallest = -(-self.sequences // self.micro_sequences)
        return -(-smallest // world_size) * world_size


@dataclass(frozen=True)
class OptimizerConfig:
    """The update rule."""

    name: Literal["adamw", "lamb"] = "adamw"
    """AdamW, or LAMB for large batches"""
    learning_rate: float = 1e-3
    """peak learning rate"""
    beta1: float = 0.9
    """decay of the first moment"""
    beta2: float = 0.98
    """decay of the second moment: 0.999 for BERT, 0.98 for RoBERTa"""
    epsilon: float = 1e-6
    """added to the root of the second moment"""
    weight_decay: float = 0.01
    """decoupled weight decay; biases and LayerNorm are exempt"""
    max_gradient_norm: float = 1.0
    """clip the global gradient norm here; 0 leaves it as it is"""

    def __post_init__(self) -> None:
        require(
            0 < self.learning_rate < float("inf"),
            f"optimizer.learning_rate={self.learning_rate} must be above 0 and finite",
        )
        require_fraction("optimizer.beta1", self.beta1, upper_included=False)
        require_fraction("optimizer.beta2", self.beta2, upper_included=False)
        require(self.epsilon > 0, f"optimizer.epsilon={self.epsilon} must be above 0")
        require(self.weight_decay >= 0, "optimizer.weight_decay must not be negative")
        require(self.max_gradient_norm >= 0, "optimizer.max_gradient_norm must not be negative")


@dataclass(frozen=True)
class ScheduleConfig:
    """How long to train and how the learning rate moves. Exactly one of the four limits is set."""

    max_steps: Optional[int] = None
    """train for this many optimizer steps"""
    max_epochs: Optional[float] = None
    """train for this many passes over the data"""
    max_tokens: Optional[int] = None
    """train on this many tokens"""
    max_minutes: Optional[float] = None
    """train for this long by rank 0's clock, resumed time included"""
    warmup_steps: int = 0
    """linear warm-up, in steps"""
    warmup_fraction: float = 0.0
    """linear warm-up as a share of the whole run, in place of warmup_steps"""
    decay: Literal["linear", "cosine", "constant"] = "linear"
    """after warm-up: down to 0 in a line or a half cosine, or no decay"""

    def __post_init__(self) -> None:
        limits = [name for name in LIMITS if getattr(self, name) is not None]
        require(
            len(limits) == 1,
            f"schedule: set exactly one of {', '.join(LIMITS)}, not {', '.join(limits) or 'none'}; "
            "an inherited one is unset by =null",
        )
        require(
            0 < getattr(self, limits[0]) < float("inf"),
            f"schedule.{limits[0]} must be above 0 and finite",
        )
        require(self.warmup_steps >= 0, "schedule.warmup_steps must not be negative")
        require_fraction("schedule.warmup_fraction", self.warmup_fraction, upper_included=False)
        require(
            not (self.warmup_steps and self.warmup_fraction),
            "schedule: set warmup_steps or warmup_fraction, not both",
        )
        require(
            not (self.warmup_steps and self.max_minutes),
            "schedule.warmup_steps has no length in minutes: use schedule.warmup_fraction",
        )


LIMITS = ("max_steps", "max_epochs", "max_tokens", "max_minutes")


@dataclass(frozen=True)
class EngineConfig:
    """How DeepSpeed runs the step."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """arithmetic of the forward pass; weights and optimizer stay fp32. auto: bf16 where the
    processor is clearly faster in it, by a short race, else fp32"""
    zero_stage: int = 0
    """0: every rank keeps everything; 1: optimizer state is split; 2: gradients too"""
    activation_checkpointing: bool = False
    """recompute each layer in the backward pass to save memory"""

    def __post_init__(self) -> None:
        require(
            self.zero_stage in (0, 1, 2),
            f"engine.zero_stage={self.zero_stage} is not supported: choose 0, 1 or 2",
        )


@dataclass(frozen=True)
class CheckpointConfig:
    """What survives a crash."""

    every_steps: int = 500
    """save each time this many steps are done, and at the end"""
    keep: int = 2
    """how many checkpoints to keep"""
    resume: str = "auto"
    """auto: go on from the last whole checkpoint of run_dir, else start; never: refuse a used
    run_dir; or the path of a checkpoint to start from"""

    def __post_init__(self) -> None:
        require(self.every_steps >= 1, "checkpoint.every_steps must be at least 1")
        require(self.keep >= 1, "checkpoint.keep must be at least 1")


@dataclass(frozen=True)
class EvaluationConfig:
    """Scores on the held-out documents."""

    every_steps: int = 250
    """evaluate each time this many steps are done, and at the end"""
    sequences: int = 256
    """how much of the held-out text to score: about `sequences` x `max_length` tokens"""

    def __post_init__(self) -> None:
        require(self.every_steps >= 1, "evaluation.every_steps must be at least 1")
        require(self.sequences >= 1, "evaluation.sequences must be at least 1")


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining run."""

    run_dir: str = "runs/unnamed"
    """folder of everything the run leaves behind; default: runs/<name of the config>"""
    seed: int = 0
    """every random decision is a function of this number"""
    initial_model: Optional[str] = None
    """go on from these weights (a run folder, a Hugging Face folder or hub name) instead of new
    ones; its shape must be `model`, its tokenizer the one at `tokenizer.path`"""
    input_format: Literal["full-sentences", "doc-sentences", "segment-pair", "sentence-pair"] = (
        "full-sentences"
    )
    """how a sequence is cut from the corpus (RoBERTa, section 4.2)"""
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
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(max_steps=1000))
    engine: EngineConfig = field(default_factory=EngineConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, f"seed={self.seed} must lie between 0 and 2^32 - 1")
        require(self.max_length >= 8, f"max_length={self.max_length} must be at least 8")
        require(
            self.max_length <= self.model.max_positions,
            f"max_length={self.max_length} is beyond the position table: raise "
            f"model.max_positions={self.model.max_positions} or lower max_length",
        )
        require(self.log_every_steps >= 1, "log_every_steps must be at least 1")
        require_fraction("short_sequence_probability", self.short_sequence_probability)
        require(
            not self.initial_model or bool(self.tokenizer.path or self.data.store),
            f"initial_model={self.initial_model} has a tokenizer: name it, e.g. "
            f"tokenizer.path={self.initial_model}/tokenizer",
        )
        self._check_next_sentence_prediction()
        self._check_epochs()
        require(
            not (self.optimizer.name == "lamb" and self.engine.zero_stage > 0),
            "optimizer.name=lamb needs engine.zero_stage=0: ZeRO cuts tensors, and the trust ratio "
            "of a piece is not that of the layer",
        )

    def _check_next_sentence_prediction(self) -> None:
        if not self.next_sentence_prediction:
            return
        require(
            self.input_format in ("segment-pair", "sentence-pair"),
            f"next_sentence_prediction needs two segments, but input_format={self.input_format} "
            "has one: choose segment-pair or sentence-pair, or next_sentence_prediction=false",
        )
        require(
            self.model.architecture == "bert" and self.model.segment_types == 2,
            "next_sentence_prediction needs model.architecture=bert and model.segment_types=2",
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
