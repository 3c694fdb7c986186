"""The model from the formulas of the papers, one sequence and one head at a time.

It reads weights by name and shares no code with the product but that of the configuration.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from configs.schema import ModelConfig
from pretrain.batch import MicroBatch

Weights = dict[str, Tensor]


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    product = x @ weights[f"{name}.weight"].T
    return product + weights[f"{name}.bias"] if f"{name}.bias" in weights else product


def norm(weights: Weights, name: str, x: Tensor, config: ModelConfig) -> Tensor:
    if config.norm_kind == "layernorm":
        x = x - x.sum(-1, keepdim=True) / x.shape[-1]
    square = (x * x).sum(-1, keepdim=True) / x.shape[-1]
    scaled = x / torch.sqrt(square + config.layer_norm_epsilon) * weights[f"{name}.weight"]
    return scaled + weights[f"{name}.bias"] if f"{name}.bias" in weights else scaled


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def activation(kind: str, x: Tensor) -> Tensor:
    if kind == "gelu":
        return gelu(x)
    if kind == "relu2":
        return torch.where(x > 0, x * x, 0.0)
    a, b = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
    return (gelu(a) if kind == "geglu" else a / (1 + torch.exp(-a))) * b


def turn(x: Tensor, theta: float) -> Tensor:
    """Token m's pairs (x_i, x_(i + K/2)) by the angle m theta^(-2i / K), as complex numbers."""
    half = x.shape[1] // 2
    pairs = torch.complex(x[:, :half], x[:, half:])
    rates = torch.tensor([theta ** (-2 * i / x.shape[1]) for i in range(half)], dtype=x.dtype)
    angle = torch.arange(len(x), dtype=x.dtype)[:, None] * rates
    turned = pairs * torch.complex(angle.cos(), angle.sin())
    return torch.cat([turned.real, turned.imag], 1)


def attention(weights: Weights, name: str, x: Tensor, config: ModelConfig) -> Tensor:
    size = config.hidden_size // config.heads
    every = linear(weights, f"{name}.qkv", x).split(config.hidden_size, 1)
    contexts = []
    for head in range(config.heads):
        query, key, value = (part[:, head * size : (head + 1) * size] for part in every)
        if config.qk_norm:
            query = norm(weights, f"{name}.head_norm.query", query, config)
            key = norm(weights, f"{name}.head_norm.key", key, config)
        if config.position == "rope":
            query, key = turn(query, config.rope_theta), turn(key, config.rope_theta)
        scores = torch.exp(query @ key.T / math.sqrt(size))
        contexts.append(scores / scores.sum(1, keepdim=True) @ value)
    return linear(weights, f"{name}.attention_output", torch.cat(contexts, 1))


def layer(weights: Weights, number: int, x: Tensor, config: ModelConfig) -> Tensor:
    name = f"encoder.layers.{number}"

    def feed_forward(y: Tensor) -> Tensor:
        inner = linear(weights, f"{name}.feed_forward_inner", y)
        activated = activation(config.feed_forward, inner)
        return linear(weights, f"{name}.feed_forward_output", activated)

    if config.norm == "post":
        x = x + attention(weights, name, x, config)
        x = norm(weights, f"{name}.attention_norm", x, config)
        return norm(weights, f"{name}.feed_forward_norm", x + feed_forward(x), config)
    first = x if number == 0 else norm(weights, f"{name}.attention_norm", x, config)
    x = x + attention(weights, name, first, config)
    return x + feed_forward(norm(weights, f"{name}.feed_forward_norm", x, config))


def encoded(weights: Weights, config: ModelConfig, tokens: Tensor, segments: Tensor) -> Tensor:
    """One sequence's hidden states, (L, D)."""
    x = weights["encoder.embeddings.word.weight"][tokens]
    if config.position == "learned":
        table = weights["encoder.embeddings.position.weight"]
        first = len(table) - config.max_positions
        x = x + table[first : first + len(tokens)]
    x = x + weights["encoder.embeddings.segment.weight"][segments * (config.segment_types - 1)]
    x = norm(weights, "encoder.embeddings.norm", x, config)
    for number in range(config.layers):
        x = layer(weights, number, x, config)
    return norm(weights, "encoder.final_norm", x, config) if config.norm == "pre" else x


def decoded(weights: Weights, config: ModelConfig, hidden: Tensor) -> Tensor:
    """Logits of the MLM head, (M, V)."""
    x = norm(weights, "mlm_head.norm", gelu(linear(weights, "mlm_head.dense", hidden)), config)
    words = weights["encoder.embeddings.word.weight"]
    logits = x @ (words if config.tied else weights["mlm_head.decoder.weight"]).T
    return logits + weights["mlm_head.bias"] if "mlm_head.bias" in weights else logits


def slow_loss(weights: Weights, config: ModelConfig, batch: MicroBatch) -> Tensor:
    """Masked tokens' cross entropy, summed, and that of NSP where there is a head."""
    bounds = batch.boundaries.tolist()
    sequences = [
        encoded(weights, config, batch.tokens_T[start:end], batch.segments_T[start:end])
        for start, end in zip(bounds, bounds[1:])
    ]
    logits = decoded(weights, config, torch.cat(sequences)[batch.predicted_M])
    loss = -logits.log_softmax(1)[range(len(logits)), batch.labels_M].sum()
    if "nsp_head.pooler.weight" in weights:
        first = torch.stack([sequence[0] for sequence in sequences])
        pooled = torch.tanh(linear(weights, "nsp_head.pooler", first))
        logits = linear(weights, "nsp_head.classifier", pooled)
        loss = loss - logits.log_softmax(1)[range(len(logits)), batch.next_sentence_B].sum()
    return loss
