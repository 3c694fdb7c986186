"""What can be chosen of the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs.checks import require, require_fraction

LARGEST = 1_000_000
"""no real model has a larger dimension"""


@dataclass(frozen=True)
class ModelConfig:
    """The encoder's shape (BERT, section 3; RoBERTa, appendix table 9)."""

    architecture: Literal["bert", "roberta"] = "roberta"
    """Hugging Face class family of the export; roberta has no pooler, one segment type and
    positions that start after the padding id"""
    layers: int = 4
    """number of transformer layers (L)"""
    hidden_size: int = 256
    """width of the hidden states (H)"""
    heads: int = 4
    """number of attention heads (A)"""
    feed_forward_size: int = 1024
    """inner width of the feed-forward part"""
    max_positions: int = 512
    """longest sequence the position table can hold"""
    segment_types: int = 1
    """rows of the segment embedding table: 2 for BERT, 1 for RoBERTa"""
    dropout: float = 0.1
    """dropout of embeddings and of each sub-layer's output"""
    attention_dropout: float = 0.1
    """dropout of the attention probabilities"""
    layer_norm_epsilon: float = 1e-5
    """added to the variance: 1e-12 for BERT, 1e-5 for RoBERTa"""
    initializer_range: float = 0.02
    """standard deviation of the initial weights"""
    attention: Literal["auto", "eager", "sdpa", "flash"] = "auto"
    """attention backend; auto: eager up to 512 tokens on a CPU and SDPA beyond, flash on CUDA"""

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_size", "heads", "feed_forward_size", "max_positions"):
            value = getattr(self, name)
            require(value >= 1, f"model.{name} must be at least 1")
            require(value <= LARGEST, f"model.{name}={value} is beyond {LARGEST:,}: lower it")
        require(
            self.hidden_size % self.heads == 0,
            f"model.hidden_size={self.hidden_size} is no multiple of model.heads={self.heads}: "
            "change one of them",
        )
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            require(0 < value < 1, f"model.{name}={value} must lie between 0 and 1")
        require(self.segment_types in (1, 2), "model.segment_types must be 1 or 2")
        require_fraction("model.dropout", self.dropout, upper_included=False)
        require_fraction("model.attention_dropout", self.attention_dropout, upper_included=False)


@dataclass(frozen=True)
class EmbeddingsConfig:
    """What the word embeddings begin with."""

    initial: Literal["random", "word2vec"] = "random"
    """random, like all other weights; or word2vec (Mikolov et al., 2013) of the training tokens,
    which takes a minute or two and lets a small budget skip the plateau at the start of MLM"""
    skip_gram: bool = False
    """word2vec: skip-gram instead of CBOW"""
    window: int = 5
    """word2vec: tokens on each side"""
    epochs: int = 3
    """word2vec: passes over the training tokens"""
    scale: float = 0.05
    """word2vec: standard deviation of the resulting embeddings"""

    def __post_init__(self) -> None:
        require(self.window >= 1, "embeddings.window must be at least 1")
        require(self.epochs >= 1, "embeddings.epochs must be at least 1")
        require(self.scale > 0, "embeddings.scale must be above 0")
