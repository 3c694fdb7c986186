"""What a check found: a line of the table, and the figures behind it."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from configs.errors import first_line

OK, FAILED, SKIPPED = "ok", "FAILED", "skipped"
STATES = (OK, FAILED, SKIPPED)


@dataclass(frozen=True)
class Finding:
    """One line."""

    check: str
    state: str
    """of `STATES`"""
    text: str
    """figures in words, or why there are none"""
    values: Mapping[str, Any] = field(default_factory=dict)
    """the same for programs"""

    def as_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def of_line(cls, line: str) -> Finding:
        """The inverse of `as_line`; `ValueError` for anything else."""
        try:
            found = cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(f"no finding: {error}") from error
        texts = (found.check, found.state, found.text)
        if not all(isinstance(text, str) for text in texts) or found.state not in STATES:
            raise ValueError("no finding: a state that nobody knows, or no text")
        if not isinstance(found.values, dict):
            raise ValueError("no finding: values that are no object")
        return found


def judged(check: str, good: bool, text: str, **values: object) -> Finding:
    """`ok`, or `FAILED`."""
    return Finding(check, OK if good else FAILED, text, values)


def told(check: str, text: str, **values: object) -> Finding:
    """A figure that nothing is asked of."""
    return Finding(check, OK, text, values)


def skipped(check: str, why: object) -> Finding:
    """What this machine cannot run."""
    return Finding(check, SKIPPED, " ".join(str(why).split()))


def guarded(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; whatever ends them by an exception is one that has failed."""
    try:
        yield from findings
    except Exception as error:
        traceback.print_exc()
        yield Finding(name, FAILED, f"{type(error).__name__}: {first_line(error)[:200]}")


def die_after(seconds: float) -> None:
    """End this process by a signal after so long, also where nobody is left to kill it."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    os.environ["HF_HUB_OFFLINE"] = "1"
