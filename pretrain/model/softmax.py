"""Softmax over a large vocabulary: of whole rows, or of one part of the words after another.

Axes: M predicted tokens, V vocabulary, C the words of one part of it, P parts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WORDS_CPU = 1024
"""a part of the vocabulary: what a processor's cache holds"""
ELEMENTS_CUDA = 2**26
"""logits that `softmax_in_pieces` takes at a time"""

Softmax = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""logits (M, V), which become probabilities, and labels (M, 1) -> each row's cross entropy in
float32, and whether its label is the first of its highest logits; both (M, 1)"""


def softmax_(logits_MV: Tensor, labels_M1: Tensor) -> tuple[Tensor, Tensor]:
    """A `Softmax` in plain operators, each of which goes through all logits.

    Torch's compiler makes two kernels of it for a GPU: one reads the logits, and one reads them
    again and writes probabilities in their place.
    """
    correct_M1 = logits_MV.argmax(1, keepdim=True) == labels_M1
    logs_MV = torch.log_softmax(logits_MV, 1, dtype=torch.float32)
    losses_M1 = -logs_MV.gather(1, labels_M1)
    torch.exp(logs_MV, out=logits_MV)
    return losses_M1, correct_M1


def softmax_in_pieces(logits_MV: Tensor, labels_M1: Tensor) -> tuple[Tensor, Tensor]:
    """A `Softmax` that needs little memory: some rows after the other."""
    size = max(1, ELEMENTS_CUDA // logits_MV.shape[1])
    pieces = zip(logits_MV.split(size), labels_M1.split(size))
    losses, correct = zip(*(softmax_(*piece) for piece in pieces))
    return torch.cat(losses), torch.cat(correct)


def compiled_softmax(backend: str | Callable[..., object] = "inductor") -> Softmax:
    """A `Softmax` that torch compiles: one graph for any number of rows above one."""
    compiled = torch.compile(softmax_, backend=backend, fullgraph=True, dynamic=True)

    def softmax(logits_MV: Tensor, labels_M1: Tensor) -> tuple[Tensor, Tensor]:
        # Of a fixed length the compiler knows that all rows are aligned.
        torch._dynamo.mark_static(logits_MV, 1)
        found: tuple[Tensor, Tensor] = compiled(logits_MV, labels_M1)
        return found

    return softmax


def bytes_at_a_time(device: str, rows: int, words: int, number: int) -> float:
    """What softmax needs beside its result, of logits of `number` bytes each: a CPU has the logits
    and exponentials in float32 of one part of the words, a GPU has the logits, where they are
    16-bit, and logarithms of probabilities, both in float32, of some rows."""
    if device == "cpu":
        return (number + 4.0) * rows * min(WORDS_CPU, words)
    return (4.0 if number == 4 else 8.0) * min(rows * words, ELEMENTS_CUDA)


class RunningSoftmax:
    """Each row's softmax over parts of the vocabulary that come one after the other.

    Milakov and Gimelshein 2018: the highest logit so far is taken off before exponentiating, and
    sums of earlier parts are scaled down whenever a higher one comes. All is float32.
    """

    def __init__(self, labels_M1: Tensor) -> None:
        self.labels_M1 = labels_M1
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
    # A CPU finds the highest value several times as fast as its place, and few rows can be right.
    rows = leads_M1.squeeze(1).nonzero().squeeze(1)
    first = torch.zeros_like(leads_M1)
    first[rows] = logits_MC[rows].argmax(1, keepdim=True) == own_M1[rows]
    return first
