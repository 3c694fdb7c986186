"""Speed, duration and disk, against sums done by hand."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.doctor.gpus import GPUS, NETWORK_LATENCY, find_gpu
from pretrain.doctor.memory import MemoryModel
from pretrain.doctor.projection import Data, disk_bytes, project, step_flops, total_steps
from pretrain.engine.collectives import Ring

BASE_PARAMETERS = 124_697_433
"""of transformers' RobertaForMaskedLM with RoBERTa-base's configuration"""
RING = Ring(latency=1e-5, bandwidth=1e11)


def base(*overrides: str) -> PretrainConfig:
    return load_config(PretrainConfig, "roberta_base", list(overrides))


def projected(config: PretrainConfig, ranks: int, mfu: float = 0.5, data: Data | None = None):
    memory = MemoryModel(config, 50265, "cuda", "bf16")
    return project(config, memory, GPUS["h100"], RING, ranks, mfu, data or Data())


def test_a_steps_time_is_arithmetic_plus_ring():
    run = projected(base(), ranks=64)
    # 6 FLOPs per token and weight of the layers, attention, and the head on 15 % of the tokens.
    layers = 12 * (12 * 768**2)
    attention = 12 * 2 * 512 * 768
    head = 0.15 * (768**2 + 768 * 50265)
    flops = 6 * 8192 * 512 * (layers + attention + head)
    assert run.flops_per_step == pytest.approx(flops, rel=1e-3)
    assert run.compute_seconds == pytest.approx(flops / (64 * 989e12 * 0.5), rel=1e-3)
    gradient = 4 * BASE_PARAMETERS
    # 154 MB of word embeddings go in one message, all other 344 MB in four.
    ring = 5 * 126 * 1e-5 + 126 / 64 * gradient / 1e11
    assert run.allreduce_seconds == pytest.approx(ring, rel=1e-3)
    assert run.step_seconds == run.compute_seconds + run.allreduce_seconds
    assert run.hours == pytest.approx(500_000 * run.step_seconds / 3600)
    assert run.tokens_per_second == pytest.approx(8192 * 512 / run.step_seconds)


def test_overlap_hides_what_the_backward_pass_is_long_enough_for():
    overlap = ["engine.zero_stage=1", "collective.overlap=true"]
    run = projected(base(*overlap), ranks=64, mfu=0.2)
    gathering = 126 * 1e-5 / 2 + 63 / 64 * 4 * BASE_PARAMETERS / 1e11
    assert run.exposed_seconds == pytest.approx(gathering, rel=1e-3), "weights come afterwards"
    short = ["batch.sequences=64", "batch.micro_sequences=1"]
    run = projected(base(*overlap, *short), ranks=64)
    assert gathering < run.exposed_seconds < run.allreduce_seconds
    assert run.allreduce_share == pytest.approx(run.exposed_seconds / run.step_seconds)


def test_short_samples_cost_less_attention():
    config = base()
    assert step_flops(config, 50265, 128.0) < step_flops(config, 50265, None)


def test_the_runs_length_by_each_limit():
    none = "schedule.max_steps=null"
    warmup = "schedule.warmup_steps=0"
    data = Data(400.0, 10**9, 250, 5 * 10**9)
    assert total_steps(base(), Data()) == 500_000
    tokens = base(none, warmup, f"schedule.max_tokens={10 * 8192 * 512}")
    assert total_steps(tokens, Data()) == 10
    epochs = base(none, warmup, "schedule.max_epochs=4")
    assert total_steps(epochs, Data()) is None and total_steps(epochs, data) == 1000
    assert projected(epochs, 8).hours is None
    minutes = projected(base(none, warmup, "schedule.max_minutes=90"), 8)
    assert minutes.hours == 1.5
    assert minutes.steps == pytest.approx(5400 / minutes.step_seconds)


def test_disk_holds_the_checkpoints_one_more_the_export_and_the_store():
    config, store = base("checkpoint.keep=2"), 5 * 10**9
    needed = disk_bytes(config, BASE_PARAMETERS, Data(store_bytes=store))
    assert needed == 3 * 12 * BASE_PARAMETERS + 4 * BASE_PARAMETERS + store


def test_a_ring_through_several_nodes_is_as_fast_as_the_slower_wire():
    h100, l40s = find_gpu("H100"), find_gpu("l40s")
    assert h100.ring(8, 8).bandwidth == pytest.approx(0.8 * 450e9)
    assert h100.ring(64, 8).bandwidth == pytest.approx(0.8 * 400e9)
    assert l40s.ring(64, 8).bandwidth == pytest.approx(0.8 * 32e9)
    assert h100.ring(8, 8).latency < h100.ring(64, 8).latency < NETWORK_LATENCY
    assert h100.ring(4, 1).latency == pytest.approx(NETWORK_LATENCY)


def test_an_unknown_gpu_is_refused():
    with pytest.raises(InputError, match="--gpu h99: no such entry: choose of a100"):
        find_gpu("h99")
