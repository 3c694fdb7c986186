"""The lines a run opens with: what was decided, in the words of its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from configs.schema import (
    OptimizerConfig,
    PrecisionName,
    PretrainConfig,
    ResolvedPretrainConfig,
    ScheduleConfig,
    StepConfig,
)
from configs.system.safe_text import visible
from pretrain.batch import MicroBatch
from pretrain.data.corpus import Corpus
from pretrain.data.formats import few_pairs
from pretrain.data.phases import PhasedBatches
from pretrain.model.attention import choose_backend, flash_lacks
from pretrain.model.scope import scopes_of
from pretrain.optim.schedule import Schedule
from pretrain.ranks.collectives import Traffic, describe_collectives
from pretrain.ranks.world import World
from pretrain.run.describe import device_name
from tokenizer.base import Tokenizer

EXAMPLE_WIDTH = 320
"""characters of a sample, and of what is predicted of it, that are shown"""


@dataclass(frozen=True)
class Opening:
    """What a run starts from, once everything is decided."""

    config: ResolvedPretrainConfig
    world: World
    corpus: Corpus
    batches: PhasedBatches
    schedule: Schedule
    model: nn.Module
    step: int
    """the first to be taken; 0 in a new run"""
    precision: PrecisionName
    """fp32 or bf16"""
    precision_line: str
    """how it was chosen"""
    compiles: bool
    """whether layers are compiled"""
    peak_flops: float
    """measured: floating-point operations per second and rank"""

    def text(self) -> str:
        """One line for each decision, then the first sample of training as the model sees it."""
        corpus = self.corpus
        run = visible(Path(self.config.run_dir))
        rows = {
            "run": run + (f", resumed at step {self.step}" if self.step else ""),
            "data": data_line(corpus),
            "tokenizer": f"{corpus.tokenizer.kind}, {corpus.tokenizer.vocabulary_size:,} entries",
            "model": self._model_line(),
            "precision": self.precision_line,
            "samples": samples_line(self.config, corpus, self.batches),
            "batch": batch_line(self.config, self.batches, self.world.size),
            "traffic": traffic_line(self.config, self.model, self.world),
            "schedule": schedule_line(self.config, self.batches, self.schedule),
            "device": f"{device_name(self.world.device)}, "
            f"measured matmul peak {self.peak_flops / 1e12:.2f} TFLOP/s per rank",
        }
        lines = [f"{name:<10}{text}" for name, text in rows.items()]
        example = masked_example(self.batches.step(self.step)[-1], corpus.tokenizer)
        return "\n".join([*lines, "", example, ""])

    def _model_line(self) -> str:
        shape = self.config.model
        parameters = sum(p.numel() for p in self.model.parameters())
        attention = attention_line(self.config, self.world, self.precision)
        return (
            f"{shape.architecture} {shape.layers} x {shape.hidden_size}, "
            f"{parameters:,} parameters, {attention}{', compiled' if self.compiles else ''}"
        )


def attention_line(config: PretrainConfig, world: World, precision: str) -> str:
    """What computes attention, and what it is of where that is not the whole sequence."""
    shape, scopes = config.model, scopes_of(config.model)
    longest = max([config.max_length, *(phase.max_length or 0 for phase in config.phases)])
    backend = choose_backend(
        shape.attention,
        world.device,
        torch.bfloat16 if precision == "bf16" else torch.float32,
        max(longest, shape.max_positions),
        shape.attention_dropout,
        scopes,
    )
    parts = [f"{backend} attention"]
    lacks = [what for scope in scopes if (what := flash_lacks(scope))]
    if backend == "sdpa" and shape.attention == "auto" and precision == "bf16" and lacks:
        parts[0] += f" (flash: {lacks[0]})" if world.device.type == "cuda" else ""
    windows = sum(scope.reach is not None for scope in scopes)
    if windows:
        parts.append(f"in {windows} layers of {shape.attention_window} tokens")
    if config.document_attention:
        parts.append("within documents")
    return ", ".join(parts)


def data_line(corpus: Corpus) -> str:
    """Tokens and documents of both splits; a second line on what a person should know of them."""
    train, heldout = corpus.train, corpus.heldout
    note = f"\nnote      {corpus.note}" if corpus.note else ""
    return (
        f"{train.token_count:,} training and {heldout.token_count:,} held-out tokens in "
        f"{train.document_count:,} and {heldout.document_count:,} documents{note}"
    )


def traffic_line(config: StepConfig, model: nn.Module, world: World) -> str:
    """How gradients are added up, and what each rank sends in a step."""
    sizes = [p.numel() for p in model.parameters()]
    micro_batches = config.batch.micro_batches(world.size) // world.size
    stage = config.engine.zero_stage
    traffic = Traffic.of(sizes, config.collective, stage, micro_batches)
    return describe_collectives(config.collective, stage, world, traffic)


def samples_line(config: PretrainConfig, corpus: Corpus, batches: PhasedBatches) -> str:
    """How the corpus is cut; a second line on what is odd about it, if anything is."""
    index = batches.by_phase[0].collate.index(0)
    masking = "dynamic" if config.mask_epochs is None else f"static ({config.mask_epochs} masks)"
    text = (
        f"{config.input_format}: {len(index):,} per epoch, mean length "
        f"{index.mean_length:.1f}, {masking} masking"
    )
    if index.is_pair:
        text += f", {1 - index.next_share:.1%} random next"
    oddity = few_pairs(index, corpus.train, config)
    return f"{text}\nnote      {oddity}" if oddity else text


def batch_line(config: PretrainConfig, batches: PhasedBatches, ranks: int) -> str:
    """Size of a step in every phase, and how it is shared out."""
    parts = [
        (f"from step {own.start.step:,} " if own.start.step else "")
        + f"{own.batch.sequences:,} x {own.config.max_length} tokens in "
        f"{own.batch.micro_batches(ranks)} micro-batches"
        for own in batches.by_phase
    ]
    over = f"{ranks} rank{'s' if ranks > 1 else ''}"
    return f"{'; '.join(parts)}, over {over}, ZeRO {config.engine.zero_stage}"


def schedule_line(config: PretrainConfig, batches: PhasedBatches, schedule: Schedule) -> str:
    """How long the run is, and its learning rate."""
    limits = config.schedule
    peak = f"{peak_text(config.optimizer)}, {decay_text(limits)}"
    if schedule.total_steps is None:
        return f"{limits.max_minutes:g} minutes, {peak}"
    phases = batches.phases
    ends = [phase.first_step for phase in phases[1:]] + [schedule.total_steps]
    epochs = sum((end - p.first_step) / p.steps_per_epoch for p, end in zip(phases, ends))
    return f"{schedule.total_steps:,} steps, {epochs:.2f} epochs, {peak}"


def peak_text(optimizer: OptimizerConfig) -> str:
    """The peak learning rate; with Muon both."""
    text = f"peak learning rate {optimizer.learning_rate:g}"
    if optimizer.name == "muon":
        text += f" ({optimizer.matrix_learning_rate:g} for the layers' matrices, by Muon)"
    return text


def decay_text(schedule: ScheduleConfig) -> str:
    """How the learning rate ends."""
    if schedule.decay != "wsd":
        return f"{schedule.decay} decay"
    return f"{schedule.decay_shape} decay over the last {schedule.decay_fraction:.0%}"


def masked_example(batch: MicroBatch, tokenizer: Tokenizer) -> str:
    """The last sample of a micro-batch as text: what the model sees and what it predicts."""
    first = int(batch.boundaries[-2])
    tokens = batch.tokens_T[first:].tolist()
    answers = {
        place - first: label
        for place, label in zip(batch.predicted_M.tolist(), batch.labels_M.tolist())
        if place >= first
    }
    shown = " ".join(tokenizer.decode(tokens).split())[:EXAMPLE_WIDTH]

    def word(token: int) -> str:
        return tokenizer.decode([token]).strip() or tokenizer.pieces[token]

    pairs = [
        word(label)
        + ("" if tokens[place] == tokenizer.special.mask else f" (shown: {word(tokens[place])})")
        for place, label in answers.items()
    ]
    return f"example   {visible(shown)}\npredict   {visible(' | '.join(pairs)[:EXAMPLE_WIDTH])}"
