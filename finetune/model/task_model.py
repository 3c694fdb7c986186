"""An encoder with a task's head (BERT, figure 4): flat tokens in, logits and a summed loss out.

Axes: T tokens, B sequences, D hidden size, C outputs, L longest sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from configs.finetune_schema import HeadConfig
from finetune.model.task_batches import TaskBatch
from finetune.model.task_losses import TaskLoss
from finetune.tasks.feature import Feature
from pretrain.model.dropout import Dropout
from pretrain.model.encoder import SITES_PER_LAYER, Encoder
from pretrain.model.packing import Gather, Packing


class TaskOutput(NamedTuple):
    """What a micro-batch gives."""

    loss_sum: Tensor
    """summed over targets, float32; the caller divides by the global weight"""
    logits: Tensor
    """sequences: (B, C); tokens: (T, C)"""


class SequenceHead(nn.Module):
    """Pooled state, dense, tanh, dropout, linear: BERT's pooler and classifier, RoBERTa's head.

    Args:
        outputs: C: classes, or 1 for regression and multiple choice.
        first_site: number of its place of dropout.
    """

    def __init__(self, width: int, outputs: int, config: HeadConfig, first_site: int) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.dense = nn.Linear(width, width)
        self.dropout = Dropout(config.dropout, first_site)
        self.output = nn.Linear(width, outputs)

    def forward(self, hidden_TD: Tensor, packing: Packing) -> Tensor:
        """(B, C)."""
        pooled_BD = torch.tanh(self.dense(self.pool(hidden_TD, packing)))
        logits_BC: Tensor = self.output(self.dropout(pooled_BD, one_token_each(packing)))
        return logits_BC

    def pool(self, hidden_TD: Tensor, packing: Packing) -> Tensor:
        """What stands for each sequence, (B, D)."""
        if self.pooling == "cls":
            starts_B = packing.boundaries[:-1].long()
            first_BD: Tensor = Gather.apply(hidden_TD, starts_B, packing.sequences)
            return first_BD
        return packing.pad(hidden_TD).sum(1) / packing.lengths_B[:, None]


class TokenHead(nn.Module):
    """Dropout, linear, for every token: tagging (C labels) and spans (start and end)."""

    def __init__(self, width: int, outputs: int, config: HeadConfig, first_site: int) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout, first_site)
        self.output = nn.Linear(width, outputs)

    def forward(self, hidden_TD: Tensor, packing: Packing) -> Tensor:
        """(T, C)."""
        logits_TC: Tensor = self.output(self.dropout(hidden_TD, packing))
        return logits_TC


HEADS: dict[str, type[SequenceHead | TokenHead]] = {
    "classification": SequenceHead,
    "regression": SequenceHead,
    "choice": SequenceHead,
    "tagging": TokenHead,
    "span": TokenHead,
}


class TaskModel(nn.Module):
    """Encoder and head.

    Args:
        outputs: width of the last linear map.
        loss: what is minimised; of the task's kind, which chooses the head.
    """

    def __init__(self, encoder: Encoder, outputs: int, loss: TaskLoss) -> None:
        super().__init__()
        self.config, self.kind, self.loss = encoder.config, loss.kind, loss
        self.encoder = encoder
        first_site = 1 + SITES_PER_LAYER * self.config.layers
        width = self.config.hidden_size
        self.head = HEADS[self.kind](width, outputs, loss.config, first_site)

    def forward(self, batch: TaskBatch) -> TaskOutput:
        """Summed loss and logits of a micro-batch."""
        packing = Packing.of(batch.inputs)
        logits = self.head(self.encoder(batch.inputs), packing).float()
        return TaskOutput(self.loss(logits, batch.targets, packing), logits)


def one_token_each(packing: Packing) -> Packing:
    """The packing of one vector a sequence."""
    starts = torch.arange(
        packing.sequences + 1, dtype=torch.int32, device=packing.boundaries.device
    )
    zeros = torch.zeros_like(packing.positions_T[: packing.sequences])
    return Packing(starts, zeros, 1, packing.dropout_keys)


@torch.no_grad()
def batch_logits(
    model: Callable[[TaskBatch], TaskOutput],
    kind: str,
    features: Sequence[Feature],
    batch: TaskBatch,
    device: torch.device,
) -> dict[int, np.ndarray]:
    """The logits of each feature of a batch, by its index; shapes as `Task.answers` takes them."""
    logits = model(batch.to(device)).logits.cpu()
    per_token = kind in ("span", "tagging")
    counts = [
        features[number].tokens if per_token else len(features[number].ids)
        for number in batch.features
    ]
    rows = [part.numpy() for part in torch.split(logits, counts)]
    if kind == "choice":  # a logit for each option
        rows = [part[:, 0] for part in rows]
    elif not per_token:  # all logits of the one sequence
        rows = [part[0] for part in rows]
    return dict(zip(batch.features, rows))
