"""What doctor finds out about a configuration, as values; doctor_report.py tells them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch

from configs.errors import InputError
from configs.schema import PretrainConfig, ResolvedPretrainConfig
from configs.system.run_names import TOKENIZER
from configs.training_schema import NEEDS_WHOLE_TENSORS
from launch.diagnosis.dry_run import (
    bytes_to_hash,
    check_shares,
    deal,
    find_corpus,
    pretended_ranks,
    try_step,
)
from launch.diagnosis.environment import Check, check_environment
from launch.diagnosis.gpus import DEFAULT_MFU, Hardware, find_gpu, this_machine
from launch.diagnosis.memory_model import Memory, MemoryModel, largest_fit
from launch.diagnosis.projection import (
    Data,
    Projection,
    checkpoint_bytes,
    disk_bytes,
    duration_of,
    project,
)
from pretrain.data.corpus import Corpus, prepare
from pretrain.data.manifest import read_manifest
from pretrain.data.verification import Verification
from pretrain.engine.machine import Peak, Remembered, threads
from pretrain.engine.precision import choose_precision
from pretrain.ranks.collectives import Ring
from pretrain.ranks.world import World, cores
from tokenizer.load import load_tokenizer

USABLE = 0.92
"""share of a device's memory that is planned with: allocators lose some to fragments"""
CPU_MFU = 0.6
"""of the measured peak, as README's table has it for the small model on a CPU"""
LARGEST_TO_HASH = 2 * 10**9
"""bytes of source files that are read to find their store; more would take minutes"""
LARGE_SHARE = 0.3
"""of a step, spent on the all-reduce, that is worth a word"""


@dataclass(frozen=True)
class Diagnosis:
    """What there is to report."""

    config: ResolvedPretrainConfig
    hardware: Hardware
    parameters: int
    parts: dict[int, dict[str, float]]
    """bytes by ZeRO stage and part, each at its largest"""
    peaks: dict[int, Memory]
    """by ZeRO stage"""
    projections: list[Projection]
    """of each phase"""
    steps: float | None
    hours: float | None
    """None where a corpus that is not there would tell"""
    checkpoint: int
    """bytes of one"""
    disk: int
    checks: list[Check]

    @property
    def works(self) -> bool:
        """Whether nothing speaks against starting."""
        return all(check.state != "fail" for check in self.checks)


def hardware_with_gpus(
    config: PretrainConfig, kind: str, ranks: int, per_node: int, ring: Ring | None, mfu: float
) -> Hardware:
    """GPUs of the table, on nodes of `per_node`."""
    choice = config.engine.precision
    precision = "bf16" if choice == "auto" else choice
    device = find_gpu(kind).in_precision(precision)
    cost = ring or device.ring(ranks, per_node)
    return Hardware(device, ranks, per_node, precision, cost, bool(ring), mfu or DEFAULT_MFU)


def hardware_here(config: PretrainConfig, ring: Ring | None, mfu: float | None) -> Hardware:
    """All GPUs of this machine, or one rank on its processor; their peak is measured."""
    on_gpu = torch.cuda.is_available()
    ranks = torch.cuda.device_count() if on_gpu else 1
    here = torch.device("cuda" if on_gpu else "cpu")
    cache = config.data.cache
    with threads(cores()):  # as a run takes them, whatever this process was given
        precision = choose_precision(config.engine.precision, World(0, 1, here), cache).name
        peak = Peak(here, precision, Remembered(here, cache)).flops
        device = this_machine(peak, ranks)
    cost = ring or device.ring(ranks, ranks)
    default = DEFAULT_MFU if on_gpu else CPU_MFU
    return Hardware(device, ranks, ranks, precision, cost, bool(ring), mfu or default)


def examine(asked: PretrainConfig, hardware: Hardware, makes_corpus: bool) -> Diagnosis:
    """Look at everything; what cannot work becomes a check with the state `fail`.

    Args:
        makes_corpus: prepare the corpus where it is missing, which may take long.
    """
    corpus, checks = look_for_corpus(asked, makes_corpus)
    memory, chosen = plan_memory(asked, hardware, corpus)
    config = memory.config
    data, planned_steps, dealt = try_data(config, hardware, corpus)
    models = [memory.with_config(phase.config) for phase in data.phases]
    largest = max(models, key=lambda m: m.peak(hardware.ranks, config.engine.zero_stage).total)
    projections = [project(phase, memory, hardware) for phase in data.phases]
    steps, hours = duration_of(projections, planned_steps, config.schedule.max_minutes)
    disk = disk_bytes(config, memory.model, data, steps)
    checks += [*chosen, *dealt, check_step(config, hardware), check_memory(largest, hardware)]
    for projection, phase in zip(projections, data.phases):
        checks += advice(phase.config, hardware, projection)
    if hours is None:
        text = "schedule.max_epochs has no length without a corpus: hours are unknown"
        checks.append(Check("schedule", "warn", text))
    stages = (0,) if config.optimizer.name in NEEDS_WHOLE_TENSORS else (0, 1, 2)
    return Diagnosis(
        config,
        hardware,
        memory.parameters,
        {stage: largest.largest_parts(hardware.ranks, stage) for stage in stages},
        {stage: largest.peak(hardware.ranks, stage) for stage in stages},
        projections,
        steps,
        hours,
        checkpoint_bytes(memory.model, config.optimizer.name),
        disk,
        [*check_environment(Path(config.run_dir), disk), *dict.fromkeys(checks)],
    )


def plan_memory(
    asked: PretrainConfig, hardware: Hardware, corpus: Corpus | None = None
) -> tuple[MemoryModel, list[Check]]:
    """What a rank holds, and a check where `auto` became the largest micro-batch that fits.

    Without a corpus the vocabulary is as large as it is asked to be.
    """
    is_auto = asked.batch.micro_sequences == "auto"
    most = max(1, asked.batch.sequences // hardware.ranks)
    config = asked.resolved(1 << (most.bit_length() - 1)) if is_auto else asked.resolved()
    memory = MemoryModel(
        config,
        corpus.tokenizer.vocabulary_size if corpus else vocabulary_size(config),
        hardware.device.kind,
        hardware.precision,
        hardware.device.framework,
        corpus.tokenizer.special.pad if corpus else 1,
    )
    if not is_auto:
        return memory, []
    limit, stage = USABLE * hardware.device.memory, config.engine.zero_stage
    number = largest_fit(memory, hardware.ranks, stage, limit) or 1
    text = f"batch.micro_sequences=auto: {number} should fit"
    return memory.with_micro_sequences(number), [Check("micro-batch", "ok", text)]


def look_for_corpus(config: PretrainConfig, makes: bool) -> tuple[Corpus | None, list[Check]]:
    """The corpus, if it is there or may be made, and what to say of it."""
    try:
        size = 0 if makes else bytes_to_hash(config)
        if size > LARGEST_TO_HASH:
            text = (
                f"not looked for, as {size / 1e9:,.0f} GB of sources are not hashed yet; lengths "
                "are assumed full: name its store as data.store, or give --prepare"
            )
            return None, [Check("corpus", "warn", text)]
        corpus = prepare(config) if makes else find_corpus(config)
        verified = verified_text(corpus, config) if corpus else ""
    except InputError as error:
        return None, [Check("corpus", "fail", str(error))]
    if corpus is None:
        cure = "python launch/prepare.py makes it, or doctor.py --prepare"
        return None, [Check("corpus", "warn", f"not there yet, lengths are assumed full: {cure}")]
    text = f"{corpus.train.token_count:,} training tokens in {corpus.folder}; {verified}"
    return corpus, [Check("corpus", "ok", text)]


def verified_text(corpus: Corpus, config: PretrainConfig) -> str:
    """How much of the store is known to be what was written, in words.

    Raises:
        InputError: a part of it is not.
    """
    verification = Verification(corpus.folder, config.data, keeps=False)
    verification.begin()
    if not verification.works:
        return f"not verified (data.verify={verification.mode})"
    total = sum(checked.blocks.size for checked in verification.files)
    done = verification.at_start_bytes + verification.remembered_bytes
    if done == total:
        return "verified"
    return f"{done / 1e9:,.1f} of {total / 1e9:,.1f} GB verified, the rest while it trains"


def vocabulary_size(config: PretrainConfig) -> int:
    """Of the finished tokenizer that is named, or what a new one is trained to.

    Raises:
        InputError: no tokenizer or store where one is named.
    """
    if config.data.store:
        read_manifest(Path(config.data.store))
        return load_tokenizer(Path(config.data.store) / TOKENIZER).vocabulary_size
    if config.tokenizer.path:
        path = Path(config.tokenizer.path)
        return load_tokenizer(path, lowercase=config.tokenizer.lowercase).vocabulary_size
    return config.tokenizer.vocabulary_size


def try_data(
    config: ResolvedPretrainConfig, hardware: Hardware, corpus: Corpus | None
) -> tuple[Data, int | None, list[Check]]:
    """What the data tells, the steps of the run, and what speaks against dealing it."""
    data, steps = Data.without_corpus(config), None
    try:
        if corpus:
            data = deal(config, corpus, hardware.ranks)
        else:
            check_shares(data, hardware.ranks)
        steps = data.total_steps(config)
    except InputError as error:
        return data, steps, [Check("batches", "fail", str(error))]
    return data, steps, [Check("batches", "ok", "a step holds enough samples for all ranks")]


def check_step(config: ResolvedPretrainConfig, hardware: Hardware) -> Check:
    """Whether an optimizer step can be taken."""
    try:
        with pretended_ranks(hardware.ranks) as world:
            try_step(config, world, hardware.precision)
    except InputError as error:
        return Check("step", "fail", str(error))
    except Exception as error:  # whatever DeepSpeed has against the configuration
        return Check("step", "fail", f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Check("step", "ok", f"one taken as rank 0 of {hardware.ranks}, in one narrow layer")


def check_memory(memory: MemoryModel, hardware: Hardware) -> Check:
    """Whether it fits, and if not, what would."""
    stage, limit = memory.config.engine.zero_stage, hardware.device.memory
    peak = memory.peak(hardware.ranks, stage).total
    text = f"{peak / 1e9:,.1f} of {limit / 1e9:,.0f} GB per rank"
    if peak <= USABLE * limit:
        return Check("memory", "ok", f"fits: {text}")
    cure = cure_of_memory(memory, hardware, USABLE * limit)
    if peak > limit:
        return Check("memory", "fail", f"does NOT fit: {text}: {cure}")
    return Check("memory", "warn", f"tight: {text}: {cure}")


def cure_of_memory(memory: MemoryModel, hardware: Hardware, limit: float) -> str:
    """The smallest change that makes a rank fit into `limit` bytes."""
    engine = memory.config.engine
    stages = [engine.zero_stage]
    if memory.config.optimizer.name not in NEEDS_WHOLE_TENSORS:
        stages.append(2)
    for stage, recomputes in product(stages, (engine.activation_checkpointing, True)):
        choice = replace(engine, zero_stage=stage, activation_checkpointing=recomputes)
        other = memory.with_config(replace(memory.config, engine=choice))
        if number := largest_fit(other, hardware.ranks, stage, limit):
            changes = ["set"]
            if stage != engine.zero_stage:
                changes.append(f"engine.zero_stage={stage}")
            if recomputes and choice != engine:
                changes.append("engine.activation_checkpointing=true")
            return " ".join([*changes, f"batch.micro_sequences={number}"])
    return "choose a smaller model or a larger device"


def advice(
    config: ResolvedPretrainConfig, hardware: Hardware, projection: Projection
) -> list[Check]:
    """What works, but wastes."""
    checks, batch = [], config.batch
    held = batch.sequences / batch.micro_batches(hardware.ranks)
    if held < 0.75 * batch.micro_sequences:
        text = f"micro-batches hold {held:.1f} of batch.micro_sequences={batch.micro_sequences}"
        cure = "the ranks are many for the batch: raise batch.sequences or use fewer"
        checks.append(Check("micro-batches", "warn", f"{text}: {cure}"))
    share, stage = projection.allreduce_share, config.engine.zero_stage
    if share > LARGE_SHARE:
        overlap = "" if config.collective.overlaps(stage) else "collective.overlap=true, "
        cure = f"more batch.sequences, {overlap}fewer ranks"
        checks.append(Check("all-reduce", "warn", f"{share:.0%} of the step; what helps: {cure}"))
    return checks
