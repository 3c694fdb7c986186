"""Cross entropy over a large vocabulary, some words at a time.

Axes: M predicted tokens, D hidden size, V vocabulary, C the words of one part of it, P parts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.model.autograd import Context, Function
from pretrain.model.packing import fill
from pretrain.model.tied_embeddings import TiedGradient, add_rows

IGNORED = -100
WORDS_CPU, ELEMENTS_CUDA = 1024, 2**26
"""a part of the vocabulary: what the cache holds, or few kernel launches"""
ALIGNED_CUDA = 128
"""words that all parts are a multiple of: rows of logits that do not start at multiples of 16 bytes
keep cuBLAS from its fast kernels"""


def words_at_a_time(device: str, predicted: int) -> int:
    """C, for so many predicted tokens."""
    if device == "cpu":
        return WORDS_CPU
    most = ELEMENTS_CUDA // max(1, predicted)
    return max(WORDS_CPU, most - most % ALIGNED_CUDA)


def rows_for(device: str, words: int) -> int:
    """V, rounded up to where every part is aligned."""
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


class DecoderContext(Context):
    """What `DecodedCrossEntropy` keeps, beside tensors."""

    words: int
    """V, without the rows that align it"""
    tied: TiedGradient | None
    weight_dtype: torch.dtype


class DecodedCrossEntropy(Function):
    """(summed cross entropy in float32, correct predictions) of what hidden states (M, D) predict.

    The decoder is a matrix (V, D) with a bias (V,) or without; labels are (M,). Under autocast the
    products are in its type. The vocabulary is taken in parts, and each part's logits become
    exponentials where they are made: nothing of size (M, V) exists in float32, and a CPU multiplies
    twice as fast as by all words at once. What softmax still lacks, a number for each row and part,
    the backward pass multiplies into the small factor of each product, never into the logits.

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
        size, keeps = words_at_a_time(kind, len(labels_M)), any(ctx.needs_input_grad)
        softmax = _Softmax(labels_M)
        exponentials: list[Tensor] = []
        for word_CD, bias_C in zip(cast_VD.split(size), cast_V.split(size)):
            part_MC = softmax.add(F.linear(cast_MD, word_CD, bias_C))
            if keeps:
                exponentials.append(part_MC)
        losses_M1 = softmax.losses_M1
        # A logit's gradient is its probability, less 1 for the label. That of the label is kept
        # apart: p - 1 = exp(-loss) - 1, which expm1 gives with all digits where p is close to 1.
        factors = torch.expm1(-losses_M1), softmax.scales_MP
        for factor in factors:
            factor[predicted:] = 0  # no label, no gradient
        ctx.save_for_backward(hidden_MD, cast_VD, labels_M, *factors, *exponentials)
        ctx.tied, ctx.weight_dtype, ctx.words = tied, word_VD.dtype, len(word_VD)
        sums = losses_M1[:predicted].sum(), softmax.correct_M1[:predicted].sum()
        ctx.mark_non_differentiable(sums[1])
        return sums

    @staticmethod
    def backward(
        ctx: DecoderContext, factor: Tensor, _: None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        """Gradients of hidden states, decoder and bias; the embeddings' is left in `tied`."""
        hidden_MD, cast_VD, labels_M, error_M1, scales_MP, *exponentials = ctx.saved_tensors
        # With E the exponentials of a part and s its scales, the gradient of the part's logits is
        # G = diag(s) E, but for the labels. Hidden states get G W = diag(s) (E W), and embeddings
        # G' H = E' (diag(s) H): what is scaled has D columns and not C, and E stays as it is.
        error_M1, scales_MP = error_M1 * factor, scales_MP * factor
        # In E the label's own column is zero: its share, error times a row of W or H, is added here
        # and at the end.
        hidden_gradient = error_M1 * cast_VD[labels_M]
        size = words_at_a_time(hidden_MD.device.type, len(labels_M))
        has_bias = ctx.needs_input_grad[2]
        word_VD = torch.empty_like(cast_VD, dtype=ctx.weight_dtype)
        bias_V = word_VD.new_empty(len(cast_VD))
        targets = zip(cast_VD.split(size), word_VD.split(size), bias_V.split(size))
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
            return hidden_gradient, word_VD, of_bias, None, None
        if ctx.needs_input_grad[1]:
            # Returned it would be added to the look-up's gradient as a second tensor of this size.
            ctx.tied.leave(word_VD)
        return hidden_gradient, None, of_bias, None, None


class _Softmax:
    """Each row's softmax over parts of the vocabulary that come one after the other.

    Milakov and Gimelshein 2018: the highest logit so far is taken off before exponentiating, and
    sums of earlier parts are scaled down whenever a higher one comes. All is float32.
    """

    def __init__(self, labels_M: Tensor) -> None:
        self.labels_M1 = labels_M[:, None]
        self.seen = 0
        """words of the parts so far"""
        zeros = torch.zeros_like(self.labels_M1, dtype=torch.float32)
        self.highest_M1, self.total_M1, self.labelled_M1 = zeros - float("inf"), zeros, zeros
        self.correct_M1 = torch.zeros_like(self.labels_M1, dtype=torch.bool)
        self.shifts: list[Tensor] = []

    def add(self, logits_MC: Tensor) -> Tensor:
        """exp(logits - the highest so far), but 0 for the label, in the type of the logits."""
        size = logits_MC.shape[1]
        # The label's column in this part. Where the label is in another part some column is looked
        # at all the same, and `is_here` leaves out what comes of it: rows of all kinds go one way.
        own_M1 = self.labels_M1 - self.seen
        is_here_M1 = (own_M1 >= 0) & (own_M1 < size)
        own_M1 = own_M1.clamp(0, size - 1)
        label_M1 = logits_MC.gather(1, own_M1)
        top_M1 = logits_MC.amax(1, keepdim=True)
        highest_M1 = torch.maximum(self.highest_M1, top_M1)
        # A prediction is right where argmax would name the label: the first of the highest logits.
        # In the label's part that means above all parts before, and the first in its own; in each
        # part after it, that nothing there is higher.
        leads_M1 = is_here_M1 & (label_M1 == top_M1) & (label_M1 > self.highest_M1)
        self.correct_M1 = torch.where(
            is_here_M1,
            _lead_first(logits_MC, own_M1, leads_M1),
            self.correct_M1 & (self.labelled_M1 >= top_M1),
        )
        self.labelled_M1 = torch.where(is_here_M1, label_M1, self.labelled_M1)
        # The sum so far was of exp(logit - old highest): in terms of the new one it is smaller.
        part_MC = (logits_MC - highest_M1).exp_()
        self.total_M1 = self.total_M1 * (self.highest_M1 - highest_M1).exp()
        self.total_M1 = self.total_M1 + part_MC.sum(1, keepdim=True)
        # Summed with the label, kept without it: its gradient has a factor of its own.
        part_MC.scatter_(1, own_M1, part_MC.gather(1, own_M1).masked_fill_(is_here_M1, 0.0))
        self.highest_M1, self.seen = highest_M1, self.seen + size
        # A part that is kept keeps its own shift; `scales_MP` makes up for later, higher ones.
        self.shifts.append(highest_M1)
        return part_MC.to(logits_MC.dtype)

    @property
    def losses_M1(self) -> Tensor:
        """Each row's cross entropy."""
        return self._normaliser_M1 - self.labelled_M1

    @property
    def scales_MP(self) -> Tensor:
        """What the exponentials of each of the P parts lack: multiplied by it, they are
        probabilities."""
        return (torch.cat(self.shifts, 1) - self._normaliser_M1).exp()

    @property
    def _normaliser_M1(self) -> Tensor:
        return self.highest_M1 + self.total_M1.log()


def _lead_first(logits_MC: Tensor, own_M1: Tensor, leads_M1: Tensor) -> Tensor:
    """Where the label's logit, one of the highest of its row, is the first of them."""
    if logits_MC.device.type != "cpu":
        return leads_M1 & (logits_MC.argmax(1, keepdim=True) == own_M1)
    # A CPU finds the highest value several times as fast as its place, and few rows can be right.
    rows = leads_M1.squeeze(1).nonzero().squeeze(1)
    first = torch.zeros_like(leads_M1)
    first[rows] = logits_MC[rows].argmax(1, keepdim=True) == own_M1[rows]
    return first


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
