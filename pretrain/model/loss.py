"""Cross entropy over a large vocabulary, of which a CPU takes some words at a time.

Axes: M predicted tokens, D hidden size, V vocabulary, C the words of one part of it, P parts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.model.autograd import Context, Function
from pretrain.model.packing import fill
from pretrain.model.softmax import WORDS_CPU, RunningSoftmax, Softmax, softmax_in_pieces
from pretrain.model.tied_embeddings import TiedGradient, add_rows

IGNORED = -100
ALIGNED_CUDA = 128
"""words that there are a multiple of: rows of logits that do not start at multiples of 16 bytes
keep cuBLAS from its fast kernels"""


def takes_parts(device: str) -> bool:
    """Whether the vocabulary is taken in parts. A GPU takes all of it: products as large as can be,
    and few kernels."""
    return device == "cpu"


def rows_for(device: str, words: int) -> int:
    """V, rounded up to where every row of logits is aligned."""
    return words if device == "cpu" else words + -words % ALIGNED_CUDA


def extended(weights: Tensor, rows: int, beyond: float, dtype: torch.dtype) -> Tensor:
    """The weights of all words in a type, with rows of `beyond` behind them."""
    words = len(weights)
    if words == rows:
        return weights.to(dtype)
    all_rows = weights.new_empty(rows, *weights.shape[1:], dtype=dtype)
    all_rows[:words] = weights
    all_rows[words:] = beyond
    return all_rows


class Predictions(NamedTuple):
    """Of each row; what a loss needs, and what its gradient needs."""

    losses_M1: Tensor
    """cross entropy in float32"""
    correct_M1: Tensor
    """whether the label was predicted"""
    exponentials: list[Tensor]
    """(M, C) for each part, or none where no gradient is wanted; 0 for the label"""
    scales_MP: Tensor
    """float32; exponentials times their scale are probabilities"""


def predict_in_parts(
    hidden_MD: Tensor, word_VD: Tensor, bias_V: Tensor, labels_M1: Tensor, keeps: bool
) -> Predictions:
    """By `WORDS_CPU` at a time."""
    softmax, exponentials = RunningSoftmax(labels_M1), list[Tensor]()
    for word_CD, bias_C in zip(word_VD.split(WORDS_CPU), bias_V.split(WORDS_CPU)):
        part_MC = softmax.add(F.linear(hidden_MD, word_CD, bias_C))
        if keeps:
            exponentials.append(part_MC)
    return Predictions(softmax.losses_M1, softmax.correct_M1, exponentials, softmax.scales_MP)


def predict_at_once(
    hidden_MD: Tensor, word_VD: Tensor, bias_V: Tensor, labels_M1: Tensor, softmax: Softmax
) -> Predictions:
    """By all words: the one part holds probabilities."""
    logits_MV = F.linear(hidden_MD, word_VD, bias_V)
    losses_M1, correct_M1 = softmax(logits_MV, labels_M1)
    part_MV = logits_MV.scatter_(1, labels_M1, 0.0)
    return Predictions(losses_M1, correct_M1, [part_MV], torch.ones_like(losses_M1))


class DecoderContext(Context):
    """What `DecodedCrossEntropy` keeps, beside tensors."""

    words: int
    """V, without the rows that align it"""
    tied: TiedGradient | None
    weight_dtype: torch.dtype


class DecodedCrossEntropy(Function):
    """(summed cross entropy in float32, correct predictions) of what hidden states (M, D) predict.

    The decoder is a matrix (V, D) with a bias (V,) or without; labels are (M,). Under autocast the
    products are in its type, and logits become exponentials where they are made: nothing of size
    (M, V) exists in float32. A CPU takes the vocabulary in parts, with which it multiplies twice as
    fast; a GPU takes all of it, and rows go through `softmax`. What softmax still lacks, a number
    for each row and part, the backward pass multiplies into the small factor of each product, never
    into the logits.

    Where the decoder is the word embeddings, their gradient waits in `tied`: the encoder must have
    looked its words up by `LookUp` with the same. No rows give zeros. Hidden states may have more
    rows than there are labels: those beyond only make the count a round one.
    """

    @staticmethod
    def forward(
        ctx: DecoderContext,
        hidden_MD: Tensor,
        word_VD: Tensor,
        bias_V: Tensor | None,
        labels_M: Tensor,
        tied: TiedGradient | None,
        softmax: Softmax = softmax_in_pieces,
    ) -> tuple[Tensor, Tensor]:
        """Both sums, of all M."""
        kind, dtype = hidden_MD.device.type, hidden_MD.dtype
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        if bias_V is None:
            bias_V = word_VD.new_zeros(len(word_VD))
        # A logit of -inf is no word: its probability is 0, and so is its row's gradient.
        rows = rows_for(kind, len(word_VD))
        cast_VD = extended(word_VD, rows, 0.0, dtype)
        cast_V = extended(bias_V, rows, -torch.inf, dtype)
        cast_MD = hidden_MD.to(dtype)
        predicted, labels_M = len(labels_M), fill(labels_M, len(hidden_MD))
        decoder, keeps = (cast_MD, cast_VD, cast_V), any(ctx.needs_input_grad)
        if takes_parts(kind):
            found = predict_in_parts(*decoder, labels_M[:, None], keeps)
        else:
            found = predict_at_once(*decoder, labels_M[:, None], softmax)
        # A logit's gradient is its probability, less 1 for the label. That of the label is kept
        # apart: p - 1 = exp(-loss) - 1, which expm1 gives with all digits where p is close to 1.
        factors = torch.expm1(-found.losses_M1), found.scales_MP
        for factor in factors:
            factor[predicted:] = 0  # no label, no gradient
        exponentials = found.exponentials if keeps else []
        ctx.save_for_backward(hidden_MD, cast_VD, labels_M, *factors, *exponentials)
        ctx.tied, ctx.weight_dtype, ctx.words = tied, word_VD.dtype, len(word_VD)
        sums = found.losses_M1[:predicted].sum(), found.correct_M1[:predicted].sum()
        ctx.mark_non_differentiable(sums[1])
        return sums

    @staticmethod
    def backward(
        ctx: DecoderContext, factor: Tensor, _: None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None, None]:
        """Gradients of hidden states, decoder and bias; the embeddings' is left in `tied`."""
        hidden_MD, cast_VD, labels_M, error_M1, scales_MP, *exponentials = ctx.saved_tensors
        # With E the exponentials of a part and s its scales, the gradient of the part's logits is
        # G = diag(s) E, but for the labels. Hidden states get G W = diag(s) (E W), and embeddings
        # G' H = E' (diag(s) H): what is scaled has D columns and not C, and E stays as it is.
        error_M1, scales_MP = error_M1 * factor, scales_MP * factor
        # In E the label's own column is zero: its share, error times a row of W or H, is added here
        # and at the end.
        hidden_gradient = error_M1 * cast_VD[labels_M]
        sizes, has_bias = [part_MC.shape[1] for part_MC in exponentials], ctx.needs_input_grad[2]
        word_VD = torch.empty_like(cast_VD, dtype=ctx.weight_dtype)
        bias_V = word_VD.new_empty(len(cast_VD))
        targets = zip(cast_VD.split(sizes), word_VD.split(sizes), bias_V.split(sizes))
        columns = scales_MP.split(1, dim=1)
        for part_MC, scale_M1, (cast_CD, word_CD, bias_C) in zip(exponentials, columns, targets):
            hidden_gradient.addcmul_(part_MC @ cast_CD, scale_M1)
            _product_into(word_CD, part_MC.t(), (hidden_MD * scale_M1).to(part_MC))
            if has_bias:
                bias_C.copy_(part_MC.t() @ scale_M1.squeeze(1).to(part_MC))
        word_VD, bias_V = word_VD[: ctx.words], bias_V[: ctx.words]
        add_rows(word_VD, labels_M, (error_M1 * hidden_MD).to(word_VD))
        if has_bias:
            add_rows(bias_V, labels_M, error_M1.squeeze(1).to(bias_V))
        hidden_gradient, of_bias = hidden_gradient.to(hidden_MD), bias_V if has_bias else None
        if ctx.tied is None:
            return hidden_gradient, word_VD, of_bias, None, None, None
        if ctx.needs_input_grad[1]:
            # Returned it would be added to the look-up's gradient as a second tensor of this size.
            ctx.tied.leave(word_VD)
        return hidden_gradient, None, of_bias, None, None, None


def _product_into(target: Tensor, left: Tensor, right: Tensor) -> None:
    """left @ right, without a copy where the types are those of the target."""
    if target.dtype == left.dtype:
        torch.mm(left, right, out=target)
    else:
        target.copy_(left @ right)


def next_sentence_sums(logits_B2: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """(summed cross entropy in float32, correct predictions); labels of -100 don't count."""
    loss = F.cross_entropy(logits_B2.float(), labels_B, ignore_index=IGNORED, reduction="sum")
    return loss, (logits_B2.detach().argmax(-1) == labels_B).sum()
