"""How long a run stayed on the plateau, where a model knows little more than words' frequencies.

A masked language model first learns the unigram distribution, and may stay there for long; what
rows that are still there differ in is how fast frequencies are learnt. A run has left it with the
first evaluation whose held-out loss is `MARGIN` nats below the loss of the unigram distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MARGIN = 0.5
"""nats per predicted token"""
SHORTER = (
    "phases of short sequences first (as in roberta_small.yaml), masking.probability=0.3, "
    "model.position=rope, optimizer.name=muon and a longer schedule.warmup_fraction shorten it"
)


@dataclass(frozen=True)
class Plateau:
    """What a run's records say of it."""

    unigram_loss: float
    loss: float
    """of the last evaluation"""
    left_at_tokens: float | None
    """training tokens up to the evaluation that was the first off it; None: there was none"""

    @classmethod
    def of(cls, records: Sequence[dict[str, Any]]) -> Plateau | None:
        """From the records of metrics.jsonl; None where they hold no baseline or no evaluation."""
        baseline = [r["unigram_loss"] for r in records if r["kind"] == "baseline"]
        heldout = [r for r in records if r["kind"] == "heldout" and "mlm_loss" in r]
        if not baseline or not heldout:
            return None
        off = [r["step"] for r in heldout if baseline[-1] - r["mlm_loss"] >= MARGIN]
        left = tokens_until(records, min(off)) if off else None
        return cls(baseline[-1], heldout[-1]["mlm_loss"], left)

    @property
    def ends_on_it(self) -> bool:
        """Whether the last evaluation is not off it, or is no number."""
        return not self.below >= MARGIN

    @property
    def below(self) -> float:
        """Nats by which the last evaluation is under the unigram distribution."""
        return self.unigram_loss - self.loss

    @property
    def values(self) -> dict[str, float]:
        """For metrics.jsonl."""
        left = self.left_at_tokens
        values = {"below_unigram": self.below}
        return values if left is None else {**values, "plateau_left_at_tokens": left}

    @property
    def end(self) -> str:
        """Where the last evaluation is."""
        side = "above" if self.below < 0 else "under"
        here = f"{abs(self.below):.2f} nats {side} the unigram distribution's "
        here += f"{self.unigram_loss:.2f}"
        return f"ends on the plateau, {here}" if self.ends_on_it else here

    def __str__(self) -> str:
        """A line for the console."""
        if self.ends_on_it:
            return f"{self.end}: {SHORTER}"
        return f"{self.end}; {MARGIN:g} were reached by {self.left_at_tokens:,.0f} tokens"


def tokens_until(records: Sequence[dict[str, Any]], step: int) -> float:
    """Training tokens of the first `step` steps; between two records a share of what is between."""
    seen = [(r["step"], r["tokens"]) for r in records if r["kind"] == "train" and "tokens" in r]
    steps, tokens = zip((0, 0), *seen)
    return float(np.interp(step, steps, tokens))
