"""What flows from tasks to models: examples as the model sees them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Feature:
    """What the model sees of an example: one sequence, or one per option; a long context makes
    several features."""

    example: int
    """index within its split"""
    ids: tuple[np.ndarray, ...]
    """int64 token ids of each sequence, special tokens included"""
    segments: tuple[np.ndarray, ...]
    """int64: 0 for segment A, 1 for segment B"""
    targets: np.ndarray
    """classification, choice: int64 (1); regression: float32 (1); span: int64 (2), places of start
    and end within the sequence, (0, 0) for none; tagging: int64 (tokens), -100 where no word
    starts"""
    cut: int = field(default=0, kw_only=True)
    """tokens of the example's texts that did not fit, and so are not read"""

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(map(len, self.ids))
