"""A run folder explains itself: what was decided, from what, with which versions."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from configs.loader import dump_config, flat
from configs.schema import FREE_TO_CHANGE, PretrainConfig
from configs.system.files import make_folder, write_text
from configs.system.run_status import earlier_starts, read_environment
from configs.system.safe_text import visible
from configs.system.secrets import hashed, hide
from configs.system.version import (
    FINETUNING,
    PRETRAINING,
    code_version,
    package_version,
    source_fingerprint,
)
from pretrain.data.formats import few_pairs
from pretrain.data.prepare import Corpus
from pretrain.engine.engine import Engine, StepConfig
from pretrain.model.attention import choose_backend
from pretrain.ranks.collectives import Traffic, describe_collectives
from pretrain.ranks.world import World

if TYPE_CHECKING:
    from pretrain.engine.trainer import Trainer

PACKAGES = ("torch", "deepspeed", "tokenizers", "sentencepiece", "datasets", "numpy")


def fingerprints(config: PretrainConfig, corpus: Corpus) -> dict[str, str]:
    """What must be the same when a checkpoint is loaded again, by name: the recipe's fields, the
    vocabulary, the tokenizer's and the corpus's hashes."""

    def is_free(name: str) -> bool:
        return any(name == free or name.startswith(f"{free}.") for free in FREE_TO_CHANGE)

    recipe = {name: value for name, value in flat(asdict(config)).items() if not is_free(name)}
    return {
        **{name: hashed(str(value)) for name, value in recipe.items()},
        "vocabulary": str(corpus.tokenizer.vocabulary_size),
        "tokenizer": corpus.tokenizer.fingerprint,
        "corpus": corpus.fingerprint,
    }


def write_run_folder(trainer: Trainer) -> None:
    """config.yaml, environment.json and the tokenizer."""
    run_dir, corpus, engine = trainer.run_dir, trainer.corpus, trainer.engine
    make_folder(run_dir)
    corpus.tokenizer.save(run_dir / "tokenizer")
    decided = {
        "tokenizer": corpus.tokenizer.fingerprint,
        "corpus": corpus.fingerprint,
        **trainer.precision.facts,
        "store": str(corpus.folder),
        "verified": trainer.certifier.verification.facts(),
        "parameters": sum(p.numel() for p in engine.model.parameters()),
        "agreed": trainer.agreement.record,
    }
    step = trainer.state.step
    write_environment(run_dir, trainer.config, trainer.world, decided, PRETRAINING, step)


def note_verified(trainer: Trainer, step: int) -> None:
    """Into environment.json: how much of the store was verified when a checkpoint was written."""
    environment = read_environment(trainer.run_dir) if trainer.world.is_main else {}
    if "verified" in environment:
        verified = trainer.certifier.verification.verified_bytes
        environment["verified"] |= {"at_step": step, "verified_by_then": verified}
        _write(trainer.run_dir / "environment.json", environment)


def write_environment(
    run_dir: Path,
    config: Any,
    world: World,
    decided: dict[str, Any],
    packages: tuple[str, ...] = FINETUNING,
    step: int | None = None,
) -> None:
    """config.yaml, and environment.json with what was `decided` on top.

    Args:
        packages: of ours, whose code decides what the run finds.
        step: where the run goes on; 0: it begins. None: it is no run of steps.
    """
    make_folder(run_dir)
    write_text(run_dir / "config.yaml", dump_config(config))
    version = {"code": code_version(), "source": source_fingerprint(packages)}
    start = {"step": step, **version, "time": round(time.time(), 3)}
    environment = {
        **decided,
        **version,
        "starts": [*earlier_starts(run_dir), start],
        "packages": {name: package_version(name) for name in ("masklab", *PACKAGES)},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "device": device_name(world.device),
        "world_size": world.size,
        "threads_per_rank": torch.get_num_threads(),
        "command": list(map(hide, sys.argv)),
    }
    _write(run_dir / "environment.json", environment)


def _write(path: Path, environment: dict[str, Any]) -> None:
    write_text(path, json.dumps(environment, indent=1) + "\n")


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads per rank"


def decisions(trainer: Trainer) -> str:
    """The lines a run opens with."""
    config, corpus = trainer.config, trainer.corpus
    model, state = trainer.engine.model, trainer.state
    parameters = sum(p.numel() for p in model.parameters())
    rows = {
        "run": visible(trainer.run_dir) + (f", resumed at step {state.step}" if state.step else ""),
        "data": (
            f"{corpus.train.token_count:,} training and {corpus.heldout.token_count:,} held-out "
            f"tokens in {len(corpus.train.document_ends):,} and "
            f"{len(corpus.heldout.document_ends):,} documents"
        ),
        "tokenizer": f"{corpus.tokenizer.kind}, {corpus.tokenizer.vocabulary_size:,} entries",
        "model": (
            f"{config.model.architecture} {config.model.layers} x {config.model.hidden_size}, "
            f"{parameters:,} parameters, "
            f"{_attention(trainer)} attention"
        ),
        "precision": str(trainer.precision),
        "samples": sample_summary(trainer),
        "batch": _batch(trainer),
        "traffic": collective_summary(config, trainer.engine, trainer.world),
        "schedule": _schedule(trainer),
        "device": f"{device_name(trainer.world.device)}, "
        f"measured matmul peak {trainer.peak.flops / 1e12:.2f} TFLOP/s per rank",
    }
    lines = [f"{name:<10}{text}" for name, text in rows.items()]
    return "\n".join([*lines, "", masked_example(trainer), ""])


def collective_summary(config: StepConfig, engine: Engine, world: World) -> str:
    """One line on how gradients are added up, and what each rank sends in a step."""
    sizes = [p.numel() for p in engine.model.parameters()]
    micro_batches = config.batch.micro_batches(world.size) // world.size
    traffic = Traffic.of(sizes, config.collective, engine.zero_stage, micro_batches)
    return describe_collectives(config.collective, world, traffic)


def sample_summary(trainer: Trainer) -> str:
    """One line on how the corpus is cut, and one on what is odd about it."""
    config, index = trainer.config, trainer.batches.stages[0].collate.index(0)
    masking = "dynamic" if config.mask_epochs is None else f"static ({config.mask_epochs} masks)"
    text = (
        f"{config.input_format}: {len(index):,} per epoch, mean length "
        f"{index.lengths.mean():.1f}, {masking} masking"
    )
    if index.is_pair:
        text += f", {np.mean(index.next_sentence == 1):.1%} random next"
    said = few_pairs(index, trainer.corpus.train, config)
    return f"{text}\nnote      {said}" if said else text


def masked_example(trainer: Trainer, width: int = 320) -> str:
    """The longest sample of the next step, as text: what the model sees and what it predicts."""
    batch = trainer.batches.step(trainer.state.step)[-1]
    tokenizer = trainer.corpus.tokenizer
    mask = tokenizer.special.mask
    first = int(batch.boundaries[-2])
    tokens = batch.tokens_T[first:].tolist()
    answers = {
        place - first: label
        for place, label in zip(batch.predicted_M.tolist(), batch.labels_M.tolist())
        if place >= first
    }
    shown = " ".join(tokenizer.decode(tokens).split())[:width]

    def word(token: int) -> str:
        return tokenizer.decode([token]).strip() or tokenizer.pieces[token]

    pairs = [
        word(label) + ("" if tokens[place] == mask else f" (shown: {word(tokens[place])})")
        for place, label in answers.items()
    ]
    return f"example   {visible(shown)}\npredict   {visible(' | '.join(pairs)[:width])}"


def _attention(trainer: Trainer) -> str:
    config = trainer.config.model
    dtype = torch.bfloat16 if trainer.engine.precision == "bf16" else torch.float32
    return choose_backend(
        config.attention,
        trainer.world.device,
        dtype,
        config.max_positions,
        config.attention_dropout,
    )


def _schedule(trainer: Trainer) -> str:
    schedule, plan = trainer.config.schedule, trainer.plan
    peak = f"peak learning rate {trainer.config.optimizer.learning_rate:g}, {schedule.decay} decay"
    if plan.total_steps is None:
        return f"{schedule.max_minutes:g} minutes, {peak}"
    return f"{plan.total_steps:,} steps, {_epochs(trainer):.2f} epochs, {peak}"


def _epochs(trainer: Trainer) -> float:
    """Passes over the data in all phases."""
    stages = trainer.batches.stages
    ends = [stage.start.step for stage in stages[1:]] + [trainer.plan.total_steps]
    return sum((end - s.start.step) / s.steps_per_epoch for s, end in zip(stages, ends))


def _batch(trainer: Trainer) -> str:
    """Size of a step in every phase, and how it is shared out."""
    size = trainer.world.size
    parts = [
        (f"from step {stage.start.step:,} " if stage.start.step else "")
        + f"{stage.batch.sequences:,} x {stage.config.max_length} tokens in "
        f"{stage.batch.micro_batches(size)} micro-batches"
        for stage in trainer.batches.stages
    ]
    ranks = f"{size} rank{'s' if size > 1 else ''}"
    return f"{'; '.join(parts)}, over {ranks}, ZeRO {trainer.config.engine.zero_stage}"
