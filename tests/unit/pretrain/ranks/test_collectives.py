"""The ring's cost model, what a step sends, and what NCCL is asked for."""

from __future__ import annotations

import json
import os

import pytest

from configs.errors import InputError
from configs.schema import CollectiveConfig
from pretrain.ranks.collectives import (
    Benchmark,
    Ring,
    Traffic,
    bus_bandwidth,
    cut_buckets,
    read_ring,
    ring_share,
)
from pretrain.ranks.world import ask_for_algorithm

SIZES = [4, 10_000, 1_000_000, 64_000_000]


def test_the_ring_costs_what_its_rounds_cost():
    ring, size, ranks = Ring(latency=1e-3, bandwidth=1e9), 8e6, 4
    rounds = [ring.latency + size / ranks / ring.bandwidth for _ in range(2 * (ranks - 1))]
    assert ring.seconds(size, ranks) == pytest.approx(sum(rounds))
    assert ring.seconds(size, ranks, messages=3) == pytest.approx(sum(rounds) + 2 * 6 * 1e-3)
    assert ring.seconds(size, 1) == 0
    assert [ring_share(ranks) for ranks in (1, 2, 4, 8)] == [0, 1, 1.5, 1.75]


def test_the_bus_bandwidth_of_a_ring_without_latency_is_its_links():
    ring = Ring(0.0, 5e9)
    for ranks in (2, 8, 64):
        assert bus_bandwidth(1e9, ring.seconds(1e9, ranks), ranks) == pytest.approx(5e9)


@pytest.mark.parametrize("ranks", [2, 8])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_fit_finds_latency_and_bandwidth(ranks, noise):
    ring = Ring(2e-4, 7e8)
    times = [
        ring.seconds(size, ranks) * (1 + noise * (-1) ** number)
        for number, size in enumerate(SIZES)
    ]
    found = Ring.fit(SIZES, times, ranks)
    assert found.latency == pytest.approx(ring.latency, rel=2 * noise + 1e-6)
    assert found.bandwidth == pytest.approx(ring.bandwidth, rel=2 * noise + 1e-6)


@pytest.mark.parametrize("times", [[1e-6, 1.0], [1.0, 0.1], [1.0]])
def test_a_fit_has_no_negative_constants(times):
    ring = Ring.fit([1_000, 1_000_000][: len(times)], times, 2)
    assert ring.latency >= 0 and ring.bandwidth > 0
    assert ring.seconds(1_000, 2) > 0


def test_buckets_are_sent_when_they_are_past_the_limit():
    assert cut_buckets([10, 10, 10], limit=100) == [[0, 1, 2]]
    assert cut_buckets([60, 60, 60, 60], limit=100) == [[0, 1], [2, 3]]
    assert cut_buckets([500, 1, 1], limit=100) == [[0], [1, 2]]
    assert cut_buckets([], limit=100) == []


def test_a_steps_traffic():
    plain = CollectiveConfig()
    assert Traffic.of([1000], plain, 0, micro_batches=4) == Traffic(4000, 0, 1, 4000)
    assert Traffic.of([1000], plain, 1, micro_batches=4) == Traffic(4000, 4000, 1, 4000)
    assert Traffic.of([1000], plain, 2, micro_batches=4).gradient_bytes == 16_000
    half = CollectiveConfig(compression="bf16")
    assert Traffic.of([1000], half, 0, 1).bytes_sent(ranks=4) == 1.5 * 2000
    tied = Traffic.of(
        [3_000_000, 500, 9_000_000, 1_000], CollectiveConfig(bucket_megabytes=1), 0, 1
    )
    assert tied == Traffic(4 * 12_001_500, 0, 2, 4 * 3_000_500), "the first parameters come last"
    # Gathering weights is the second half of an all-reduce.
    assert Traffic.of([1000], plain, 1, 1).bytes_sent(4) == 1.5 * 4000 + 0.75 * 4000


def test_what_is_reduced_last_is_waited_for():
    ring, traffic = Ring(0.0, 1e9), Traffic(8_000_000, 2_000_000, 3, last_bytes=1_000_000)
    waits = [traffic.exposed_seconds(ring, 2, hidden) for hidden in (0.0, 0.005, 1.0)]
    assert waits == pytest.approx([0.009, 0.004, 0.002])


@pytest.mark.parametrize(
    ("algorithm", "nccl", "value"),
    [
        ("ring", (2, 21, 5), "Ring"),
        ("tree", (2, 21, 5), "Tree"),
        ("tree", (2, 27, 3), "allreduce:tree"),
        ("auto", (2, 27, 3), None),
    ],
)
def test_nccl_is_asked_by_its_variable(monkeypatch, algorithm, nccl, value):
    monkeypatch.setenv("NCCL_ALGO", "mine")
    ask_for_algorithm(algorithm, nccl)
    assert os.environ["NCCL_ALGO"] == "mine", "what the user or the site says comes first"
    monkeypatch.delenv("NCCL_ALGO")
    ask_for_algorithm(algorithm, nccl)
    assert os.environ.get("NCCL_ALGO") == value


def test_a_benchmarks_file_is_read_back(tmp_path):
    path, ring = tmp_path / "ring.json", Ring(1e-5, 4e10)
    times = [ring.seconds(size, 8) for size in SIZES]
    path.write_text(json.dumps(Benchmark(8, "nccl", "ring", SIZES, times, ring).as_json()))
    assert read_ring(path) == ring


@pytest.mark.parametrize(
    "text", ["", "[]", '{"ring": {}}', '{"ring": {"latency": 0, "bandwidth": NaN}}']
)
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "ring.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"--allreduce .*ring\.json"):
        read_ring(path)
