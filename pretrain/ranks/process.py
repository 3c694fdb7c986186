"""What this process asks of the libraries below: how threads wait, how sums add up, what memory
goes back.

Light: the launch scripts call it before anything imports torch, whose libraries look once, as they
load.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPINS = "10000"
"""a fraction of a millisecond: longer than from one parallel loop of a step to the next, shorter
than the time for which a scheduler gives a core away"""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""names of mallopt's options, as in malloc.h"""


def let_waiting_threads_sleep() -> None:
    """Let OpenMP's threads wait for each other awake for a moment only, unless the user has said.

    GNU's library has them spin for up to 300,000 rounds. Beside another busy process that is a
    waste of the very core that the awaited thread needs: two threads on two cores became five to
    twenty times slower. Asleep at once, they would be late at every loop, and a lone run slower by
    a tenth.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def ask_for_equal_bits() -> None:
    """Make MKL, before its first call, repeat its sums in the same order in every process.

    Without this mode it promises that of no two runs. Other makers' processors are left alone:
    there the mode means MKL's slowest code.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and "GenuineIntel" in cpuinfo.read_text():
        os.environ.setdefault("MKL_CBWR", "AUTO")


def use_memory_well() -> None:
    """Let glibc keep what tensors give back, and torch ask for huge pages before its first tensor.

    Returned to the system at once, memory came back page by page and zeroed: 5 to 9 % of a small
    model's step. Small pages cost a base model's step as much again. What is free then lies in ever
    smaller pieces between what stays, which `give_memory_back` returns now and then.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def give_memory_back() -> None:
    """Return what lies free in the heap to the system, now and then: each step needs less of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


@contextmanager
def only_new_objects_collected() -> Iterator[None]:
    """Python's collections inside pass over the objects that exist already: a million are torch's
    and its companions', and to look at them all takes 0.1 to 0.3 seconds."""
    gc.collect()  # else what a training before this one left would be kept as long as this lasts
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
