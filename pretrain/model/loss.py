"""Cross entropy over a large vocabulary, with its gradient computed on the way.

Axes: M predicted tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100
ELEMENTS_CPU, ELEMENTS_CUDA = 2**20, 2**26
"""logits in float32 at a time: what fits the cache, or few kernel launches"""


class SummedCrossEntropy(torch.autograd.Function):
    """(summed cross entropy in float32, correct predictions) of logits (M, V) of any dtype.

    The logits are consumed: some rows at a time, softmax minus one-hot takes their place and waits
    for the backward pass. So nothing of size (M, V) exists in float32, and a CPU is several times
    as fast as with `F.cross_entropy`. No rows give zeros.
    """

    @staticmethod
    def forward(ctx, logits_MV: Tensor, labels_M: Tensor) -> tuple[Tensor, Tensor]:
        elements = ELEMENTS_CPU if logits_MV.device.type == "cpu" else ELEMENTS_CUDA
        rows = max(1, elements // logits_MV.shape[1])
        parts = zip(logits_MV.split(rows), labels_M.split(rows))
        keep_gradient = ctx.needs_input_grad[0]
        losses, correct = zip(*(_consume(*part, keep_gradient) for part in parts))
        ctx.save_for_backward(logits_MV)
        sums = torch.stack(losses).sum(), torch.stack(correct).sum()
        ctx.mark_non_differentiable(sums[1])
        return sums

    @staticmethod
    def backward(ctx, loss_gradient: Tensor, _: None) -> tuple[Tensor, None]:
        # In place, for fresh memory costs more than the product; autograd then refuses a second
        # backward pass.
        return ctx.saved_tensors[0].mul_(loss_gradient), None


def _consume(logits: Tensor, labels: Tensor, keep_gradient: bool) -> tuple[Tensor, Tensor]:
    """The two sums of some rows; where asked, the rows become their gradient."""
    correct = (logits.max(-1).indices == labels).sum()
    log_probabilities = logits.log_softmax(-1, dtype=torch.float32)
    label_column = labels[:, None]
    chosen = log_probabilities.gather(1, label_column)
    if keep_gradient:
        gradient = log_probabilities.exp_()
        logits.copy_(gradient.scatter_add_(1, label_column, torch.full_like(chosen, -1.0)))
    return -chosen.sum(), correct


def next_sentence_sums(logits_B2: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """(summed cross entropy in float32, correct predictions); labels of -100 don't count."""
    loss = F.cross_entropy(logits_B2.float(), labels_B, ignore_index=IGNORED, reduction="sum")
    return loss, (logits_B2.detach().argmax(-1) == labels_B).sum()
