"""The BERT encoder on flat, unpadded tokens (Devlin et al. 2019, section 3).

Post-LayerNorm, learned positions, segment embeddings, exact GELU. RoBERTa differs in its positions
only: they start after the padding id, as in Hugging Face.

Axes: T tokens, R rows (T rounded up, see `packing.rounded`), D hidden size, H heads, K head size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from configs.schema import ModelConfig
from pretrain.batch import MicroBatch
from pretrain.model.attention import attend, choose_backend
from pretrain.model.dropout import AttentionDropout, Dropout
from pretrain.model.packing import Packing
from pretrain.model.tied_embeddings import LookUp, TiedGradient

SITES_PER_LAYER = 3


class Embeddings(nn.Module):
    """Token, position and segment embeddings: their sum, normalised."""

    def __init__(self, config: ModelConfig, vocabulary_size: int, pad_id: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.first_position = pad_id + 1 if config.architecture == "roberta" else 0
        self.word = nn.Embedding(vocabulary_size, width)
        self.tied = TiedGradient()
        self.position = nn.Embedding(config.max_positions + self.first_position, width)
        self.segment = nn.Embedding(config.segment_types, width)
        self.norm = nn.LayerNorm(width, config.layer_norm_epsilon)
        self.dropout = Dropout(config.dropout, site=0)

    def forward(self, batch: MicroBatch, packing: Packing) -> Tensor:
        """(R, D); segments are ignored where the model has one type only."""
        tokens_R, places_R, segments_R = (
            packing.fill(part) for part in (batch.tokens_T, batch.positions_T, batch.segments_T)
        )
        # Not `self.word(tokens_R)`: autograd would make a second gradient of the whole table.
        words_RD: Tensor = LookUp.apply(self.word.weight, tokens_R, self.tied)
        summed = words_RD + self.position(places_R + self.first_position)
        one_type = len(self.segment.weight) == 1
        summed = summed + (self.segment.weight[0] if one_type else self.segment(segments_R))
        embedded: Tensor = self.dropout(self.norm(summed), packing)
        return embedded


class Layer(nn.Module):
    """Self-attention and feed-forward, each followed by dropout, residual sum and LayerNorm."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        width, inner, epsilon = (
            config.hidden_size,
            config.feed_forward_size,
            config.layer_norm_epsilon,
        )
        first_site = 1 + SITES_PER_LAYER * index
        self.heads = config.heads
        self.qkv = nn.Linear(width, 3 * width)
        self.attention_dropout = AttentionDropout(config.attention_dropout, first_site)
        self.attention_output = nn.Linear(width, width)
        self.attention_output_dropout = Dropout(config.dropout, first_site + 1)
        self.attention_norm = nn.LayerNorm(width, epsilon)
        self.feed_forward_inner = nn.Linear(width, inner)
        self.feed_forward_output = nn.Linear(inner, width)
        self.feed_forward_dropout = Dropout(config.dropout, first_site + 2)
        self.feed_forward_norm = nn.LayerNorm(width, epsilon)

    def forward(
        self, hidden_RD: Tensor, packing: Packing, backend: str, needed_N: Tensor | None = None
    ) -> Tensor:
        """(R, D) to (R, D), or to (N, D) where only the given tokens are needed afterwards."""
        qkv_R3HK = self.qkv(hidden_RD).unflatten(-1, (3, self.heads, -1))
        context_RHK = attend(qkv_R3HK, packing, backend, self.attention_dropout)
        context_RD = context_RHK.flatten(1)
        if needed_N is not None:
            # From here on tokens do not meet: what no head reads need not be computed. In the last
            # layer that is 85 % of the tokens, and the larger part of the layer.
            hidden_RD = hidden_RD.index_select(0, needed_N)
            context_RD = context_RD.index_select(0, needed_N)
        update, factor = self.attention_output_dropout.drop(
            self.attention_output(context_RD), packing, needed_N
        )
        hidden = self.attention_norm(hidden_RD.add(update, alpha=factor))
        update, factor = self.feed_forward_dropout.drop(
            self.feed_forward_output(F.gelu(self.feed_forward_inner(hidden))), packing, needed_N
        )
        output: Tensor = self.feed_forward_norm(hidden.add(update, alpha=factor))
        return output


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

    def forward(self, batch: MicroBatch, needed_N: Tensor | None = None) -> Tensor:
        """Hidden states of the last layer, (T, D).

        Args:
            needed_N: tokens, some of them perhaps more than once; the result then has these rows
                only, (N, D), and the last layer computes what follows its attention for no others.
        """
        packing, backend = Packing.of(batch), self.attention_backend
        hidden_RD: Tensor = self.embeddings(batch, packing)
        for number, layer in enumerate(self.layers, start=1):
            rows = needed_N if number == len(self.layers) else None
            if self.activation_checkpointing and self.training:
                hidden_RD = checkpoint(
                    layer, hidden_RD, packing, backend, rows, use_reentrant=False
                )
            else:
                hidden_RD = layer(hidden_RD, packing, backend, rows)
        return hidden_RD if needed_N is not None else hidden_RD[: packing.tokens]

    @property
    def attention_backend(self) -> str:
        """What computes attention on the present device, in the present mode and autocast."""
        device, dtype = self.embeddings.word.weight.device, self.embeddings.word.weight.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        rate = self.config.attention_dropout if self.training else 0.0
        return choose_backend(self.config.attention, device, dtype, self.config.max_positions, rate)
