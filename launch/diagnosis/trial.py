"""A short trial of a recipe: what share of its peak this machine reaches with it."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch

from launch.diagnosis.gpus import Hardware
from launch.diagnosis.memory_model import MemoryModel
from pretrain.engine.fitting import full_batch
from pretrain.engine.machine import threads
from pretrain.model.flops import flops_per_step, training_flops
from pretrain.model.pretraining import PretrainingModel, initialise
from pretrain.ranks.world import cores

LONGEST = 1.0
"""seconds of a micro-batch: a larger one is tried with fewer sequences"""
REPEATS = 3
"""of which the fastest counts: other work disturbs some"""
PAD = 1


def measured_mfu(memory: MemoryModel, hardware: Hardware) -> float | None:
    """Model FLOPs utilisation of a micro-batch, forward and backward.

    Returns:
        None where the hardware is not this machine's, or a single sequence would take too long.
    """
    kind = hardware.device.kind
    sequences = trial_sequences(memory, hardware)
    if not sequences or (kind == "cuda" and not torch.cuda.is_available()):
        return None
    config, device = memory.config, torch.device(kind)
    model = PretrainingModel(
        config.model, memory.vocabulary_size, PAD, config.next_sentence_prediction
    )
    initialise(model, config.model, config.seed)
    batch = full_batch(sequences, config, memory.vocabulary_size)
    flops, model, batch = training_flops(model, batch), model.to(device), batch.to(device)

    def seconds() -> float:
        start = perf_counter()
        with torch.autocast(kind, torch.bfloat16, hardware.precision == "bf16"):
            sums = model(batch)
        loss = sums.mlm_loss_sum + sums.nsp_loss_sum
        loss.backward()
        loss.item()  # waits for the device
        return perf_counter() - start

    with threads(cores()):  # as a run takes them
        seconds()
        return flops / hardware.device.peak / min(seconds() for _ in range(REPEATS))


def trial_sequences(memory: MemoryModel, hardware: Hardware) -> int:
    """How many of a micro-batch's sequences a trial takes; 0: not even one."""
    config = memory.config
    predicted = round(config.max_length * max(config.mask_probabilities))
    lengths = np.array([config.max_length])
    one = flops_per_step(config.model, memory.vocabulary_size, lengths, predicted)
    fit = int(LONGEST * hardware.device.peak * hardware.mfu / one)
    return min(config.batch.micro_sequences, config.batch.sequences, fit)
