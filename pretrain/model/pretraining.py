"""The encoder with its two objectives: masked tokens and next sentence (BERT, section 3.1).

Axes: T tokens, D hidden size, V vocabulary, M predicted tokens, B sequences.
"""

from __future__ import annotations

import math
from typing import NamedTuple
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from configs.schema import ModelConfig, PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.model.encoder import Encoder
from pretrain.model.loss import DecodedCrossEntropy, next_sentence_sums
from pretrain.model.norms import make_norm
from pretrain.model.packing import fill, rounded
from pretrain.model.softmax import Softmax, compiled_softmax, softmax_in_pieces
from pretrain.randomness import Purpose, key_64
from tokenizer.base import Tokenizer

SUB_LAYER_ENDS = ("attention_output.weight", "feed_forward_output.weight")
"""the matrices whose products are added to the residual stream"""


class Sums(NamedTuple):
    """What a micro-batch adds to the loss and the scores; the caller divides by global counts.

    Scalars on the device of the batch, losses float32 and differentiable, counts int64.
    """

    mlm_loss_sum: Tensor
    """cross entropy, summed over predicted tokens"""
    mlm_correct: Tensor
    """how many of them were predicted right"""
    nsp_loss_sum: Tensor
    """cross entropy, summed over sequences that have an NSP label; 0 without the head"""
    nsp_correct: Tensor
    """how many of them were judged right"""
    by_source: Tensor
    """(S, 3) float64, of each source that the batch tells apart, if any: the loss summed, correct
    predictions, and predicted tokens"""


class MLMHead(nn.Module):
    """Dense, GELU, norm, then the word embeddings as decoder, or its own matrix, plus a bias."""

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.dense = nn.Linear(width, width, bias=config.bias == "all")
        self.norm = make_norm(config, width)
        self.decoder = None if config.tied else nn.Linear(width, vocabulary_size, bias=False)
        self.bias: nn.Parameter | None = None
        if config.bias != "none":
            self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.softmax: Softmax = softmax_in_pieces

    def forward(self, hidden_MD: Tensor, word_VD: Tensor) -> Tensor:
        """Logits (M, V)."""
        return F.linear(self.transform(hidden_MD), self.decoder_weight(word_VD), self.bias)

    def compile_softmax(self) -> None:
        """Have torch compile what becomes of the logits on a GPU."""
        self.softmax = compiled_softmax()

    def decoder_weight(self, word_VD: Tensor) -> Tensor:
        """The decoder's matrix (V, D), by default that of the word embeddings."""
        return word_VD if self.decoder is None else self.decoder.weight

    def transform(self, hidden_MD: Tensor) -> Tensor:
        """What the decoder multiplies, (M, D)."""
        transformed: Tensor = self.norm(F.gelu(self.dense(hidden_MD)))
        return transformed


class NSPHead(nn.Module):
    """BERT's pooler (tanh on each sequence's first token) and a classifier of two classes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        bias = config.bias == "all"
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size, bias)
        self.classifier = nn.Linear(config.hidden_size, 2, bias)

    def forward(self, first_BD: Tensor) -> Tensor:
        """Logits (B, 2)."""
        logits_B2: Tensor = self.classifier(torch.tanh(self.pooler(first_BD)))
        return logits_B2


class PretrainingModel(nn.Module):
    """Encoder and heads.

    Args:
        vocabulary_size: V.
        pad_id: RoBERTa's positions start after it.
        next_sentence: whether there are a pooler and an NSP head.
        activation_checkpointing: recompute each layer in the backward pass, to save memory.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary_size: int,
        pad_id: int,
        next_sentence: bool,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.next_sentence = config, next_sentence
        self.encoder = Encoder(config, vocabulary_size, pad_id, activation_checkpointing)
        self.mlm_head = MLMHead(config, vocabulary_size)
        self.nsp_head = NSPHead(config) if next_sentence else None

    @property
    def attention_backend(self) -> str:
        """What computes attention on the present device, in the present mode and autocast."""
        return self.encoder.attention_backend

    def encode(self, batch: MicroBatch) -> Tensor:
        """Hidden states of the last layer, (T, D)."""
        hidden_TD: Tensor = self.encoder(batch)
        return hidden_TD

    def forward(self, batch: MicroBatch) -> Sums:
        """Summed losses and correct predictions; a batch without predicted tokens gives zeros."""
        # Heads read predicted tokens alone, and the first token of each sequence for NSP. Their
        # number is rounded up by repeating token 0, whose rows the loss leaves out.
        predicted = rounded(len(batch.predicted_M))
        needed = [batch.predicted_M, batch.predicted_M.new_zeros(predicted - len(batch.labels_M))]
        if self.nsp_head is not None:
            needed.append(batch.boundaries[:-1])
        # A tensor of its own in any case, for compiled layers (see `Packing.boundaries_of_rows`).
        hidden_ND = self.encoder(batch, torch.cat(needed))
        words, head = self.encoder.embeddings, self.mlm_head
        transformed_MD = head.transform(hidden_ND[:predicted])
        loss_sum, correct = DecodedCrossEntropy.apply(
            transformed_MD,
            head.decoder_weight(words.word.weight),
            head.bias,
            batch.labels_M,
            words.tied if head.decoder is None else None,
            head.softmax,
        )
        parts = self._by_source(transformed_MD, batch)
        if self.nsp_head is None:
            none = torch.zeros_like(loss_sum), torch.zeros_like(correct)
            return Sums(loss_sum, correct, *none, parts)
        nsp = next_sentence_sums(self.nsp_head(hidden_ND[predicted:]), batch.next_sentence_B)
        return Sums(loss_sum, correct, *nsp, parts)

    @torch.no_grad()
    def _by_source(self, transformed_MD: Tensor, batch: MicroBatch) -> Tensor:
        """`Sums.by_source`: the decoder once more, the encoder not."""
        if batch.sources_M is None:
            return transformed_MD.new_zeros(0, 3, dtype=torch.float64)
        head, word_VD = self.mlm_head, self.encoder.embeddings.word.weight
        rows = []
        for number in range(batch.source_count):
            own_M = (batch.sources_M == number).nonzero().squeeze(1)
            # The number of rows is a round one here as well.
            hidden_MD = transformed_MD[fill(own_M, rounded(len(own_M)))]
            decoder = head.decoder_weight(word_VD), head.bias, batch.labels_M[own_M]
            loss, correct = DecodedCrossEntropy.apply(hidden_MD, *decoder, None, head.softmax)
            count = correct.new_tensor(len(own_M))
            rows.append(torch.stack([loss.double(), correct.double(), count.double()]))
        return torch.stack(rows)


def make_model(config: PretrainConfig, tokenizer: Tokenizer) -> PretrainingModel:
    """The model of a configuration, its weights not yet set."""
    return PretrainingModel(
        config.model,
        tokenizer.vocabulary_size,
        tokenizer.special.pad,
        config.next_sentence_prediction,
        config.engine.activation_checkpointing,
    )


@torch.no_grad()
def initialise(model: nn.Module, config: ModelConfig, seed: int) -> None:
    """Initial weights: normal(0, initializer_range) matrices, zero biases, scales of norms 1.

    What ends a sub-layer is smaller where `model.initialisation` says so. Each parameter draws from
    a generator of its own, keyed by the seed and its name, so its value does not depend on the
    order of construction, nor on which other parameters exist.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        key = key_64(seed, Purpose.INIT, 0, crc32(name.encode()))
        generator = torch.Generator().manual_seed(key)
        values = torch.empty(parameter.shape)
        deviation = initial_deviation(name, config)
        parameter.copy_(values.normal_(0.0, deviation, generator=generator))


def initial_deviation(name: str, config: ModelConfig) -> float:
    """The standard deviation with which the matrix called `name` begins."""
    if not name.endswith(SUB_LAYER_ENDS) or config.initialisation == "normal":
        return config.initializer_range
    if config.initialisation == "zero-output":
        return 0.0
    # Two sub-layers a layer add to the residual stream: so scaled, its variance stays as it began.
    return config.initializer_range / math.sqrt(2 * config.layers)


@torch.no_grad()
def set_embeddings(model: PretrainingModel, vectors_VD: Tensor, scale: float) -> None:
    """Start from these word embeddings, centred and with standard deviation `scale`.

    Rows of zeros (tokens the text does not hold) leave the model's own as they are.
    """
    word_VD = model.encoder.embeddings.word.weight
    seen = vectors_VD.any(dim=1)
    vectors = vectors_VD[seen] - vectors_VD[seen].mean(0)
    word_VD[seen] = (vectors * (scale / vectors.std())).to(word_VD)
