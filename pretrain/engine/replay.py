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
from pretrain.batch import MicroBatch
from pretrain.data.corpus import open_corpus
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.data.verification import verify_used
from pretrain.engine.skipped import texts
from pretrain.model.pretraining import PretrainingModel
from pretrain.run.checkpoint_state import STATE
from pretrain.run.saved_run import open_run
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

    checkpoint: Path
    """that the weights come from"""
    samples: Iterator[Sample]


def replay(run_dir: Path, step: int) -> Replay:
    """Every sample of `step` (from 0) of a run, in fp32 and without dropout.

    Raises:
        InputError: no run, no whole checkpoint from before the step, or a damaged store.
    """
    run = open_run(run_dir, f"--run {run_dir}", up_to_step=step)
    if run.state.store is None:
        raise InputError(f"{run.checkpoint}/{STATE} names no store: it is of fine-tuning")
    model, corpus = run.model().eval(), open_corpus(Path(run.state.store), run.config)
    vocabulary = make_vocabulary(corpus.tokenizer)
    data = PhasedBatches(corpus.train, run.started.resolved(), vocabulary)
    model.encoder.set_rope_theta(data.rope_theta(step))
    batches = data.step(step)
    verify_used(corpus.folder, run.config.data, corpus.train.shards)
    samples = (examine(model, one, corpus.tokenizer) for batch in batches for one in split(batch))
    return Replay(run.checkpoint, samples)


def split(batch: MicroBatch) -> Iterator[MicroBatch]:
    """A micro-batch for each sample."""
    ends = batch.boundaries.tolist()
    for number, (a, b) in enumerate(zip(ends, ends[1:])):
        here = (batch.predicted_M >= a) & (batch.predicted_M < b)
        yield MicroBatch(
            tokens_T=batch.tokens_T[a:b],
            positions_T=batch.positions_T[a:b],
            segments_T=None if batch.segments_T is None else batch.segments_T[a:b],
            boundaries=torch.tensor([0, b - a], dtype=torch.int32),
            longest=b - a,
            predicted_M=batch.predicted_M[here] - a,
            labels_M=batch.labels_M[here],
            next_sentence_B=batch.next_sentence_B[number : number + 1],
            sample_ids=batch.sample_ids[number : number + 1],
            dropout_keys=batch.dropout_keys[number : number + 1],
            documents=documents_between(batch, a, b),
            longest_document=batch.longest_document,
        )


def documents_between(batch: MicroBatch, start: int, end: int) -> torch.Tensor | None:
    """Boundaries of the documents in one sequence, from its own beginning on."""
    if batch.documents is None:
        return None
    own = (batch.documents >= start) & (batch.documents <= end)
    return batch.documents[own] - start


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
