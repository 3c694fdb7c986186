"""The encoder on flat, unpadded tokens (Devlin et al. 2019, section 3).

What BERT fixed is chosen by `ModelConfig`: where and how to normalise, what tells positions, which
activation, which biases. RoBERTa differs in its positions only: they start after the padding id, as
in Hugging Face.

Axes: T tokens, R rows (T rounded up, see `packing.rounded`), D hidden size, H heads, K head size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from configs.schema import ModelConfig
from pretrain.batch import MicroBatch
from pretrain.model.attention import attend, choose_backend
from pretrain.model.dropout import AttentionDropout, Dropout
from pretrain.model.feed_forward import activated
from pretrain.model.norms import HeadNorm, make_norm, normed
from pretrain.model.packing import Packing
from pretrain.model.rotary import Rotate
from pretrain.model.scope import Scope, scope_of, scopes_of
from pretrain.model.tied_embeddings import LookUp, TiedGradient

SITES_PER_LAYER = 3
MOST_GRAPHS = 64
"""that a compiled layer may have, before torch gives up: more than there are kinds of layers"""


class Embeddings(nn.Module):
    """Token, learned position and segment embeddings: their sum, normalised."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, pad_id: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.first_position = pad_id + 1 if config.architecture == "roberta" else 0
        self.word = nn.Embedding(vocabulary_size, width)
        self.tied = TiedGradient()
        self.position: nn.Embedding | None = None
        if config.position == "learned":
            self.position = nn.Embedding(config.max_positions + self.first_position, width)
        self.segment: nn.Embedding | None = None
        if config.segment_types:
            self.segment = nn.Embedding(config.segment_types, width)
        self.norm = make_norm(config, width)
        self.dropout = Dropout(config.dropout, site=0)

    def forward(self, batch: MicroBatch, packing: Packing) -> Tensor:
        """(R, D); segments are ignored where the model has one type only."""
        tokens_R = packing.fill(batch.tokens_T)
        # Not `self.word(tokens_R)`: autograd would make a second gradient of the whole table.
        summed: Tensor = LookUp.apply(self.word.weight, tokens_R, self.tied)
        if self.position is not None:
            places_R = packing.fill(batch.positions_T)
            summed = summed + self.position(places_R + self.first_position)
        if self.segment is not None:
            summed = summed + self._of_segments(self.segment, batch, packing)
        embedded: Tensor = self.dropout(self.norm(summed), packing)
        return embedded

    def _of_segments(self, segment: nn.Embedding, batch: MicroBatch, packing: Packing) -> Tensor:
        """What the segments add: (R, D), or (D,) where there is one type."""
        if len(segment.weight) == 1:
            return segment.weight[0]
        segments_T = batch.segments_T
        if segments_T is None:
            segments_T = torch.zeros_like(batch.tokens_T)
        embedded: Tensor = segment(packing.fill(segments_T))
        return embedded


class Layer(nn.Module):
    """Self-attention and feed-forward, each followed by dropout and added to its input.

    Post-norm normalises each sum, pre-norm each input.
    """

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.feed_forward_size, config.bias == "all"
        first_site = 1 + SITES_PER_LAYER * index
        self.heads, self.head_size = config.heads, config.head_size
        self.scope = scope_of(config, index)
        self.is_pre_norm, self.feed_forward = config.norm == "pre", config.feed_forward
        self.theta = theta_of(config, self.scope)
        self.qkv = nn.Linear(width, 3 * width, bias)
        self.head_norm = HeadNorm(config) if config.qk_norm else nn.Identity()
        self.attention_dropout = AttentionDropout(config.attention_dropout, first_site)
        self.attention_output = nn.Linear(width, width, bias)
        self.attention_output_dropout = Dropout(config.dropout, first_site + 1)
        # What comes from the embeddings is normalised already.
        is_normalised = self.is_pre_norm and index == 0
        self.attention_norm = nn.Identity() if is_normalised else make_norm(config, width)
        self.feed_forward_inner = nn.Linear(width, inner * (2 if config.is_gated else 1), bias)
        self.feed_forward_output = nn.Linear(inner, width, bias)
        self.feed_forward_dropout = Dropout(config.dropout, first_site + 2)
        self.feed_forward_norm = make_norm(config, width)

    def forward(
        self,
        hidden_RD: Tensor,
        packing: Packing,
        backend: str,
        needed_N: Tensor | None = None,
        rotation: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """(R, D) to (R, D), or to (N, D) where only the given tokens are needed afterwards.

        Args:
            rotation: what `rotation` gives; None: it is asked for here.
        """
        rotation = rotation or self.rotation(packing)
        context_RD = self.attend(hidden_RD, packing, backend, rotation)
        if needed_N is not None:
            # From here on tokens do not meet: what no head reads need not be computed. In the last
            # layer that is 85 % of the tokens, and the larger part of the layer.
            hidden_RD = hidden_RD.index_select(0, needed_N)
            context_RD = context_RD.index_select(0, needed_N)
        update, factor = self.attention_output_dropout.drop(
            self.attention_output(context_RD), packing, needed_N
        )
        hidden = self._added(hidden_RD, update, factor, self.attention_norm)
        update, factor = self.feed_forward_dropout.drop(
            self.feed_forward_output(self._inner(hidden)), packing, needed_N
        )
        return self._added(hidden, update, factor, self.feed_forward_norm)

    def rotation(self, packing: Packing) -> tuple[Tensor, Tensor] | None:
        """Cosine and sine of the rotary angles, the same for all layers alike; None: no angles."""
        if self.theta is None:
            return None
        return packing.rotation(self.theta, self.head_size, self.qkv.weight.dtype)

    def attend(
        self,
        hidden_RD: Tensor,
        packing: Packing,
        backend: str,
        rotation: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """What each token's heads gather from its sequence, (R, D)."""
        if self.is_pre_norm:
            hidden_RD = normed(self.attention_norm, hidden_RD)
        qkv_R3HK = self.head_norm(self.qkv(hidden_RD).unflatten(-1, (3, self.heads, -1)))
        if rotation is not None:
            qkv_R3HK = Rotate.apply(qkv_R3HK, *rotation)
        return attend(qkv_R3HK, packing, backend, self.attention_dropout, self.scope).flatten(1)

    def _inner(self, hidden: Tensor) -> Tensor:
        if self.is_pre_norm:
            hidden = normed(self.feed_forward_norm, hidden)
        return activated(self.feed_forward, self.feed_forward_inner(hidden))

    def _added(self, hidden: Tensor, update: Tensor, factor: float, norm: nn.Module) -> Tensor:
        summed = hidden.add(update, alpha=factor)
        return summed if self.is_pre_norm else normed(norm, summed)


def theta_of(config: ModelConfig, scope: Scope) -> float | None:
    """The base of a layer's rotary angles; None: nothing is rotated."""
    if config.position != "rope":
        return None
    local = None if scope.reach is None else config.rope_local_theta
    return config.rope_theta if local is None else local


class Encoder(nn.Module):
    """Embeddings and layers: a micro-batch to hidden states."""

    def __init__(
        self,
        config: ModelConfig,
        vocabulary_size: int,
        pad_id: int,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.activation_checkpointing = config, activation_checkpointing
        self.embeddings = Embeddings(config, vocabulary_size, pad_id)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers))
        self.rope_theta = config.rope_theta
        self.residual_dtype: torch.dtype | None = None
        """of hidden states from layer to layer; None: that of the weights"""
        is_pre = config.norm == "pre"
        self.final_norm = make_norm(config, config.hidden_size) if is_pre else nn.Identity()

    def forward(self, batch: MicroBatch, needed_N: Tensor | None = None) -> Tensor:
        """Hidden states of the last layer, (T, D), normalised in either kind of model.

        Args:
            needed_N: tokens, some of them perhaps more than once; the result then has these rows
                only, (N, D), and the last layer computes what follows its attention for no others.
        """
        packing = Packing.of(batch)
        backend = self._backend(packing.longest)
        hidden_RD: Tensor = self.embeddings(batch, packing)
        dtype = hidden_RD.dtype
        hidden_RD = hidden_RD.to(self.residual_dtype or dtype)
        for number, layer in enumerate(self.layers, start=1):
            assert isinstance(layer, Layer)
            rows = needed_N if number == len(self.layers) else None
            # Looked up here: the compiler takes no part in what layers share.
            inputs = packing, backend, rows, layer.rotation(packing)
            if self.activation_checkpointing and self.training:
                hidden_RD = checkpoint(layer, hidden_RD, *inputs, use_reentrant=False)
            else:
                hidden_RD = layer(hidden_RD, *inputs)
        hidden_RD = normed(self.final_norm, hidden_RD).to(dtype)
        return hidden_RD if needed_N is not None else hidden_RD[: packing.tokens]

    @property
    def attention_backend(self) -> str:
        """What computes attention on the present device, in the present mode and autocast."""
        return self._backend(self.config.max_positions)

    def compile_layers(self, backend: str = "inductor") -> None:
        """Have torch compile each layer as one graph for micro-batches of all sizes.

        Layers of one kind (window, norms, whether all tokens go through) share their kernels.
        Attention must take flash's way.
        """
        # Its default of 8 is for one module; here all layers, in both modes, have one forward.
        torch._dynamo.config.recompile_limit = MOST_GRAPHS
        for layer in self.layers:
            layer.compile(backend=backend, fullgraph=True, dynamic=True)

    def set_rope_theta(self, theta: float) -> None:
        """Another base of the rotary angles, for all layers but local ones with their own."""
        shape = replace(self.config, rope_theta=theta)
        for layer in self.layers:
            assert isinstance(layer, Layer)
            layer.theta = theta_of(shape, layer.scope)
        self.rope_theta = theta

    def _backend(self, longest: int) -> str:
        device, dtype = self.embeddings.word.weight.device, self.embeddings.word.weight.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        rate = self.config.attention_dropout if self.training else 0.0
        return choose_backend(
            self.config.attention,
            device,
            dtype,
            max(longest, self.config.max_positions),
            rate,
            scopes_of(self.config),
        )
