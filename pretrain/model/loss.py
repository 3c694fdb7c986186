"""Cross entropy over a large vocabulary, with its gradient computed on the way.

Axes: M predicted tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.model.words import TiedGradient

IGNORED = -100
ELEMENTS_CPU, ELEMENTS_CUDA = 2**20, 2**26
"""logits in float32 at a time: what fits the cache, or few kernel launches"""


class DecodedCrossEntropy(torch.autograd.Function):
    """(summed cross entropy in float32, correct predictions) of what hidden states (M, D) predict.

    The decoder is the word embeddings (V, D) with a bias (V,); labels are (M,). Under autocast the
    products are in its type. Some rows at a time, softmax minus one-hot takes the place of the
    logits and waits for the backward pass: nothing of size (M, V) exists in float32, and a CPU is
    several times as fast as with `F.cross_entropy`. The loss's own gradient, a number, multiplies
    the smaller factor of each product, never the logits.

    The gradient of the embeddings waits in `tied`: the encoder must have looked its words up by
    `LookUp` with the same. No rows give zeros.
    """

    @staticmethod
    def forward(
        ctx,
        hidden_MD: Tensor,
        word_VD: Tensor,
        bias_V: Tensor,
        labels_M: Tensor,
        tied: TiedGradient,
    ) -> tuple[Tensor, Tensor]:
        kind, dtype = hidden_MD.device.type, hidden_MD.dtype
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        cast_VD = word_VD.to(dtype)
        logits_MV = F.linear(hidden_MD.to(dtype), cast_VD, bias_V.to(dtype))
        elements = ELEMENTS_CPU if kind == "cpu" else ELEMENTS_CUDA
        parts = zip(*(x.split(max(1, elements // len(word_VD))) for x in (logits_MV, labels_M)))
        keep_gradient = any(ctx.needs_input_grad)
        losses, correct = zip(*(_consume(*part, keep_gradient) for part in parts))
        ctx.save_for_backward(logits_MV, hidden_MD, cast_VD)
        ctx.tied, ctx.weight_dtype = tied, word_VD.dtype
        sums = torch.stack(losses).sum(), torch.stack(correct).sum()
        ctx.mark_non_differentiable(sums[1])
        return sums

    @staticmethod
    def backward(ctx, factor: Tensor, _: None) -> tuple[Tensor, None, Tensor, None, None]:
        gradient_MV, hidden_MD, cast_VD = ctx.saved_tensors
        if ctx.needs_input_grad[1]:
            scaled_MD = (hidden_MD * factor).to(gradient_MV)
            ctx.tied.leave((gradient_MV.t() @ scaled_MD).to(ctx.weight_dtype))
        bias_V = gradient_MV.sum(0, dtype=ctx.weight_dtype) * factor
        return (gradient_MV @ cast_VD) * factor, None, bias_V, None, None


def _consume(logits: Tensor, labels: Tensor, keep_gradient: bool) -> tuple[Tensor, Tensor]:
    """The two sums of some rows; where asked, the rows become their gradient."""
    correct = _correct(logits, labels)
    log_probabilities = logits.log_softmax(-1, dtype=torch.float32)
    label_column = labels[:, None]
    chosen = log_probabilities.gather(1, label_column)
    if keep_gradient:
        in_place = logits.dtype == torch.float32
        gradient = torch.exp(log_probabilities, out=logits if in_place else log_probabilities)
        gradient.scatter_add_(1, label_column, torch.full_like(chosen, -1.0))
        if not in_place:
            logits.copy_(gradient)
    return -chosen.sum(), correct


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    """In how many rows the label has the highest logit, the first of equals."""
    if logits.device.type != "cpu":
        return (logits.argmax(-1) == labels).sum()
    # A CPU finds the highest value several times as fast as its place: look where it may be right.
    may = logits.gather(1, labels[:, None]).squeeze(1) == logits.amax(-1)
    return (logits[may].argmax(-1) == labels[may]).sum()


def next_sentence_sums(logits_B2: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """(summed cross entropy in float32, correct predictions); labels of -100 don't count."""
    loss = F.cross_entropy(logits_B2.float(), labels_B, ignore_index=IGNORED, reduction="sum")
    return loss, (logits_B2.detach().argmax(-1) == labels_B).sum()
