"""A whole run on the device that computes nothing: how often each part of the loop waits for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.data.corpus import Corpus
from pretrain.data.store import TokenStore
from pretrain.engine import machine
from pretrain.engine.loop import Loop
from pretrain.engine.reporter import PretrainingReporter
from pretrain.engine.trainer import Trainer
from pretrain.ranks.preemption import PreemptionNotice
from pretrain.ranks.watchdog import Watchdog
from pretrain.ranks.world import World
from tests.fake_cuda.device import WAITS, fake_tensors
from tests.fake_cuda.watch import Watch
from tests.helpers import random_documents, write_store
from tests.unit.pretrain.run.runs import TINY, tiny_tokenizer

COMMON = (
    *TINY,
    "engine.precision=bf16",
    "batch={sequences: 16, micro_sequences: 4}",
    "schedule={max_steps: 2}",
    "log_every_steps=2",
    "evaluation={every_steps: 2, sequences: 8}",
    "checkpoint={every_steps: 2, asynchronous: false}",
)
PAIRS = (
    *("model.architecture=bert", "model.segment_types=2"),
    *("input_format=segment-pair", "next_sentence_prediction=true"),
)
BY_DEEPSPEED = 5
"""waits of a step: at the norm of each of two groups, at that of all, and at clipping each"""
CASES = {
    "AdamW": ((), 0),
    "StableAdamW, no clipping": (
        ("optimizer.name=stable-adamw", "optimizer.max_gradient_norm=0"),
        0,
    ),
    "LAMB": (("optimizer.name=lamb",), 0),
    "Muon, pairs": (("optimizer.name=muon", *PAIRS), 0),
    "ZeRO 1": (("engine.zero_stage=1",), BY_DEEPSPEED),
    "ZeRO 2": (("engine.zero_stage=2",), BY_DEEPSPEED),
}
"""what is changed of the configuration, and how often a step waits then"""
PER_LOG, PER_EVALUATION = 3, 1
"""waits: which steps were taken, the norm, the figures; all sums"""


class First(World):
    """Rank 0 of two, the other of which agrees to everything."""

    def sum_on_host(self, *values: int | float) -> list[float]:
        return [2.0 * value for value in values]

    def from_main(self, value):
        return value

    def gather(self, value):
        return [value] * self.size

    def barrier(self) -> None:
        pass


def waits(*cases: str) -> None:
    """Of each case: a step, a log line and an evaluation wait as often as is known."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    machine.matmul_peak = lambda *_: 1e15
    PretrainingReporter.draw = lambda _: None
    with TemporaryDirectory() as place:
        corpus = random_corpus(Path(place))
        for case in cases or CASES:
            overrides, expected = CASES[case]
            found = trained(corpus, Path(place) / "runs" / case, *overrides)
            steps = [agreed + taken for agreed, taken in zip(found["agree"], found["take_step"])]
            assert [len(step) for step in steps] == [expected] * 2, (case, steps)
            assert [*map(len, found["_log"])] == [PER_LOG], (case, found["_log"])
            assert [*map(len, found["evaluate"])] == [PER_EVALUATION], (case, found["evaluate"])
            print(f"{case}: ok, a checkpoint waits {len(found['_save'][0])} times", flush=True)


def random_corpus(folder: Path) -> Corpus:
    """Documents of random tokens, with a tokenizer that knows them."""
    tokenizer = tiny_tokenizer(folder)
    size = tokenizer.vocabulary_size
    documents = random_documents(0, 60, ordinary=size)
    write_store(folder, size, train=documents, heldout=documents[:6])
    stores = [TokenStore.open(folder, split) for split in ("train", "heldout")]
    return Corpus(folder, tokenizer, *stores, fingerprint="f" * 64)


def trained(corpus: Corpus, run_dir: Path, *overrides: str) -> dict[str, list[list[str]]]:
    """Two steps with all that surrounds them; the waits of each call of parts of the loop."""
    places = (f"run_dir={run_dir}", f"data.cache={run_dir}")
    config = load_config(PretrainConfig, "small", [*COMMON, *overrides, *places]).resolved()
    world, silent = First(0, 2, torch.device("cuda", 0)), Watchdog(float("inf"), run_dir, rank=0)
    with fake_tensors(), Watch():
        trainer = Trainer(config, world, corpus, None, PreemptionNotice(), silent)
        parts = ("agree", "take_step", "_log", "evaluate", "_save")
        found = {name: watched(trainer.loop, name) for name in parts}
        trainer.run()
        trainer.log.close()
    return found


def watched(loop: Loop, name: str) -> list[list[str]]:
    """The waits of each call of a method from now on; the list grows with them."""
    found: list[list[str]] = []
    method: Callable[..., object] = getattr(loop, name)

    def call(*words: object) -> object:
        before = len(WAITS)
        try:
            return method(*words)
        finally:
            found.append(WAITS[before:])

    setattr(loop, name, call)
    return found
