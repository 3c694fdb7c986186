"""What can be chosen of the encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from configs.checks import require, require_fraction

LARGEST = 1_000_000
"""no real model has a larger dimension"""


@dataclass(frozen=True)
class ModelConfig:
    """The encoder's shape (BERT, section 3; RoBERTa, appendix table 9; ModernBERT, section 2.1)."""

    architecture: Literal["bert", "roberta", "modernbert"] = "roberta"
    """Hugging Face class family of the export; roberta has no pooler, one segment type and
    positions that start after the padding id; modernbert needs norm=pre, position=rope, a gated
    feed_forward and segment_types=0. What the family's classes have no place for trains all the
    same: a note says so at the start, and the export is in masklab's own layout"""
    layers: int = 4
    """number of transformer layers (L)"""
    hidden_size: int = 256
    """width of the hidden states (H)"""
    heads: int = 4
    """number of attention heads (A)"""
    feed_forward_size: int = 1024
    """inner width of the feed-forward part; gated kinds have an input matrix of twice as many rows
    (GeGLU with 2/3 of the width has as many parameters as GELU)"""
    feed_forward: Literal["gelu", "geglu", "swiglu", "relu2"] = "gelu"
    """its activation: gelu (Hendrycks and Gimpel 2016, exact); geglu, gelu(a) * b, and swiglu,
    silu(a) * b, of the halves a and b of one product (Shazeer 2020); relu2, relu(x)^2 (So et al.
    2021, Primer)"""
    norm: Literal["post", "pre"] = "post"
    """post: each sub-layer's sum is normalised (BERT). pre: each sub-layer's input is (Xiong et al.
    2020), and the last layer's output; the first attention's input is that of the embeddings' norm
    already, so it has none of its own (ModernBERT)"""
    norm_kind: Literal["layernorm", "rmsnorm"] = "layernorm"
    """layernorm (Ba et al. 2016), or rmsnorm, which divides by the root mean square and has no bias
    (Zhang and Sennrich 2019); of all norms, the MLM head's included"""
    qk_norm: bool = False
    """normalise the queries and keys of each head, by weights that the heads of a layer share,
    before rotation (Henry et al. 2020; Dehghani et al. 2023, ViT-22B)"""
    position: Literal["learned", "rope", "alibi", "none"] = "learned"
    """how the model knows positions. learned: a table, added to the embeddings (BERT). rope:
    queries and keys are rotated by angles that grow with the position (Su et al. 2021). alibi:
    scores are lowered by distance, alike on both sides (Press et al. 2022). none: not at all"""
    rope_theta: float = 10_000.0
    """rope: base of the angles theta^(-2i / head size); larger for longer sequences"""
    rope_local_theta: Optional[float] = None
    """rope: base in layers with a window; null: rope_theta"""
    max_positions: int = 512
    """longest sequence the position table can hold; with other positions than learned pretraining
    has no such limit, but fine-tuning and an export keep to it: name the longest that is trained"""
    segment_types: int = 1
    """rows of the segment embedding table: 2 for BERT, 1 for RoBERTa, 0 for none (ModernBERT)"""
    dropout: float = 0.1
    """dropout of embeddings and of each sub-layer's output"""
    attention_dropout: float = 0.1
    """dropout of the attention probabilities"""
    layer_norm_epsilon: float = 1e-5
    """added to the variance: 1e-12 for BERT, 1e-5 for RoBERTa"""
    bias: Literal["all", "none", "decoder"] = "all"
    """which of linear maps and norms have a bias: all; none; or only the MLM decoder, one number
    for each word (ModernBERT)"""
    tied: bool = True
    """the MLM decoder is the table of word embeddings (BERT; Press and Wolf 2017); false: it is a
    matrix of its own"""
    initializer_range: float = 0.02
    """standard deviation of the initial weights"""
    initialisation: Literal["normal", "megatron", "zero-output"] = "normal"
    """initial weights of the matrices that end a sub-layer, attention's output and the feed-forward
    part's. normal: as all others. megatron: initializer_range / sqrt(2 layers) (Shoeybi et al.
    2019; GPT-2). zero-output: zero, so that each layer begins as the identity (cf. Zhang et al.
    2019, Fixup)"""
    attention: Literal["auto", "eager", "sdpa", "flash"] = "auto"
    """attention backend; auto: eager up to 512 tokens on a CPU and SDPA beyond; on CUDA flash, or
    SDPA where no kernel of it that is installed takes windows or ALiBi: the start tells which"""

    attention_window: Optional[int] = None
    """a token of a local layer sees itself and half of this many tokens on each side, as
    ModernBERT's local_attention does: |i - j| <= attention_window // 2, so that 128 is 64 on each
    side; null: all layers are global, and a token sees its whole sequence"""
    global_every: int = 3
    """with a window, the layers 0, n, 2n and so on are global, and the others local (ModernBERT's
    global_attn_every_n_layers)"""

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
        self._check_positions()
        for name in ("layer_norm_epsilon", "initializer_range"):
            value = getattr(self, name)
            require(0 < value < 1, f"model.{name}={value} must lie between 0 and 1")
        require(self.segment_types in (0, 1, 2), "model.segment_types must be 0, 1 or 2")
        window = self.attention_window
        require(window is None or window >= 2, f"model.attention_window={window} is below 2")
        require(self.global_every >= 1, f"model.global_every={self.global_every} is below 1")
        require_fraction("model.dropout", self.dropout, upper_included=False)
        require_fraction("model.attention_dropout", self.attention_dropout, upper_included=False)

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward part multiplies two halves of its inner product."""
        return self.feed_forward in ("geglu", "swiglu")

    @property
    def head_size(self) -> int:
        """Width of one attention head (K)."""
        return self.hidden_size // self.heads

    def _check_positions(self) -> None:
        rotates = self.position == "rope"
        require(
            not rotates or self.head_size % 2 == 0,
            f"model.position=rope rotates pairs, but model.hidden_size={self.hidden_size} / "
            f"model.heads={self.heads} gives heads of {self.head_size}: change one of them",
        )
        for name in ("rope_theta", "rope_local_theta"):
            theta = getattr(self, name)
            require(theta is None or 1 < theta < 1e12, f"model.{name}={theta} must be above 1")
        require(
            self.rope_local_theta is None or (rotates and self.attention_window is not None),
            f"model.rope_local_theta={self.rope_local_theta} is of rotations in layers with a "
            "window: set model.position=rope and model.attention_window, or leave it out",
        )


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
