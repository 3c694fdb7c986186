"""A case of the fuzzer, and how it may end: in one line of refusal, or in the right value."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tests.fuzz.materials import Materials

LONGEST_LINE = 1_000


@dataclass(frozen=True)
class Outcome:
    """What a launch script made of a case."""

    code: int
    printed: str
    """standard output"""
    errors: str
    """standard error"""
    seconds: float
    left: list[str]
    """files that are new or changed afterwards, locks aside"""


@dataclass(frozen=True)
class Case:
    """One input that is malformed, or odd."""

    what: str
    """what is wrong with it"""
    words: list[str]
    """launch script and arguments"""
    right: Optional[Callable[[Outcome], Optional[str]]] = None
    """for input that may be read: what is wrong with a successful end, None where it is right;
    input without this must be refused"""
    refusable: bool = True
    """for input that may be read: whether a refusal is as good"""

    def fault(self, outcome: Outcome) -> str | None:
        """What is wrong with this way of ending; None: it is as it should be."""
        if "Traceback" in outcome.errors:
            return f"exit code {outcome.code} and a traceback"
        if self.right and outcome.code == 0:
            return self.right(outcome)
        if self.right and not self.refusable:
            return f"exit code {outcome.code} where the input is legal"
        return refusal_fault(outcome)


Maker = Callable[[random.Random, Path, Materials], Case]
"""(random numbers, a folder for the case's files, what it may copy and damage) to a case"""


def refusal_fault(outcome: Outcome) -> str | None:
    """What is wrong with a refusal: it is one line, with exit code 2, and leaves nothing behind."""
    lines = [line for line in outcome.errors.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("error: ")]
    if outcome.code != 2:
        return f"exit code {outcome.code}"
    if len(said) != 1 or lines[-1] != said[0]:
        return f"{len(said)} lines of error, last: {lines[-1:]}"
    if not 20 < len(said[0]) < LONGEST_LINE:
        return f"a line of {len(said[0])} characters"
    return f"left behind: {', '.join(outcome.left[:3])}" if outcome.left else None
