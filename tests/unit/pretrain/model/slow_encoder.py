"""The encoder and its heads once more, token by token, as the papers describe them.

Nothing is packed or padded, no kernel of attention is called, and any dtype will do: sequences come
one after the other, and each token looks at the tokens that it may see, one by one. Written from
    BERT (Devlin et al. 2019) and Vaswani et al. 2017: post-norm, heads, learned positions;
    Xiong et al. 2020, and ModernBERT (Warner et al. 2024): pre-norm, whose first layer's attention
        has no norm and whose embeddings keep theirs; windows with a global layer every n;
    Zhang and Sennrich 2019: RMSNorm; Henry et al. 2020: norm of queries and keys;
    Su et al. 2021: rotary positions; Press et al. 2022: ALiBi, in both directions;
    Shazeer 2020: GeGLU and SwiGLU; So et al. 2021 (Primer): squared ReLU.
It shares the names of parameters with `pretrain.model`, and nothing else.

Axes: N tokens of one sequence, D hidden size, H heads, K head size, S tokens that one sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from configs.schema import ModelConfig
from pretrain.batch import MicroBatch

Weights = Mapping[str, Tensor]
Starts = Sequence[Sequence[int]]
"""of each sequence the places where its documents begin; the first is 0"""


def sequence_states(
    config: ModelConfig,
    weights: Weights,
    pad_id: int,
    tokens: Tensor,
    segments: Tensor,
    starts: Sequence[int] = (0,),
    needed: Tensor | None = None,
) -> Tensor:
    """Hidden states of one sequence, (N, D), or of the places in `needed` alone.

    Args:
        starts: where documents begin, beyond which nobody looks.
        needed: the last layer's feed-forward part is computed for these only.
    """
    hidden_ND = embed(config, weights, pad_id, tokens, segments)
    document_N = [sum(start <= place for start in starts) for place in range(len(tokens))]
    for index in range(config.layers):
        own = part(weights, f"encoder.layers.{index}.")
        pre = config.norm == "pre"
        source_ND = hidden_ND
        if pre and index > 0:
            source_ND = normalise(config, source_ND, part(own, "attention_norm."))
        context_ND = attention(config, own, source_ND, index, document_N)
        if needed is not None and index == config.layers - 1:
            hidden_ND, context_ND = hidden_ND[needed], context_ND[needed]
        hidden_ND = hidden_ND + linear(context_ND, part(own, "attention_output."))
        if not pre:
            hidden_ND = normalise(config, hidden_ND, part(own, "attention_norm."))
        source_ND = hidden_ND
        if pre:
            source_ND = normalise(config, source_ND, part(own, "feed_forward_norm."))
        hidden_ND = hidden_ND + feed_forward(config, own, source_ND)
        if not pre:
            hidden_ND = normalise(config, hidden_ND, part(own, "feed_forward_norm."))
    if config.norm == "pre":
        hidden_ND = normalise(config, hidden_ND, part(weights, "encoder.final_norm."))
    return hidden_ND


def embed(
    config: ModelConfig, weights: Weights, pad_id: int, tokens: Tensor, segments: Tensor
) -> Tensor:
    """(N, D): the sum of what a token is known by, normalised."""
    own = part(weights, "encoder.embeddings.")
    rows = []
    for place, token in enumerate(tokens.tolist()):
        row_D = own["word.weight"][token]
        if config.position == "learned":
            first = pad_id + 1 if config.architecture == "roberta" else 0
            row_D = row_D + own["position.weight"][first + place]
        if config.segment_types:
            segment = int(segments[place]) if config.segment_types == 2 else 0
            row_D = row_D + own["segment.weight"][segment]
        rows.append(row_D)
    return normalise(config, torch.stack(rows), part(own, "norm."))


def attention(
    config: ModelConfig, own: Weights, source_ND: Tensor, index: int, document_N: Sequence[int]
) -> Tensor:
    """(N, D): what each token gathers from those it sees."""
    heads, window = config.heads, config.attention_window
    is_local = window is not None and index % config.global_every != 0
    query_NHK, key_NHK, value_NHK = (
        linear(source_ND, part(own, "qkv.")).view(len(source_ND), 3, heads, -1).unbind(1)
    )
    if config.qk_norm:
        query_NHK = normalise(config, query_NHK, part(own, "head_norm.query."))
        key_NHK = normalise(config, key_NHK, part(own, "head_norm.key."))
    if config.position == "rope":
        theta = config.rope_theta
        if is_local and config.rope_local_theta is not None:
            theta = config.rope_local_theta
        query_NHK, key_NHK = rotate(query_NHK, theta), rotate(key_NHK, theta)
    contexts = []
    for place in range(len(source_ND)):
        seen = [
            other
            for other in range(len(source_ND))
            if document_N[other] == document_N[place]
            and not (is_local and abs(other - place) > window // 2)
        ]
        # one product of matrices a head, over the tokens seen alone: their arithmetic is the
        # useful part
        query_H1K = query_NHK[place, :, None]
        scores_HS = (query_H1K @ key_NHK[seen].permute(1, 2, 0)).squeeze(1)
        scores_HS = scores_HS / math.sqrt(query_NHK.shape[-1])
        if config.position == "alibi":
            distance_S = torch.tensor([abs(other - place) for other in seen])
            slopes_H = torch.tensor(alibi_slopes(heads), dtype=scores_HS.dtype)
            scores_HS = scores_HS - slopes_H[:, None] * distance_S
        shares_HS = scores_HS.exp() / scores_HS.exp().sum(-1, keepdim=True)
        context_H1K = shares_HS[:, None] @ value_NHK[seen].transpose(0, 1)
        contexts.append(context_H1K.flatten())
    return torch.stack(contexts)


def rotate(vectors_NHK: Tensor, theta: float) -> Tensor:
    """Su et al., equation 34: pair i turned by place x theta^(-2i/K).

    A pair is an element of the first half with its like of the second, as in GPT-NeoX.
    """
    count = vectors_NHK.shape[-1] // 2
    rotated = []
    for place, vector_HK in enumerate(vectors_NHK):
        angles = [place * theta ** (-2 * pair / (2 * count)) for pair in range(count)]
        cos = torch.tensor([math.cos(angle) for angle in angles], dtype=vector_HK.dtype)
        sin = torch.tensor([math.sin(angle) for angle in angles], dtype=vector_HK.dtype)
        one, two = vector_HK[:, :count], vector_HK[:, count:]
        rotated.append(torch.cat([one * cos - two * sin, two * cos + one * sin], -1))
    return torch.stack(rotated)


def alibi_slopes(heads: int) -> list[float]:
    """2^(-8i/H) for i from 1 to H; other numbers than powers of two as in the authors' code.

    There the rest of the slopes are every second one of twice as many heads.
    """
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * i / power) for i in range(1, power + 1)]
    between = [2 ** (-8 * i / (2 * power)) for i in range(1, 2 * power + 1, 2)]
    return slopes + between[: heads - power]


def feed_forward(config: ModelConfig, own: Weights, source_ND: Tensor) -> Tensor:
    """(N, D); gated kinds multiply the first half, activated, by the second."""
    inner = linear(source_ND, part(own, "feed_forward_inner."))
    kind = config.feed_forward
    if kind in ("geglu", "swiglu"):
        first, second = inner[:, : inner.shape[1] // 2], inner[:, inner.shape[1] // 2 :]
        inner = (gelu(first) if kind == "geglu" else first / (1 + (-first).exp())) * second
    elif kind == "relu2":
        inner = torch.where(inner > 0, inner * inner, torch.zeros_like(inner))
    else:
        inner = gelu(inner)
    return linear(inner, part(own, "feed_forward_output."))


def gelu(x: Tensor) -> Tensor:
    """x times the normal distribution's probability of less than x (Hendrycks and Gimpel 2016)."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def normalise(config: ModelConfig, values: Tensor, own: Weights) -> Tensor:
    """Over the last axis: LayerNorm, or RMSNorm, which takes off no mean and adds no bias."""
    if config.norm_kind == "layernorm":
        values = values - values.mean(-1, keepdim=True)
    square = (values * values).mean(-1, keepdim=True)
    scaled = values / (square + config.layer_norm_epsilon).sqrt() * own["weight"]
    return scaled + own["bias"] if "bias" in own else scaled


def linear(values: Tensor, own: Weights) -> Tensor:
    """The product with a matrix (out, in), and its bias where there is one."""
    product = values @ own["weight"].T
    return product + own["bias"] if "bias" in own else product


def mlm_logits(config: ModelConfig, weights: Weights, hidden_ND: Tensor) -> Tensor:
    """(N, V): dense, GELU, norm, then the word embeddings or a matrix of its own."""
    head = part(weights, "mlm_head.")
    transformed = gelu(linear(hidden_ND, part(head, "dense.")))
    transformed = normalise(config, transformed, part(head, "norm."))
    words = weights["encoder.embeddings.word.weight"]
    logits = transformed @ (words if config.tied else head["decoder.weight"]).T
    return logits + head["bias"] if "bias" in head else logits


def losses(
    config: ModelConfig,
    weights: Weights,
    pad_id: int,
    batch: MicroBatch,
    starts: Starts | None = None,
) -> tuple[Tensor, Tensor]:
    """(summed MLM loss, summed NSP loss; 0 without the head) of a micro-batch."""
    mlm = nsp = torch.zeros((), dtype=weights["encoder.embeddings.word.weight"].dtype)
    bounds = batch.boundaries.tolist()
    for row, (first, end) in enumerate(zip(bounds, bounds[1:])):
        chosen = [n for n, place in enumerate(batch.predicted_M.tolist()) if first <= place < end]
        needed = batch.predicted_M[chosen] - first
        has_pairs = "nsp_head.pooler.weight" in weights
        if has_pairs:
            needed = torch.cat([needed, torch.zeros(1, dtype=torch.int64)])
        tokens, segments = batch.tokens_T[first:end], batch.segments_T[first:end]
        own = (0,) if starts is None else starts[row]
        hidden = sequence_states(config, weights, pad_id, tokens, segments, own, needed)
        logits = mlm_logits(config, weights, hidden[: len(chosen)])
        mlm = mlm + cross_entropy(logits, batch.labels_M[chosen])
        if has_pairs:
            pooled = torch.tanh(linear(hidden[-1:], part(weights, "nsp_head.pooler.")))
            scores = linear(pooled, part(weights, "nsp_head.classifier."))
            nsp = nsp + cross_entropy(scores, batch.next_sentence_B[row : row + 1])
    return mlm, nsp


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the log-probability of the labels, summed."""
    chosen = logits[torch.arange(len(labels)), labels]
    return (torch.logsumexp(logits, -1) - chosen).sum()


def part(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """The weights below a name."""
    return {k.removeprefix(prefix): w for k, w in weights.items() if k.startswith(prefix)}


def shapes(config: ModelConfig, vocabulary: int, pad_id: int) -> dict[str, tuple[int, ...]]:
    """The parameters that encoder and MLM head have, none more."""
    width, inner, head = config.hidden_size, config.feed_forward_size, "mlm_head"
    rows = inner * 2 if config.feed_forward in ("geglu", "swiglu") else inner
    found: dict[str, tuple[int, ...]] = {"encoder.embeddings.word.weight": (vocabulary, width)}
    if config.position == "learned":
        first = pad_id + 1 if config.architecture == "roberta" else 0
        found["encoder.embeddings.position.weight"] = (config.max_positions + first, width)
    if config.segment_types:
        found["encoder.embeddings.segment.weight"] = (config.segment_types, width)
    norms = ["encoder.embeddings.norm", f"{head}.norm"]
    matrices = {f"{head}.dense": (width, width)}
    if config.norm == "pre":
        norms.append("encoder.final_norm")
    for index in range(config.layers):
        own = f"encoder.layers.{index}"
        norms.append(f"{own}.feed_forward_norm")
        if config.norm == "post" or index > 0:
            norms.append(f"{own}.attention_norm")
        matrices[f"{own}.qkv"] = (3 * width, width)
        matrices[f"{own}.attention_output"] = (width, width)
        matrices[f"{own}.feed_forward_inner"] = (rows, width)
        matrices[f"{own}.feed_forward_output"] = (width, inner)
    vectors = {name: width for name in norms}
    if config.qk_norm:
        sides = (
            f"encoder.layers.{i}.head_norm.{side}" for i in range(config.layers) for side in SIDES
        )
        vectors |= dict.fromkeys(sides, width // config.heads)
    found |= {f"{name}.weight": (size,) for name, size in vectors.items()}
    found |= {f"{name}.weight": shape for name, shape in matrices.items()}
    if config.bias == "all":
        found |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
        if config.norm_kind == "layernorm":
            found |= {f"{name}.bias": (size,) for name, size in vectors.items()}
    if config.bias != "none":
        found[f"{head}.bias"] = (vocabulary,)
    if not config.tied:
        found[f"{head}.decoder.weight"] = (vocabulary, width)
    return found


SIDES = ("query", "key")
