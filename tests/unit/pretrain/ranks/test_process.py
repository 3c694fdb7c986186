"""What a process asks of the libraries below."""

import gc
import os
import subprocess
import sys
import weakref

import pytest

from pretrain.ranks.process import SPINS, only_new_objects_collected
from tests.conftest import ROOT


def spins(**environment: str) -> str:
    """What GNU's OpenMP library says, once a launch script has loaded it, of its waiting."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, ROOT / "launch" / "benchmark.py", "step", "--rounds", "1", "--only", "?"],
        env={**kept, **environment, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not said:
        pytest.skip("this build of PyTorch runs on another OpenMP library")
    return said[0].split("'")[1]


def test_threads_that_wait_for_each_other_fall_asleep_soon():
    assert spins() == SPINS


@pytest.mark.parametrize(
    "asked, heard",
    [({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_what_the_user_says_of_waiting_stays(asked: dict[str, str], heard: str):
    assert spins(**asked) == heard


SHAPES = """
import random
import torch
from pretrain.ranks import process
process.use_memory_well()
torch.set_num_threads(1)
rng, kept, held = random.Random(0), [], []
for step in range(STEPS):
    rows, live = rng.randint(100, 330), []
    for layer in range(4):
        live += [torch.ones(rows * rng.choice((64, 256, 1024))) for _ in range(6)]
        live.append(torch.ones(rows * 8192 // rng.randint(1, 4)))
        rng.shuffle(live)
        del live[len(live) // 2 :]
        kept.append(torch.ones(rng.randint(100, 3000)))  # as oneDNN keeps its code
    kept = rng.sample(kept, 300) if len(kept) > 400 else kept
    del live
    if GIVES and step % 10 == 9:
        process.give_memory_back()
    held.append(int(open("/proc/self/statm").read().split()[1]))
print(min(held[50:100]), min(held[-50:]))
"""


def pages(gives: bool, steps: int) -> list[int]:
    """Resident pages of a process whose steps have all shapes: the least, early on and at last."""
    done = subprocess.run(
        [sys.executable, "-c", f"GIVES, STEPS = {gives}, {steps}\n{SHAPES}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc and /proc")
def test_memory_stays_where_it_is_over_steps_of_all_shapes():
    early, late = pages(gives=True, steps=200)
    assert late <= 1.05 * early
    assert late < 0.85 * pages(gives=False, steps=100)[1]


class Circle:
    """Refers to itself, as DeepSpeed's engines do: only a collection finds it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_left_before_a_run_is_not_kept_as_long_as_it_lasts():
    gc.disable()
    try:
        left, kept = weakref.ref(Circle()), Circle()
        with only_new_objects_collected():
            assert left() is None and gc.get_freeze_count() > 0
            new = weakref.ref(Circle())
            gc.collect()
            assert new() is None
        old = weakref.ref(kept)
        del kept
        gc.collect()
        assert old() is None and gc.get_freeze_count() == 0
    finally:
        gc.enable()
