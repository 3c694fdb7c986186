"""A step once more, sample by sample, to find the one that has no finite loss or gradient.

What a step sees is a function of its number (law 1), so a run folder and a number are enough. The
weights are those of the newest checkpoint before the step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from configs.errors import InputError
from configs.loader import load_run_config
from configs.schema import PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.data.prepare import open_corpus
from pretrain.data.verification import verify_used
from pretrain.engine.skipped import texts
from pretrain.model.pretraining import PretrainingModel, make_model
from pretrain.run import checkpoint
from pretrain.run.tensors import read_tensors
from tokenizer.base import Tokenizer


@dataclass(frozen=True)
class Sample:
    """What one sample of the step does to the model."""

    number: int
    """in its epoch"""
    tokens: int
    loss: float
    """sum over its predicted tokens, nats"""
    gradient_norm: float
    text: str


@dataclass(frozen=True)
class Replay:
    """A step of a run, to be looked at."""

    found: Path
    """checkpoint that the weights come from"""
    samples: Iterator[Sample]


def replay(run_dir: Path, step: int) -> Replay:
    """Every sample of `step` (from 0) of a run, in fp32 and without dropout.

    Raises:
        InputError: no run, no whole checkpoint from before the step, or a damaged store.
    """
    if not (run_dir / "config.yaml").is_file():
        raise InputError(f"--run {run_dir}: no run folder (config.yaml is missing)")
    config = load_run_config(PretrainConfig, run_dir)
    found = newest_before(run_dir / "checkpoints", step)
    store = checkpoint.read_state(found, {}).store
    if store is None:
        raise InputError(f"{found}/state.json names no store: it is of fine-tuning")
    corpus = open_corpus(Path(store), config)
    batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer)).step(step)
    verify_used(corpus.folder, config.data, corpus.train.shards)
    model = make_model(config, corpus.tokenizer).eval()
    model.load_state_dict(read_tensors(found / "model.safetensors"))
    return Replay(
        found, (examine(model, one, corpus.tokenizer) for b in batches for one in split(b))
    )


def newest_before(folder: Path, step: int) -> Path:
    """The newest whole checkpoint of at most `step` steps."""
    saved = [p for p in checkpoint.list_checkpoints(folder) if checkpoint.step_of(p) <= step]
    whole = [path for path in saved if checkpoint.find_damage(path) is None]
    if not whole:
        raise InputError(f"{folder}: no whole checkpoint from before step {step}")
    return whole[-1]


def split(batch: MicroBatch) -> Iterator[MicroBatch]:
    """A micro-batch for each sample."""
    ends = batch.boundaries.tolist()
    for number, (a, b) in enumerate(zip(ends, ends[1:])):
        here = (batch.predicted_M >= a) & (batch.predicted_M < b)
        yield MicroBatch(
            tokens_T=batch.tokens_T[a:b],
            positions_T=batch.positions_T[a:b],
            segments_T=batch.segments_T[a:b],
            boundaries=torch.tensor([0, b - a], dtype=torch.int32),
            longest=b - a,
            predicted_M=batch.predicted_M[here] - a,
            labels_M=batch.labels_M[here],
            next_sentence_B=batch.next_sentence_B[number : number + 1],
            sample_ids=batch.sample_ids[number : number + 1],
            dropout_keys=batch.dropout_keys[number : number + 1],
        )


def examine(model: PretrainingModel, batch: MicroBatch, tokenizer: Tokenizer) -> Sample:
    """Loss and gradient norm of one sample."""
    model.zero_grad()
    sums = model(batch)
    (sums.mlm_loss_sum + sums.nsp_loss_sum).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    (text,) = texts(batch, tokenizer)
    loss = float(sums.mlm_loss_sum.detach())
    return Sample(batch.sample_ids[0], len(batch.tokens_T), loss, float(norm), text)
