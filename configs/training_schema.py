"""What can be chosen of training: batch, update rule, schedule, engine, checkpoints."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Optional, Union

from configs.checks import require, require_fraction, require_visible
from configs.errors import InputError

InputFormat = Literal["full-sentences", "doc-sentences", "segment-pair", "sentence-pair"]
PrecisionName = Literal["fp32", "tf32", "bf16"]
"""what `engine.precision` is resolved to"""


@dataclass(frozen=True)
class BatchConfig:
    """How much text one optimizer step sees, whatever the number of ranks."""

    sequences: int = 32
    """global batch size: a step holds about `sequences` x `max_length` tokens"""
    micro_sequences: Union[int, Literal["auto"]] = 16
    """how many of them, at most, go through the model at once on one rank; the others follow, and
    their gradients add up; auto: as many as a rank can hold, found by trying"""

    def __post_init__(self) -> None:
        require(self.sequences >= 1, f"batch.sequences={self.sequences} must be at least 1")
        require(
            self.micro_sequences == "auto" or self.micro_sequences >= 1,
            f"batch.micro_sequences={self.micro_sequences} must be at least 1",
        )

    def resolved(self, micro_sequences: int | None = None) -> ResolvedBatchConfig:
        """The batch with this number for `micro_sequences`; None: with its own.

        Raises:
            InputError: its own is `auto`.
        """
        number = self.micro_sequences if micro_sequences is None else micro_sequences
        if number == "auto":
            raise InputError("batch.micro_sequences=auto: name a number, e.g. 32")
        return ResolvedBatchConfig(self.sequences, number)


@dataclass(frozen=True)
class ResolvedBatchConfig(BatchConfig):
    """A batch whose micro-batches have a size: what `auto` became, or no `auto` from the start."""

    micro_sequences: int = 16
    """how many of them, at most, go through the model at once on one rank; the others follow, and
    their gradients add up"""

    def micro_batches(self, world_size: int) -> int:
        """Micro-batches of one step, all ranks together: the same number for every rank."""
        smallest = -(-self.sequences // self.micro_sequences)
        return -(-smallest // world_size) * world_size


@dataclass(frozen=True)
class PhaseConfig:
    """What holds from one point of the run until the next phase."""

    from_steps: Optional[int] = None
    """the phase begins after this many steps"""
    from_tokens: Optional[int] = None
    """it begins after this many tokens, in place of from_steps; the first phase needs neither"""
    from_fraction: Optional[float] = None
    """it begins after this share of schedule.max_steps or schedule.max_tokens, in place of both: a
    run that is made shorter keeps its shape"""
    sequences: Optional[int] = None
    """global batch size; null: batch.sequences"""
    max_length: Optional[int] = None
    """longest sequence in tokens; null: max_length. The epoch begins anew where it changes"""
    rope_theta: Optional[float] = None
    """base of the rotary angles of global layers, and of local ones without a base of their own: a
    larger one for longer sequences (ModernBERT: 160,000 from 1,024 to 8,192 tokens); null:
    model.rope_theta"""
    learning_rate: Optional[float] = None
    """peak from here on: the schedule starts again, and the one before has decayed to 0; null: it
    continues"""
    warmup_fraction: float = 0.0
    """linear warm-up towards learning_rate, as a share of the steps up to the next such phase"""
    mask_probability: Optional[float] = None
    """share of tokens to predict from here on; null: it stays as it was"""

    @property
    def begins_at_once(self) -> bool:
        """Whether it begins with the run."""
        return not (self.from_steps or self.from_tokens or self.from_fraction)

    def __post_init__(self) -> None:
        starts = [self.from_steps, self.from_tokens, self.from_fraction]
        require(
            starts.count(None) >= 2, "phases: set one of from_steps, from_tokens and from_fraction"
        )
        if self.from_fraction is not None:
            require_fraction("phases: from_fraction", self.from_fraction, upper_included=False)
        for name in ("from_steps", "from_tokens"):
            value = getattr(self, name)
            require(value is None or value >= 0, f"phases: {name}={value} must not be negative")
        for name, least in (("sequences", 1), ("max_length", 8)):
            value = getattr(self, name)
            require(value is None or value >= least, f"phases: {name}={value} is below {least}")
        theta = self.rope_theta
        require(theta is None or 1 < theta < 1e12, f"phases: rope_theta={theta} must be above 1")
        rate = self.learning_rate
        require(
            rate is None or 0 < rate < float("inf"),
            f"phases: learning_rate={rate} must be above 0 and finite",
        )
        masks = self.mask_probability
        require(
            masks is None or 0 < masks < 1,
            f"phases: mask_probability={masks} must lie between 0 and 1",
        )
        require_fraction("phases: warmup_fraction", self.warmup_fraction, upper_included=False)
        require(
            rate is not None or not self.warmup_fraction,
            "phases: warmup_fraction needs a learning_rate: without one the schedule continues",
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """The update rule."""

    name: Literal["adamw", "lamb", "stable-adamw", "muon"] = "adamw"
    """AdamW; LAMB for large batches (You et al., 2019); AdamW that slows a tensor down where its
    gradient is larger than the second moment knows (StableAdamW, Wortsman et al., 2023; ModernBERT
    trained with it, and without clipping); or Muon for the matrices of the layers (Jordan et al.,
    2024), with AdamW for everything else"""
    learning_rate: float = 1e-3
    """peak learning rate"""
    matrix_learning_rate: float = 0.02
    """muon: peak rate of the layers' matrices, which move by it whatever their gradient's size; it
    follows the schedule, and a phase's learning_rate moves it in proportion"""
    momentum: float = 0.95
    """muon: Nesterov momentum of the layers' matrices"""
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
        require(
            0 < self.matrix_learning_rate < float("inf"),
            f"optimizer.matrix_learning_rate={self.matrix_learning_rate} must be above 0 and "
            "finite",
        )
        require_fraction("optimizer.momentum", self.momentum, upper_included=False)
        require_fraction("optimizer.beta1", self.beta1, upper_included=False)
        require_fraction("optimizer.beta2", self.beta2, upper_included=False)
        require(self.epsilon > 0, f"optimizer.epsilon={self.epsilon} must be above 0")
        require(self.weight_decay >= 0, "optimizer.weight_decay must not be negative")
        require(self.max_gradient_norm >= 0, "optimizer.max_gradient_norm must not be negative")

    def check_stage(self, zero_stage: int) -> None:
        """Raise `InputError` for a rule that needs whole tensors where ZeRO cuts them."""
        lost = NEEDS_WHOLE_TENSORS.get(self.name)
        require(
            lost is None or zero_stage == 0,
            f"optimizer.name={self.name} needs engine.zero_stage=0: ZeRO cuts tensors, and {lost}",
        )


NEEDS_WHOLE_TENSORS = {
    "lamb": "the trust ratio of a piece is not that of the layer",
    "stable-adamw": "the mean over a piece is not that over the tensor",
    "muon": "a piece of a matrix cannot be orthogonalised",
}
"""update rule -> why ZeRO would change it"""


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
    """linear warm-up, in steps; the last of them has the peak rate; 0: the first step has it"""
    warmup_fraction: float = 0.0
    """linear warm-up as a share of the run (up to the first phase with a learning rate of its own),
    in place of warmup_steps; rounded up to whole steps"""
    decay: Literal["linear", "cosine", "constant", "wsd"] = "linear"
    """after warm-up: down to 0 in a line or a half cosine, or no decay; wsd (warm-up, stable,
    decay): at the peak until the last part of the run, so that a checkpoint before it can be
    resumed to any other end"""
    decay_fraction: float = 0.1
    """wsd: share of the run that decays, at its end, in whole steps, rounded up; with phases that
    have learning rates of their own, of each of these"""
    decay_shape: Literal["linear", "1-sqrt"] = "linear"
    """wsd: down to 0 in a line, or as 1 - sqrt(share of the decay that is done) (Haegele et al.,
    2024)"""

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
            0 < self.decay_fraction <= 1,
            f"schedule.decay_fraction={self.decay_fraction} must lie above 0 and not exceed 1",
        )
        require(
            not (self.warmup_steps and self.max_minutes),
            "schedule.warmup_steps has no length in minutes: use schedule.warmup_fraction",
        )


LIMITS = ("max_steps", "max_epochs", "max_tokens", "max_minutes")


@dataclass(frozen=True)
class EngineConfig:
    """How DeepSpeed runs the step."""

    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """arithmetic of the forward pass; weights and optimizer stay fp32. auto: bf16 where the machine
    is clearly faster in it, else fp32; measured once and remembered in the cache folder. tf32: fp32
    whose products round their factors to 10 bits; without it fp32 has no use for tensor cores"""
    residual: Literal["fp32", "bf16"] = "fp32"
    """hidden states between layers. bf16: fewer bytes, each sum rounded; needs precision=bf16"""
    zero_stage: int = 0
    """0: every rank keeps everything; 1: optimizer state is split; 2: gradients too"""
    activation_checkpointing: bool = False
    """recompute each layer in the backward pass to save memory"""
    compile: Union[bool, Literal["auto"]] = False
    """compile each layer (torch.compile) of attention=flash on a GPU; auto: where a trial works"""

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
    keep_every_steps: Optional[int] = None
    """also keep, permanently, those of each multiple of this number; a multiple of every_steps"""
    asynchronous: bool = False
    """write in a thread while training continues; needs memory for a copy of weights and moments.
    The next save waits for it, and the one before is deleted only once it is complete"""
    resume: str = "auto"
    """auto: resume from the last complete checkpoint of run_dir, or start without one; never:
    refuse a used run_dir; or the path of a checkpoint to start from. A preempted run always
    resumes"""
    allow_changes: list[str] = field(default_factory=list)
    """what may differ from the checkpoint's, by the names in a refusal: corpus, tokenizer,
    optimizer.learning_rate, ...; the run is then no longer one curve"""

    def __post_init__(self) -> None:
        require_visible("checkpoint.resume", self.resume)
        require(self.every_steps >= 1, "checkpoint.every_steps must be at least 1")
        require(self.keep >= 1, "checkpoint.keep must be at least 1")
        for name in self.allow_changes:
            require(
                re.fullmatch(r"[a-z_]+(\.\w+)*", name) is not None,
                f"checkpoint.allow_changes: '{name}' is no name of a field, nor corpus, tokenizer "
                "or vocabulary: write it as the refusal does",
            )
        spacing = self.keep_every_steps
        require(
            spacing is None or (spacing >= 1 and spacing % self.every_steps == 0),
            f"checkpoint.keep_every_steps={spacing} must be a multiple of "
            f"checkpoint.every_steps={self.every_steps}: others are never saved",
        )


@dataclass(frozen=True)
class SafetyConfig:
    """What happens when something goes wrong, or the machine is needed elsewhere."""

    stop_after_minutes: Optional[float] = None
    """stop this long after the start, with a checkpoint and a mark to be queued again: a little
    less than the job's time limit, for schedulers that send no signal before it"""
    max_skipped_steps: int = 10
    """a step whose gradient is not finite is skipped on all ranks; so many in a row end the run"""
    hang_minutes: float = 30.0
    """a start, step, evaluation or save that takes longer ends the run, with a dump of where it
    stood"""

    def __post_init__(self) -> None:
        stop, hang = self.stop_after_minutes, self.hang_minutes
        require(
            stop is None or 0 < stop < float("inf"),
            f"safety.stop_after_minutes={stop} must be above 0 and finite, or null",
        )
        require(self.max_skipped_steps >= 1, "safety.max_skipped_steps must be at least 1")
        require(0 < hang < float("inf"), f"safety.hang_minutes={hang} must be above 0 and finite")


@dataclass(frozen=True)
class EvaluationConfig:
    """Scores on the held-out documents."""

    every_steps: int = 250
    """evaluate each time this many steps are done, and at the end"""
    sequences: int = 256
    """how much of the held-out text to score: about `sequences` x `max_length` tokens"""
    mask_probability: float = 0.15
    """share of tokens, and of words, to predict, whatever the run trains with"""
    input_format: Optional[InputFormat] = None
    """how held-out sequences are cut; null: as the run's"""
    max_length: Optional[int] = None
    """longest held-out sequence in tokens; null: max_length of the run. Learned positions refuse
    more than the longest that is trained"""

    def __post_init__(self) -> None:
        require(self.every_steps >= 1, "evaluation.every_steps must be at least 1")
        require(self.sequences >= 1, "evaluation.sequences must be at least 1")
        rate, length = self.mask_probability, self.max_length
        require(0.0 < rate < 1.0, f"evaluation.mask_probability={rate} must lie between 0 and 1")
        require(length is None or length >= 8, f"evaluation.max_length={length} must be at least 8")
