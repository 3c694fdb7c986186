"""Whether training learns the same by every way: device, precision, ZeRO stage, update rule."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from configs.loader import load_config
from configs.schema import PrecisionName, PretrainConfig, ResolvedPretrainConfig
from launch.selfchecks.bench import Bench
from launch.selfchecks.finding import Finding, guarded, judged, skipped
from launch.selfchecks.material import VOCABULARY, vocabulary, write_store
from pretrain.data.batches import Batches
from pretrain.data.collate import Collator
from pretrain.data.store import TokenStore
from pretrain.engine.engine import Engine, make_optimizer
from pretrain.model.pretraining import PretrainingModel, initialise
from pretrain.optim.schedule import Phase, Schedule
from pretrain.ranks.world import World

COMMON = (
    *("max_length=64", "batch={sequences: 16, micro_sequences: 8}", "tokenizer={}"),
    *("schedule={max_steps: 200}", "engine.precision=fp32"),
)
STEPS, FEW = {"cuda": 100, "cpu": 30}, 10
LAST = 10
"""steps at the end, whose mean losses are compared"""
LEARNT = 0.95
"""share of the first loss that the last is at most"""
NEAR = {"bf16": 0.01, "fp32": 1e-3}
"""relative difference of mean losses: of types, and of ways to compute the same"""


def check(bench: Bench) -> Iterator[Finding]:
    """Long in this device's best type against plain fp32 on the CPU; short in all other ways."""
    store = write_store(bench.folder / "store")
    steps = STEPS[bench.device.type]
    plain = trained_plainly(store, configuration(), steps)
    text = f"{plain[0]:.3f} to {np.mean(plain[-LAST:]):.3f} in {steps} steps of fp32 on the CPU"
    good = bool(np.mean(plain[-LAST:]) < LEARNT * plain[0])
    yield judged("the plain loop learns", good, text, losses=plain)
    for name, findings in ways(bench, store, plain):
        yield from guarded(name, findings)


def ways(bench: Bench, store: Path, plain: list[float]) -> Iterator[tuple[str, Iterator[Finding]]]:
    """Each way to train, by its name."""
    device, train = bench.device.type, partial(trained, bench.world, store)

    def against(name: str, bound: float, steps: int, *overrides: str) -> Iterator[Finding]:
        yield compare(name, train(configuration(*overrides), steps), plain[:steps], bound)

    def by_rule(name: str, rule: str) -> Iterator[Finding]:
        config = configuration(f"optimizer.name={rule}")
        expected = trained_plainly(store, config, FEW)
        yield compare(name, train(config, FEW), expected, NEAR["fp32"])

    if "bf16" in bench.precisions:
        name = f"bf16 on {device}, {len(plain)} steps"
        yield name, against(name, NEAR["bf16"], len(plain), "engine.precision=bf16")
    else:
        yield "bf16", iter([skipped("bf16", "this processor has no instructions for bf16")])
    for stage in (0, 1, 2):
        name = f"fp32, ZeRO {stage}"
        yield name, against(name, NEAR["fp32"], FEW, f"engine.zero_stage={stage}")
    for rule in ("lamb", "stable-adamw", "muon"):
        yield f"fp32, {rule}", by_rule(f"fp32, {rule}", rule)


def compare(name: str, found: list[float], expected: list[float], bound: float) -> Finding:
    """Mean losses of the last steps, and the worst of single ones."""
    ours, theirs = np.array(found), np.array(expected)
    apart = abs(ours[-LAST:].mean() / theirs[-LAST:].mean() - 1)
    worst = np.abs(ours / theirs - 1).max()
    text = f"the last {min(LAST, len(ours))} losses {apart:.2e} apart (at most {bound:g}), "
    text += f"single ones {worst:.2e}; {ours[-1]:.3f} at the end"
    return judged(name, bool(apart <= bound), text, losses=found, apart=float(apart))


def configuration(*overrides: str) -> ResolvedPretrainConfig:
    """The encoder of small.yaml, with short sequences."""
    return load_config(PretrainConfig, "small.yaml", [*COMMON, *overrides]).resolved()


def opened(store: Path, config: ResolvedPretrainConfig) -> tuple[PretrainingModel, Batches]:
    """New weights, and the batches that they learn from."""
    batches = Batches(Collator(TokenStore.open(store, "train"), config, vocabulary()))
    model = PretrainingModel(config.model, VOCABULARY, pad_id=1, next_sentence=False)
    initialise(model, config.model, config.seed)
    return model, batches


def rates(config: ResolvedPretrainConfig, steps: int) -> list[float]:
    """Of each step."""
    schedule, peak = Schedule.make(config.schedule, [Phase(0, 1, 1)]), config.optimizer
    return [schedule.learning_rate(peak.learning_rate, step, 0) for step in range(steps)]


def trained(world: World, store: Path, config: ResolvedPretrainConfig, steps: int) -> list[float]:
    """The losses of steps under the engine, on all ranks together."""
    return trained_engine(world, store, config, steps)[0]


def trained_engine(
    world: World, store: Path, config: ResolvedPretrainConfig, steps: int
) -> tuple[list[float], Engine]:
    """The same, and the engine with the weights that they led to."""
    model, batches = opened(store, config)
    precision: PrecisionName = "bf16" if config.engine.precision == "bf16" else "fp32"
    engine, losses = Engine(model.to(world.device), config, world, precision), []
    engine.train()
    for step, rate in enumerate(rates(config, steps)):
        own = batches.step(step, world.rank, world.size)
        (predicted,) = world.sum_on_host(sum(len(batch.labels_M) for batch in own))
        total = torch.zeros((), device=world.device)
        for number, batch in enumerate(own, start=1):
            loss = engine(batch.to(world.device)).mlm_loss_sum / predicted
            engine.backward(loss, is_last=number == len(own))
            total += loss.detach()
        engine.step(rate)
        losses.append(float(world.sum(total)))
    return losses, engine


def trained_plainly(store: Path, config: ResolvedPretrainConfig, steps: int) -> list[float]:
    """The same steps as torch alone takes them, in fp32 on the CPU."""
    (model, batches), losses = opened(store, config), []
    optimizer = make_optimizer(model, config.optimizer)
    model.train()
    for step, rate in enumerate(rates(config, steps)):
        micro_batches, total = batches.step(step), 0.0
        predicted = sum(len(batch.labels_M) for batch in micro_batches)
        for batch in micro_batches:
            loss = model(batch).mlm_loss_sum / predicted
            loss.backward()
            total += float(loss.detach())
        limit = config.optimizer.max_gradient_norm or float("inf")
        torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate_scale"]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses
