"""How large a micro-batch a rank can hold, found by trying (`batch.micro_sequences=auto`).

The answer changes no result, only how many micro-batches a step is cut into (law 2).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from configs.schema import PretrainConfig, ResolvedPretrainConfig
from pretrain.batch import MicroBatch
from pretrain.engine.memory import forget_peak, memory_limit, peak_bytes
from pretrain.engine.precision import choose_precision
from pretrain.model.pretraining import PretrainingModel, make_model
from pretrain.optim.groups import moments_elements
from pretrain.ranks.world import World
from pretrain.run.checkpoint_state import read_state
from tokenizer.base import Tokenizer

logger = logging.getLogger(__name__)

SHARE = 0.85
"""of the memory that may be used: allocators leave gaps, collectives need buffers"""


def resolve(
    config: PretrainConfig, world: World, tokenizer: Tokenizer, found: Path | None
) -> ResolvedPretrainConfig:
    """The configuration with a number in place of `auto`, the same on all ranks.

    A run that resumes from the checkpoint `found` on as many ranks keeps its number: another would
    add up in another order.
    """
    if config.batch.micro_sequences != "auto":
        return config.resolved()
    before = read_state(found, {}) if found else None
    if before and before.micro_sequences and before.world_size == world.size:
        return config.resolved(before.micro_sequences)
    longest = max([config.max_length, *(phase.max_length or 0 for phase in config.phases)])
    enough = -(-config.batch.sequences // world.size)
    model = make_model(config, tokenizer).to(world.device)
    precision = choose_precision(
        config.engine.precision, world, config.data.cache, before.precision if before else None
    )

    def attempt(sequences: int) -> None:
        for length in {config.max_length, longest}:
            # As many tokens in each phase (see `phases.batch_of`), of which long sequences need
            # more where attention pads.
            number = max(1, sequences * config.max_length // length)
            batch = full_batch(number, config, tokenizer.vocabulary_size, length).to(world.device)
            with torch.autocast(world.device.type, torch.bfloat16, precision.name == "bf16"):
                sums = model(batch)
            (sums.mlm_loss_sum + sums.nsp_loss_sum).backward()
            model.zero_grad()

    budget = SHARE * memory_limit(world.device) - moments_bytes(model, config, world.size)
    forget_peak(world.device)
    agreed = min(world.gather(largest(attempt, enough, budget, lambda: peak_bytes(world.device))))
    if world.is_main:
        logger.info(
            f"batch.micro_sequences=auto: a rank holds {agreed} x {config.max_length} tokens"
        )
    return config.resolved(agreed)


def largest(
    attempt: Callable[[int], None], enough: int, budget: float, peak: Callable[[], int]
) -> int:
    """The largest power of two of sequences, or `enough`, whose step stays within `budget` bytes.

    What the next one needs is estimated from the growth so far, so that a host is never driven into
    swapping; a device may say no.
    """
    found, before, sequences = 1, None, 1
    while True:
        try:
            attempt(sequences)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return found
        found, used = sequences, peak()
        growth = 0 if before is None else 2 * (used - before)
        if sequences >= enough or used + growth > budget:
            return found
        before, sequences = used, min(2 * sequences, enough)


def full_batch(
    sequences: int, config: PretrainConfig, vocabulary_size: int, length: int | None = None
) -> MicroBatch:
    """The most that a micro-batch can be: all sequences of full length, by default max_length."""
    length = length or config.max_length
    tokens = sequences * length
    predicted = max(1, int(tokens * max(config.mask_probabilities)))
    boundaries = torch.arange(0, tokens + 1, length, dtype=torch.int32)
    segments_T = torch.zeros(tokens, dtype=torch.int64)
    pair = 0 if config.next_sentence_prediction else -100
    return MicroBatch(
        tokens_T=torch.randint(vocabulary_size, (tokens,)),
        positions_T=torch.arange(length).repeat(sequences),
        segments_T=segments_T if config.model.segment_types > 1 else None,
        boundaries=boundaries,
        longest=length,
        predicted_M=torch.arange(predicted),
        labels_M=torch.randint(vocabulary_size, (predicted,)),
        next_sentence_B=torch.full((sequences,), pair),
        sample_ids=tuple(range(sequences)),
        dropout_keys=tuple(range(sequences)),
        documents=boundaries if config.document_attention else None,
        longest_document=length,
    )


def moments_bytes(model: PretrainingModel, config: PretrainConfig, ranks: int) -> float:
    """What the optimizer will hold beside weights and gradients: its moments in fp32."""
    elements = moments_elements(model, config.optimizer.name)
    return 4.0 * elements / (ranks if config.engine.zero_stage else 1)
