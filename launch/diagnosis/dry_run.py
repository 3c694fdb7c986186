"""A run of N ranks on one machine without any accelerator: what a configuration asks for is dealt
out and tried, with a process group that only pretends to communicate.

Full-size parameters are counted, not allocated; the engine takes a step with a model of one layer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from configs.errors import InputError
from configs.schema import PrecisionName, PretrainConfig, ResolvedPretrainConfig
from configs.system.file_hashes import unknown_bytes
from launch.diagnosis.projection import Data, RunPhase, phase_config
from pretrain.data.cache import cache_of, find_store
from pretrain.data.corpus import Corpus, open_corpus
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.engine.engine import Engine
from pretrain.engine.fitting import full_batch
from pretrain.model.pretraining import PretrainingModel, initialise
from pretrain.ranks.world import SINGLE_PROCESS, World
from pretrain.text.find_files import find_files

SMALL_VOCABULARY, HEAD_SIZE = 128, 8


def find_corpus(config: PretrainConfig) -> Corpus | None:
    """The corpus of a configuration if its store is there already: nothing is made.

    Raises:
        InputError: a source is missing, or the store is damaged.
    """
    if config.data.store:
        return open_corpus(Path(config.data.store), config)
    store = find_store(config)
    return open_corpus(store.folder, config) if store and store.is_done else None


def bytes_to_hash(config: PretrainConfig) -> int:
    """How much of the sources `find_corpus` has to read, hub data sets and the installation left
    out: their names and versions say enough."""
    if config.data.store:
        return 0
    sources = [s for s in config.data.sources if s.kind not in ("hub", "installed-docs")]
    hashes = cache_of(config) / "hashes"
    return sum(unknown_bytes(find_files(source), hashes) for source in sources)


def deal(config: ResolvedPretrainConfig, corpus: Corpus, ranks: int) -> Data:
    """Deal the first and the last step of an epoch of every phase to all ranks, as training does.

    Raises:
        InputError: too little text, or too few samples for the ranks.
    """
    batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer))
    batches.require_samples(ranks)
    phases = []
    for own, phase in zip(batches.by_phase, batches.phases):
        for step in {phase.first_step, phase.first_step + phase.steps_per_epoch - 1}:
            for rank in range(ranks):
                own.step(step, rank, ranks)
        mean_length = own.collate.index(0).mean_length
        phases.append(RunPhase(phase_config(config, phase.config), phase, mean_length))
    size = sum(file.stat().st_size for file in corpus.folder.rglob("*") if file.is_file())
    return Data(phases, size)


def check_shares(data: Data, ranks: int) -> None:
    """Raise `InputError` where a step holds too few sequences, without any corpus.

    A step holds at least `batch.sequences` samples, and about as many where they are full.
    """
    for phase in data.phases:
        sequences = phase.config.batch.sequences
        if sequences < ranks:
            step = phase.place.first_step
            where = f"from step {step:,} on: phases.N.sequences" if step else "batch.sequences"
            raise InputError(
                f"{where}={sequences} on {ranks} ranks: a step of full sequences has too few for "
                f"them: set it to {ranks} or more, or use fewer ranks"
            )


@contextmanager
def pretended_ranks(ranks: int) -> Iterator[World]:
    """Rank 0 of a process group of `ranks` whose collectives return at once and do nothing.

    Once in a process: DeepSpeed keeps what it learns of a group.

    Raises:
        InputError: this process is in a real group.
    """
    # Registers the backend "fake".
    from torch.testing._internal.distributed.fake_pg import FakeStore

    if dist.is_initialized():
        raise InputError("doctor.py is for a single process: start it with python")
    before = dict(os.environ)
    # DeepSpeed looks for these even where the group is there; what it prints is no finding.
    os.environ.update({**SINGLE_PROCESS, "DS_ACCELERATOR": "cpu"})
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        with redirect_stdout(sys.stderr):
            yield World(0, ranks, torch.device("cpu"))
    finally:
        dist.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def try_step(config: ResolvedPretrainConfig, world: World, precision: PrecisionName) -> None:
    """One optimizer step of a rank in `pretended_ranks`, through the real engine, with one narrow
    layer.

    Optimizer, ZeRO stage, buckets, compression, accumulation and objectives are the real ones.
    """
    small = shrunken(config)
    batch = full_batch(2, small, SMALL_VOCABULARY)
    accumulation = config.batch.micro_batches(world.size) // world.size
    model = PretrainingModel(small.model, SMALL_VOCABULARY, 1, small.next_sentence_prediction)
    initialise(model, small.model, small.seed)
    engine = Engine(model, small, world, precision)
    engine.train()
    for number in range(accumulation):
        sums = engine(batch)
        engine.backward(sums.mlm_loss_sum + sums.nsp_loss_sum, number == accumulation - 1)
    engine.step(config.optimizer.learning_rate)


def shrunken(config: ResolvedPretrainConfig) -> ResolvedPretrainConfig:
    """The configuration with one layer of narrow heads and short sequences, in one phase."""
    width = HEAD_SIZE * config.model.heads
    model = replace(
        config.model,
        layers=1,
        hidden_size=width,
        feed_forward_size=width,
        max_positions=8,
        attention="auto",
    )
    return replace(config.of_length(8), model=model)
