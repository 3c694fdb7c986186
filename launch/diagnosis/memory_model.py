"""How much memory a rank needs, by part: computed from the model's formula, not measured.

Autograd keeps, for the backward pass, the inputs of matrix products, of activations and of norms,
the probabilities of attention, and a byte per element for each dropout mask. Under autocast inputs
of matrix products are 16-bit copies, as are the weights; norms and the residual stream stay fp32.

Axes: T tokens, B sequences, L longest sequence, P = B x L padded tokens, D hidden size, F
feed-forward size, H heads, M predicted tokens, V vocabulary, N ranks.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import torch

from configs.schema import PrecisionName, ResolvedPretrainConfig
from pretrain.model.attention import choose_backend
from pretrain.model.pretraining import PretrainingModel
from pretrain.model.scope import WHOLE, Blocks, Scope, scopes_of
from pretrain.model.softmax import bytes_at_a_time
from pretrain.optim.groups import moments_elements
from pretrain.optim.muon import update_bytes
from pretrain.ranks.collectives import COMPRESSED_BYTES, bucket_elements

NUMBER_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2}


@dataclass(frozen=True)
class MicroBatchSize:
    """The axes of the largest micro-batch."""

    tokens: int
    sequences: int
    longest: int
    predicted: int

    @classmethod
    def of(cls, config: ResolvedPretrainConfig, ranks: int) -> MicroBatchSize:
        """What `batch` comes to: a step's tokens, equally shared by its micro-batches."""
        sequences = config.batch.sequences
        tokens = sequences * config.max_length
        # None is empty: a step of full sequences has no more micro-batches than it can fill.
        most = max(ranks, sequences - sequences % ranks)
        share = -(-tokens // min(config.batch.micro_batches(ranks), most))
        sequences = max(1, round(share / config.max_length))
        longest = min(share, config.max_length)
        return cls(share, sequences, longest, round(share * max(config.mask_probabilities)))


@dataclass(frozen=True)
class Memory:
    """Bytes of a rank, by part, at the moment when it needs most."""

    moment: str
    parts: dict[str, float]

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(self.parts.values())


class MemoryModel:
    """What a configuration needs on one rank of a given device.

    Args:
        device: `cpu` or `cuda`.
        precision: `fp32` or `bf16`.
        framework: bytes that the process itself takes.
        pad_id: RoBERTa's position table is longer by this and one.
    """

    def __init__(
        self,
        config: ResolvedPretrainConfig,
        vocabulary_size: int,
        device: str,
        precision: PrecisionName,
        framework: float = 0.0,
        pad_id: int = 1,
    ) -> None:
        self.config, self.vocabulary_size = config, vocabulary_size
        self.device, self.framework = device, framework
        self.number = NUMBER_BYTES[precision]
        shape = config.model
        self.scopes = scopes_of(shape)
        self.backend = self._backend()
        with torch.device("meta"):
            self.model = PretrainingModel(
                shape, vocabulary_size, pad_id, config.next_sentence_prediction
            )
        self.sizes = [parameter.numel() for parameter in self.model.parameters()]
        self.parameters = sum(self.sizes)

    # -- what the forward pass leaves for the backward pass ---------------------------------------

    def layer(self, size: MicroBatchSize, scope: Scope = WHOLE, is_last: bool = False) -> float:
        """Saved tensors of one layer; after attention, the last one computes few tokens."""
        shape, t, b = self.config.model, size.tokens, self.number
        width, inner = shape.hidden_size, shape.feed_forward_size
        n = self.needed(size) if is_last else t
        masks = 2 * n * width if shape.dropout else 0
        # Inputs of the product for queries, keys and values; then of the other three and of the
        # activation, which a gate has two halves of.
        products = b * t * width + b * n * (2 * width + (3 if shape.is_gated else 2) * inner)
        # Before attention the last layer, too, normalises every token.
        number, first = NUMBER_BYTES[self.config.engine.residual], t if shape.norm == "pre" else n
        norms = self.norm(n, 1, number) + self.norm(first, 1, number) + self.head_norm(t)
        choice = 8 * n + (b * t * width if self.backend == "flash" else 0) if is_last else 0
        return products + norms + masks + choice + self.attention(size, scope)

    def norm(self, tokens: int, vectors: int = 1, number: int = 4) -> float:
        """Saved tensors of a norm: its input, and for each vector one or two scalars in fp32."""
        scalars = 1 if self.config.model.norm_kind == "rmsnorm" else 2
        return tokens * (number * self.config.model.hidden_size + 4 * scalars * vectors)

    def head_norm(self, tokens: int) -> float:
        """Saved tensors of the norm of queries and keys."""
        shape = self.config.model
        if not shape.qk_norm:
            return 0.0
        # In fp32 its input is a view of the product, whose values stay with the rest.
        values = 4 * tokens * shape.hidden_size if self.number == 4 else 0
        return 2 * self.norm(tokens, shape.heads) + values

    def needed(self, size: MicroBatchSize) -> int:
        """Tokens that a head reads."""
        return size.predicted + (size.sequences if self.config.next_sentence_prediction else 0)

    def attention(self, size: MicroBatchSize, scope: Scope = WHOLE) -> float:
        """Saved tensors of one layer's attention, its output left out: a product's input."""
        shape, b = self.config.model, self.number
        width, heads, rate = shape.hidden_size, shape.heads, shape.attention_dropout
        if self.backend == "flash":
            return 3 * b * size.tokens * width + 4 * size.tokens * heads
        blocks = self.blocks(size, scope)
        queries = size.sequences * blocks.count * blocks.size
        keys = size.sequences * blocks.count * blocks.keys
        if self.backend == "sdpa":
            return 2 * b * (queries + keys) * width + 4 * queries * heads
        scores = queries * blocks.keys * heads
        return b * (queries + 2 * keys) * width + scores * (2 * b + 1 if rate else b)

    def blocks(self, size: MicroBatchSize, scope: Scope) -> Blocks:
        """How a layer's queries are grouped."""
        if self.config.model.attention_dropout:
            return Blocks.one(size.longest)
        return Blocks.of(scope, size.longest)

    def score_biases(self, size: MicroBatchSize) -> float:
        """What says which keys are seen, made once for all layers of a scope."""
        if self.backend == "flash":
            return 0.0
        elements = 0
        for scope in set(self.scopes):
            if not scope.is_whole or self.config.document_attention:
                blocks = self.blocks(size, scope)
                heads = self.config.model.heads if scope.alibi else 1
                elements += size.sequences * blocks.count * blocks.size * blocks.keys * heads
        return float(self.number * elements)

    def embeddings(self, size: MicroBatchSize) -> float:
        """Saved tensors of the embeddings: their norm's input, its mask, indices."""
        shape, t = self.config.model, size.tokens
        mask = t * shape.hidden_size if shape.dropout else 0
        return self.norm(t) + mask + (2 if shape.position == "learned" else 1) * 8 * t

    def encoder(self, size: MicroBatchSize) -> float:
        """Saved tensors of embeddings and layers, all of them."""
        shape = self.config.model
        *others, last = self.scopes
        layers = sum(self.layer(size, scope) for scope in others)
        layers += self.layer(size, last, is_last=True)
        if shape.norm == "pre":
            # The first attention has no norm, and the last layer's output has one.
            layers += self.norm(self.needed(size)) - self.norm(size.tokens)
        return self.embeddings(size) + layers + self.tables(size)

    def tables(self, size: MicroBatchSize) -> float:
        """Made once for all layers: where each token's heads lie in the padded layout, what says
        which keys are seen, and cosine and sine of rotary angles, for one or two bases."""
        shape = self.config.model
        slots = 0.0 if self.backend == "flash" else 4 * 8 * size.tokens * shape.heads
        bases = 0 if shape.position != "rope" else 1 if shape.rope_local_theta is None else 2
        angles = 4 * size.tokens * shape.head_size * bases
        return slots + self.score_biases(size) + angles

    def heads(self, size: MicroBatchSize) -> float:
        """Saved tensors of the heads, the logits of predicted tokens among them."""
        width, b = self.config.model.hidden_size, self.number
        normed = 4 if self.device == "cuda" else b
        mlm = size.predicted * ((3 * b + (normed if normed != b else 0)) * width + 8)
        pair = 2 * b * size.sequences * width if self.config.next_sentence_prediction else 0
        # The last product's input is LayerNorm's output, which autocast copies.
        return mlm + b * size.predicted * (width + self.vocabulary_size) + pair

    def weight_copies(self, layers: int | None = None) -> float:
        """16-bit copies of the weights that autocast multiplies by; 0 in fp32.

        Args:
            layers: of how many layers, without the heads; None: of the whole model.
        """
        if self.number == 4:
            return 0.0
        shape = self.config.model
        width, inner = shape.hidden_size, shape.feed_forward_size
        per_layer = 4 * width * width + (3 if shape.is_gated else 2) * width * inner
        if layers is not None:
            return 2 * layers * per_layer
        heads = width * width + width * self.vocabulary_size
        if self.config.next_sentence_prediction:
            heads += width * width + 2 * width
        return 2 * (shape.layers * per_layer + heads)

    # -- what a rank holds ------------------------------------------------------------------------

    def held(self, ranks: int, zero_stage: int) -> dict[str, float]:
        """What stays from step to step."""
        weights, share = 4.0 * self.parameters, 1 / ranks if zero_stage else 1.0
        kept = 4.0 * moments_elements(self.model, self.config.optimizer.name)
        parts = {"weights": weights, "optimizer moments": kept * share}
        if zero_stage:
            parts["fp32 weights to update"] = weights * share
        return {**parts, "framework": self.framework}

    def gradients(self, ranks: int, zero_stage: int) -> float:
        """Gradients when all are there."""
        weights = 4.0 * self.parameters
        return weights * {0: 1.0, 1: 1 + 1 / ranks, 2: 1 / ranks}[zero_stage]

    def buckets(self, zero_stage: int) -> float:
        """Copies in which gradients travel."""
        collective = self.config.collective
        limit, largest = bucket_elements(collective), max(self.sizes)
        if zero_stage:
            # A bucket is flattened once more to travel; if all fits one, that is at the very end.
            flat = limit if limit < self.parameters else 0
            return 4.0 * (limit * (2 if collective.overlaps(zero_stage) else 1) + flat)
        # A bucket takes its gradients' place: until it is filled both are there.
        return min(self.parameters, limit + largest) * COMPRESSED_BYTES[collective.compression]

    def moments(self, ranks: int, zero_stage: int) -> list[Memory]:
        """What a rank holds when the forward pass ends, when layers are recomputed, and when
        gradients are reduced and weights updated."""
        size = MicroBatchSize.of(self.config, ranks)
        accumulates = self.config.batch.micro_batches(ranks) > ranks
        held = self.held(ranks, zero_stage)
        kept = {"gradients": self.gradients(ranks, zero_stage) if accumulates else 0.0}
        if zero_stage == 2 and accumulates:
            # Stage 1 makes its buckets with the last micro-batch's gradients only.
            kept["reduce buckets"] = self.buckets(zero_stage)
        checkpointing = self.config.engine.activation_checkpointing
        stream = 4 * size.tokens * self.config.model.hidden_size
        inputs = self.embeddings(size) + stream * self.config.model.layers + self.tables(size)
        forward = {
            "activations": inputs if checkpointing else self.encoder(size),
            "bf16 copies of weights": self.weight_copies(),
            "logits and heads": self.heads(size) + stream * self.needed(size) / size.tokens,
            "loss in fp32": bytes_at_a_time(
                self.device, size.predicted, self.vocabulary_size, self.number
            ),
        }
        moments = [Memory("the forward pass ends", {**held, **kept, **forward})]
        if checkpointing:
            largest = max(self.layer(size, scope) for scope in set(self.scopes))
            layer = largest + stream + self.activation_gradients(size)
            again = {
                # The last layer, done by now, was the small one.
                "activations": inputs - stream + layer,
                "bf16 copies of weights": self.weight_copies(1),
                "gradients": self.gradients(ranks, zero_stage),
            }
            moments.append(Memory("a layer is recomputed", {**held, **again}))
        update = {
            "gradients": self.gradients(ranks, zero_stage),
            "reduce buckets": self.buckets(zero_stage) if ranks > 1 or zero_stage else 0.0,
            **self.directions(),
        }
        return [*moments, Memory("weights are updated", {**held, **update})]

    def activation_gradients(self, size: MicroBatchSize) -> float:
        """What the activation's backward pass makes, less its output, which is not needed then."""
        kind = self.config.model.feed_forward
        tensors = {"gelu": 1, "relu2": 2}.get(kind, 4)
        return tensors * self.number * size.tokens * self.config.model.feed_forward_size

    def directions(self) -> dict[str, float]:
        """What an update rule computes before it moves the weights; AdamW's moves them at once."""
        rule = self.config.optimizer.name
        if rule == "lamb":
            return {"LAMB's directions": 2 * 4.0 * self.parameters}
        if rule == "stable-adamw":
            # Roots, gradients over clamped roots and the clamped roots themselves, of one group.
            return {"StableAdamW's directions": 3 * 4.0 * self.parameters}
        if rule == "muon":
            return {"Muon's directions": update_bytes(self.model, self.number)}
        return {}

    def peak(self, ranks: int, zero_stage: int) -> Memory:
        """The moment that needs most."""
        return max(self.moments(ranks, zero_stage), key=lambda memory: memory.total)

    def largest_parts(self, ranks: int, zero_stage: int) -> dict[str, float]:
        """Each part at the moment when it is largest: not all of them are there at once."""
        parts: dict[str, float] = {}
        for memory in self.moments(ranks, zero_stage):
            for name, size in memory.parts.items():
                parts[name] = max(size, parts.get(name, 0.0))
        return parts

    def with_config(self, config: ResolvedPretrainConfig) -> MemoryModel:
        """The same model with other choices of batch and engine."""
        other = copy(self)
        other.config = config
        other.backend = other._backend()
        return other

    def _backend(self) -> str:
        shape = self.config.model
        return choose_backend(
            shape.attention,
            torch.device(self.device),
            torch.bfloat16 if self.number == 2 else torch.float32,
            max(shape.max_positions, self.config.max_length),
            shape.attention_dropout,
            self.scopes,
        )

    def with_micro_sequences(self, number: int) -> MemoryModel:
        """The same with another micro-batch."""
        batch = replace(self.config.batch, micro_sequences=number)
        return self.with_config(replace(self.config, batch=batch))


def largest_fit(model: MemoryModel, ranks: int, zero_stage: int, memory: float) -> int | None:
    """The largest power of two for `batch.micro_sequences` whose peak is within `memory` bytes."""
    asked = model.config.batch.micro_sequences
    assert isinstance(asked, int), "`auto` has become a number"
    number = 1 << max(0, asked.bit_length() - 1)
    while number >= 1:
        if model.with_micro_sequences(number).peak(ranks, zero_stage).total <= memory:
            return number
        number //= 2
    return None
