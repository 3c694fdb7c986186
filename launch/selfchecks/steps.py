"""Whole training steps by backend and micro-batch: tokens, share of the peak, memory, waits."""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter

import torch
from torch import Tensor

from configs.errors import InputError
from configs.loader import load_config
from configs.schema import PrecisionName, PretrainConfig, ResolvedPretrainConfig
from launch.diagnosis.gpus import GPUS
from launch.diagnosis.memory_model import MemoryModel
from launch.selfchecks.attention import BACKENDS, why_not
from launch.selfchecks.batches import cut, short_lengths
from launch.selfchecks.bench import Bench
from launch.selfchecks.finding import Finding, guarded, judged, skipped, told
from launch.selfchecks.profile import Profile, allocated
from pretrain.engine.compiling import choose_compiling
from pretrain.engine.engine import Engine
from pretrain.engine.fitting import full_batch
from pretrain.engine.memory import forget_peak, peak_bytes
from pretrain.engine.precision import choose_precision
from pretrain.model.attention import choose_backend
from pretrain.model.flops import DTYPES, matmul_peak, training_flops
from pretrain.model.pretraining import PretrainingModel, initialise
from pretrain.model.scope import WHOLE

RECIPES = {"cuda": "roberta_base.yaml", "cpu": "small.yaml"}
VOCABULARIES = {"cuda": 50_265, "cpu": 8192}
SIZES = {"cuda": ((32, 512), (64, 512), (128, 512), (512, 128)), "cpu": ((4, 128), (16, 128))}
"""sequences of so many tokens"""
SECONDS = {"cuda": 3.0, "cpu": 1.5}
"""of a measurement, three steps at least"""
WORTH_TRYING = 25.0
"""seconds that are left, below which no further setting is begun"""
MEMORY_ERROR, FIRST_LOSS_ERROR = 0.1, 0.05
"""of doctor's prediction; of log V, which is the loss of a model that knows nothing"""
COMPILED = 0.01
"""relative difference of bf16 losses and norms, where compiled layers round in other places"""
NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")
PAD = 1


@dataclass
class Setting:
    """One backend and one micro-batch."""

    bench: Bench
    backend: str
    sequences: int
    length: int
    compiled: bool = False
    ragged: bool = False
    """short texts of all lengths, as many tokens as full sequences would have"""
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In the table."""
        more = ", ragged" * self.ragged + ", compiled" * self.compiled
        return f"{self.backend} {self.sequences} x {self.length}{more}"

    @cached_property
    def vocabulary(self) -> int:
        """V."""
        return VOCABULARIES[self.bench.device.type]

    @cached_property
    def config(self) -> ResolvedPretrainConfig:
        """A recipe whose step is one micro-batch."""
        overrides = [
            f"model.attention={self.backend}",
            f"max_length={self.length}",
            f"batch.sequences={self.sequences}",
            f"batch.micro_sequences={self.sequences}",
            f"engine.precision={self.precision}",
            f"engine.compile={str(self.compiled).lower()}",
            *self.overrides,
        ]
        recipe = RECIPES[self.bench.device.type]
        return load_config(PretrainConfig, recipe, overrides).resolved()

    @cached_property
    def precision(self) -> PrecisionName:
        """What `auto` chose on this machine."""
        known: PrecisionName | None = self.bench.known.get("machine/precision", {}).get("precision")
        world = self.bench.world
        return known or choose_precision("auto", world, self.bench.folder / "cache").name

    @cached_property
    def auto(self) -> str:
        """The backend that `model.attention=auto` takes here."""
        rate, dtype = self.config.model.attention_dropout, DTYPES[self.precision]
        return choose_backend("auto", self.bench.device, dtype, self.length, rate)

    @property
    def lacking(self) -> str | None:
        """Why this backend does not train here; None: it does."""
        dtype, recipe = DTYPES[self.precision], RECIPES[self.bench.device.type]
        rate = load_config(PretrainConfig, recipe).model.attention_dropout
        return why_not(self.backend, self.bench.device, dtype, rate, WHOLE)

    @property
    def predicted_bytes(self) -> float:
        """Doctor's, of what torch allocates."""
        device = self.bench.device.type
        memory = MemoryModel(self.config, self.vocabulary, device, self.precision)
        return memory.peak(1, self.config.engine.zero_stage).total


class Steps:
    """A new model under the engine, and a micro-batch of random tokens."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.device, config = setting, setting.bench.device, setting.config
        torch.manual_seed(0)
        batch = full_batch(setting.sequences, config, setting.vocabulary)
        if setting.ragged:
            batch = cut(batch, short_lengths(len(batch.tokens_T), setting.length))
        checkpointing = config.engine.activation_checkpointing
        model = PretrainingModel(config.model, setting.vocabulary, PAD, False, checkpointing)
        initialise(model, config.model, seed=0)
        self.flops, self.tokens = training_flops(model, batch), len(batch.tokens_T)
        self.batch = batch.to(self.device)
        model.to(self.device)
        world, precision = setting.bench.world, setting.precision
        compiling = choose_compiling(config.engine.compile, config.model, precision, world)
        self.engine = Engine(model, config, world, precision, compiles=compiling.is_on)
        self.engine.train()

    def take(self) -> Tensor:
        """One optimizer step; returns the mean loss, on the device."""
        loss: Tensor = self.engine(self.batch).mlm_loss_sum / len(self.batch.labels_M)
        self.engine.backward(loss, is_last=True)
        self.norm = self.engine.step(1e-4)
        return loss.detach()

    def wait(self) -> None:
        """For the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, limit: float) -> float:
        """Of a step, the mean over about `limit` seconds after one that does not count."""
        self.take()
        self.wait()
        started, number = perf_counter(), 0
        while number < 3 or perf_counter() - started < limit:
            self.take()
            number += 1
            if number % 3 == 0:
                self.wait()  # the host must not run ahead of the clock
        self.wait()
        return (perf_counter() - started) / number


def check(bench: Bench) -> Iterator[Finding]:
    """Every backend with every micro-batch, as far as time and memory allow."""
    for backend in BACKENDS[::-1]:
        lacking = Setting(bench, backend, 1, 128).lacking
        if lacking:
            yield skipped(backend, lacking)
            continue
        sizes = SIZES[bench.device.type]
        settings = [Setting(bench, backend, *size) for size in sizes]
        settings.append(Setting(bench, backend, *sizes[1], ragged=True))
        if backend == "flash":  # the others cannot be compiled
            settings.append(Setting(bench, backend, *sizes[1], ragged=True, compiled=True))
            settings += [Setting(bench, backend, *size, compiled=True) for size in sizes[1:]]
        for setting in settings:
            yield from tried(setting, examine(setting))
        if backend == "flash":
            yield from tried(settings[-1], same_when_compiled(settings[-1]))


def tried(setting: Setting, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings, as far as time and memory are there; the device is left empty."""
    bench = setting.bench
    if bench.left < WORTH_TRYING:
        yield skipped(setting.name, "no time is left: give more --minutes")
        return
    try:
        yield from guarded(setting.name, fitting(setting, findings))
    finally:
        gc.collect()
        if bench.on_cuda:
            torch.cuda.empty_cache()


def fitting(setting: Setting, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; memory that is not there is no failure."""
    try:
        yield from findings
    except torch.OutOfMemoryError:
        gigabytes = setting.predicted_bytes / 1e9
        yield skipped(setting.name, f"out of memory; doctor says {gigabytes:.1f} GB")
    except InputError as error:
        yield skipped(setting.name, error)


def same_when_compiled(setting: Setting) -> Iterator[Finding]:
    """Losses and norms of gradients of compiled layers beside those of the same, not compiled."""
    found = []
    for compiled in (False, True):
        steps = Steps(replace(setting, compiled=compiled, overrides=NO_DROPOUT))
        found.append([float(x) for _ in range(3) for x in (steps.take(), steps.norm)])
        del steps
    eager, compiled_ = found
    apart = max(abs(a / b - 1) for a, b in zip(compiled_, eager))
    text = f"losses and gradients' norms of three steps {apart:.1e} apart (at most {COMPILED:g})"
    yield judged(f"{setting.name}, the same", apart <= COMPILED, text, apart=apart)


def examine(setting: Setting) -> Iterator[Finding]:
    """Speed, the first loss, memory, and on one setting of each backend what the device does."""
    bench = setting.bench
    gc.collect()
    forget_peak(bench.device)
    before = torch.cuda.memory_allocated() if bench.on_cuda else 0
    steps = Steps(setting)
    first = float(steps.take())
    yield speed(setting, steps)
    expected = math.log(setting.vocabulary)
    good = abs(first / expected - 1) < FIRST_LOSS_ERROR
    text = f"{first:.3f}, log V is {expected:.3f}"
    yield judged(f"{setting.name}, first loss", good, text, loss=first)
    is_largest = (setting.sequences, setting.length) == SIZES[bench.device.type][1]
    if (setting.compiled or setting.ragged) and bench.on_cuda:
        # Doctor knows nothing of what a compiler keeps, and thinks of full sequences.
        yield told(f"{setting.name}, memory", f"{(peak_bytes(bench.device) - before) / 1e9:.3f} GB")
    elif bench.on_cuda:
        yield memory(setting, peak_bytes(bench.device) - before)
    elif is_largest and not setting.ragged:
        yield memory(setting, allocated(lambda: Steps(setting).take()))
    if is_largest:
        yield from work(setting, steps)


def speed(setting: Setting, steps: Steps) -> Finding:
    """Tokens a second, and their share of the peak that was measured for the machine."""
    bench, kind = setting.bench, setting.bench.device.type
    seconds = steps.seconds(min(SECONDS[kind], bench.left / 4))
    peak = bench.number(f"machine/peak {setting.precision}", "flops")
    peak = peak or matmul_peak(bench.device, setting.precision, 0.5)
    rate, mfu = steps.tokens / seconds, steps.flops / seconds / peak
    text = f"{rate:,.0f} tokens/s, MFU {mfu:.1%}, {1e3 * seconds:.1f} ms a step, "
    return judged(
        setting.name,
        seconds > 0,
        text + setting.precision,
        tokens_per_second=rate,
        mfu=mfu,
        data_sheet=of_data_sheet(steps.flops / seconds) if bench.on_cuda else None,
        seconds=seconds,
        backend=None if setting.ragged else setting.backend,
        auto=setting.auto,
        compiled=setting.compiled,
        micro_sequences=setting.sequences,
        length=setting.length,
    )


def of_data_sheet(flops: float) -> tuple[str, float] | None:
    """The entry of doctor's table that this GPU is, and FLOP/s as a share of its peak."""
    name = torch.cuda.get_device_name(0).lower()
    known = [gpu for gpu in GPUS.values() if gpu.name.split("-")[0] in re.split(r"\W+", name)]
    return (known[0].name, flops / known[0].peak) if known else None


def memory(setting: Setting, measured: float) -> Finding:
    """The most that was allocated beside what doctor says."""
    predicted = setting.predicted_bytes
    text = f"{measured / 1e9:.3f} GB at the most, doctor says {predicted / 1e9:.3f} GB "
    text += f"({predicted / measured - 1:+.1%})"
    good = abs(predicted / measured - 1) < MEMORY_ERROR
    values = {"measured": measured, "predicted": predicted}
    return judged(f"{setting.name}, memory", good, text, **values)


def work(setting: Setting, steps: Steps) -> Iterator[Finding]:
    """What a profile tells of two steps, and whether a step waits for the device."""
    seconds = steps.seconds(0.0)
    profile = Profile.of(steps.take, steps.wait, setting.bench.on_cuda)
    if setting.bench.on_cuda:
        busy = profile.busy_seconds / seconds
        text = f"{busy:.1%} of a step, {profile.count:.0f} kernels and copies a step"
        yield told(f"{setting.name}, GPU busy", text, busy=busy, launches=profile.count)
        yield waits(setting, steps)
    else:
        yield skipped(f"{setting.name}, GPU busy, waits", "the device is a CPU")
    text = ", ".join(f"{name} {share:.0%}" for name, share in profile.top[:4])
    yield told(f"{setting.name}, most time", text, top=profile.top)


def waits(setting: Setting, steps: Steps) -> Finding:
    """Whether the host waits for the GPU within a step."""
    name = f"{setting.name}, waits"
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps.take()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return judged(name, False, f"the host waits for the device: {str(error)[:160]}")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return judged(name, True, "none")
