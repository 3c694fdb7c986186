"""Speed, duration and disk, against sums done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from configs.errors import InputError
from configs.schema import ResolvedPretrainConfig
from launch.diagnosis.gpus import GPUS, NETWORK_LATENCY, Hardware, find_gpu
from launch.diagnosis.memory_model import MemoryModel
from launch.diagnosis.projection import (
    Data,
    Projection,
    checkpoint_bytes,
    disk_bytes,
    duration_of,
    project,
    step_flops,
)
from pretrain.model.pretraining import PretrainingModel
from pretrain.ranks.collectives import Ring
from tests.unit.launch.diagnosis.examples import base

BASE_PARAMETERS = 124_697_433
"""of transformers' RobertaForMaskedLM with RoBERTa-base's configuration"""
RING = Ring(latency=1e-5, bandwidth=1e11)


def projected(config: ResolvedPretrainConfig, ranks: int, mfu: float = 0.5) -> list[Projection]:
    """Of each phase."""
    memory = MemoryModel(config, 50265, "cuda", "bf16")
    hardware = Hardware(GPUS["h100"], ranks, 8, "bf16", RING, True, mfu)
    return [project(phase, memory, hardware) for phase in Data.without_corpus(config).phases]


def test_a_steps_time_is_arithmetic_plus_ring():
    (run,) = projected(base(), ranks=64)
    # 6 FLOPs per token and weight of the layers, attention, and the head on 15 % of the tokens,
    # as what follows attention in the last layer.
    layers = (11 * 12 + 3 + 0.15 * 9) * 768**2
    attention = 12 * 2 * 512 * 768
    head = 0.15 * (768**2 + 768 * 50265)
    flops = 6 * 8192 * 512 * (layers + attention + head)
    assert run.flops == pytest.approx(flops, rel=1e-3)
    assert run.compute_seconds == pytest.approx(flops / (64 * 989e12 * 0.5), rel=1e-3)
    gradient = 4 * BASE_PARAMETERS
    # Three messages, and a fourth with what is left and the 154 MB of word embeddings.
    ring = 4 * 126 * 1e-5 + 126 / 64 * gradient / 1e11
    assert run.allreduce_seconds == pytest.approx(ring, rel=1e-3)
    assert run.seconds == run.compute_seconds + run.exposed_seconds
    hours = 500_000 * run.seconds / 3600
    assert duration_of([run], 500_000, None) == pytest.approx((500_000, hours))
    assert run.tokens_per_second == pytest.approx(8192 * 512 / run.seconds)


def test_overlap_hides_what_the_backward_pass_is_long_enough_for():
    (run,) = projected(base(), ranks=64, mfu=0.2)
    embeddings = 4 * 768 * (50265 + 514)  # the first of the parameters, and so the last
    (plain,) = projected(base("collective.overlap=false"), ranks=64, mfu=0.2)
    assert plain.exposed_seconds == plain.allreduce_seconds == run.allreduce_seconds
    last = 126 * 1e-5 + 126 / 64 * embeddings / 1e11
    assert last <= run.exposed_seconds < plain.exposed_seconds
    short = ["batch.sequences=64", "batch.micro_sequences=1"]
    (brief,) = projected(base(*short), ranks=64)
    assert run.exposed_seconds < brief.exposed_seconds < run.allreduce_seconds
    assert brief.allreduce_share == pytest.approx(brief.exposed_seconds / brief.seconds)


def test_weights_are_gathered_after_all_else():
    stage, overlap = "engine.zero_stage=1", "collective.overlap=true"
    (run,) = projected(base(stage, overlap), ranks=64, mfu=0.2)
    (whole,) = projected(base(), ranks=64, mfu=0.2)
    gathering = 126 * 1e-5 / 2 + 63 / 64 * 4 * BASE_PARAMETERS / 1e11
    assert run.exposed_seconds == pytest.approx(whole.exposed_seconds + gathering, rel=1e-3)


def test_short_samples_cost_less_attention():
    config = base()
    assert step_flops(config, 50265, 128.0) < step_flops(config, 50265, None)


def test_the_runs_length_by_each_limit():
    def steps(store_bytes: int | None, limit: str) -> float | None:
        config = base("schedule.max_steps=null", "schedule.warmup_steps=0", limit)
        data = replace(Data.without_corpus(config), store_bytes=store_bytes)
        return data.total_steps(config)

    assert Data.without_corpus(base()).total_steps(base()) == 500_000
    assert steps(None, f"schedule.max_tokens={10 * 8192 * 512}") == 10
    assert steps(None, "schedule.max_epochs=4") is None
    assert steps(10**9, "schedule.max_epochs=4") == 4, "an epoch stands for a step here"
    assert steps(None, "schedule.max_minutes=90") is None
    assert duration_of([], None, None) == (None, None)
    (run,) = projected(base(), 8)
    assert duration_of([run], None, 90) == pytest.approx((5400 / run.seconds, 1.5))


def test_phases_add_up():
    phases = "phases=[{sequences: 4096, max_length: 128}, {from_steps: 400}]"
    config = base(phases, "schedule={max_steps: 500, warmup_steps: 10}")
    short, full = projected(config, ranks=64)
    assert (short.sequences, short.max_length, short.first_step) == (4096, 128, 0)
    assert (full.sequences, full.max_length, full.first_step) == (8192, 512, 400)
    steps, hours = duration_of([short, full], 500, None)
    assert steps == 500
    assert hours == pytest.approx((400 * short.seconds + 100 * full.seconds) / 3600)
    steps, hours = duration_of([short, full], None, (500 * short.seconds) / 60)
    assert 400 < steps < 500 and hours == pytest.approx(500 * short.seconds / 3600)
    late = base(f"phases=[{{from_tokens: {20 * 8192 * 512}, sequences: 64}}]")
    assert [phase.place.first_step for phase in Data.without_corpus(late).phases] == [0, 20]


def test_disk_holds_the_checkpoints_one_more_the_export_and_the_store():
    config, store = base("checkpoint.keep=2"), 5 * 10**9
    with torch.device("meta"):
        model = PretrainingModel(config.model, 50265, 1, next_sentence=False)
    needed = disk_bytes(config, model, Data([], store), steps=None)
    assert needed == 3 * 12 * BASE_PARAMETERS + 4 * BASE_PARAMETERS + store
    config = base("checkpoint.keep_every_steps=100000")
    needed = disk_bytes(config, model, Data([]), steps=500_000)
    assert needed == (4 + 5) * 12 * BASE_PARAMETERS + 4 * BASE_PARAMETERS
    # Of the 12 x 12 x 768 x 768 weights of the layers' matrices Muon keeps one number, not two.
    assert checkpoint_bytes(model, "muon") == 12 * BASE_PARAMETERS - 4 * 144 * 768**2


def test_muons_update_is_done_by_every_rank_in_full():
    (plain,), (muon,) = (projected(base(*more), 64) for more in ([], ["optimizer.name=muon"]))
    # Five rounds of 6 products of 768 x 768 for four of a layer's matrices, and of 4 x 4 + 2 for
    # the two that are four times as long.
    flops = 12 * 5 * 768**3 * (4 * 6 + 2 * 18)
    assert muon.update_seconds == pytest.approx(flops / (989e12 * 0.5))
    assert muon.seconds == pytest.approx(plain.seconds + muon.update_seconds)
    assert plain.update_seconds == 0


def test_a_ring_through_several_nodes_is_as_fast_as_the_slower_wire():
    h100, l40s = find_gpu("H100"), find_gpu("l40s")
    assert h100.ring(8, 8).bandwidth == pytest.approx(0.8 * 450e9)
    assert h100.ring(64, 8).bandwidth == pytest.approx(0.8 * 400e9)
    assert l40s.ring(64, 8).bandwidth == pytest.approx(0.8 * 32e9)
    assert h100.ring(8, 8).latency < h100.ring(64, 8).latency < NETWORK_LATENCY
    assert h100.ring(4, 1).latency == pytest.approx(NETWORK_LATENCY)


def test_an_unknown_gpu_is_refused():
    with pytest.raises(InputError, match="--gpu h99: no such entry: choose from a100"):
        find_gpu("h99")
