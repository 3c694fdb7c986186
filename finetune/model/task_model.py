"""An encoder with a task's head (BERT, figure 4): flat micro-batches in, dealt to steps and ranks
as in pretraining; logits and a summed loss out, to be divided by a global weight (law 2).

Axes: T tokens, B sequences, D hidden size, C outputs, L longest sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from configs.errors import InputError
from configs.finetune_schema import HeadConfig
from configs.schema import ResolvedBatchConfig
from finetune.tasks.task import Feature
from pretrain.batch import MicroBatch
from pretrain.data.batches import Steps, equal_parts
from pretrain.data.prefetch import prefetched
from pretrain.model.dropout import Dropout
from pretrain.model.encoder import SITES_PER_LAYER, Encoder
from pretrain.model.loss import IGNORED
from pretrain.model.packing import Gather, Packing
from pretrain.randomness import Purpose, keys_64, permutation
from pretrain.ranks.world import World

PER_TOKEN = ("span", "tagging")
"""kinds of tasks whose head judges every token"""
MAX_OPTIONS = 64
"""dropout keys number the sequences of a feature below this"""


@dataclass(frozen=True, kw_only=True)
class TaskBatch(MicroBatch):
    """Some features, laid end to end; no token is predicted."""

    WIDE: ClassVar[tuple[str, ...]] = (*MicroBatch.WIDE, "targets")
    targets: Tensor
    """the features' targets, concatenated"""
    features: tuple[int, ...]
    """which features these are, by index"""


class TaskBatches(Steps[TaskBatch]):
    """The training features as a function of the step; an epoch is a permutation of all."""

    def __init__(self, features: Sequence[Feature], batch: ResolvedBatchConfig, seed: int) -> None:
        self.features, self.batch, self.seed = features, batch, seed
        self.lengths = np.array([feature.tokens for feature in features])
        self.steps_per_epoch = -(-len(features) // batch.sequences)
        self.tokens_per_epoch = int(self.lengths.sum())

    def step(self, step: int, rank: int = 0, world_size: int = 1) -> list[TaskBatch]:
        """The micro-batches that `rank` computes in `step` (from 0), alike in length."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = permutation(self.seed, Purpose.SAMPLE_ORDER, epoch, len(self.features))
        # Steps of an epoch differ by one example at most: a last step of a few would have a
        # gradient of its own kind, and as much say as any other.
        chosen = np.array_split(order, self.steps_per_epoch)[within]
        examples = len(chosen)
        if examples < world_size:
            raise InputError(
                f"a step holds {examples} example{'s' if examples > 1 else ''}, too few for "
                f"{world_size} ranks: raise batch.sequences, give more examples, or use fewer ranks"
            )
        # As many for every rank, and none without an example.
        most = examples - examples % world_size
        number = min(self.batch.micro_batches(world_size), most)
        parts = micro_batches(chosen, self.lengths, number)
        return [collate(self.features, part, self.seed, step) for part in parts[rank::world_size]]


def micro_batches(chosen: np.ndarray, lengths: np.ndarray, parts: int) -> list[np.ndarray]:
    """The chosen features in `parts` groups of about equal tokens, alike in length."""
    by_length = chosen[np.argsort(lengths[chosen], kind="stable")]
    bounds = equal_parts(lengths[by_length], parts)
    return [by_length[a:b] for a, b in zip(bounds, bounds[1:])]


def evaluation_batches(
    features: Sequence[Feature], sequences: int, rank: int = 0, world_size: int = 1
) -> Iterator[TaskBatch]:
    """`rank`'s share of all features, `sequences` at a time, alike in length."""
    # Alike in length, for little padding where a kernel pads; the answers are put back in order by
    # their numbers.
    lengths = np.array([feature.tokens for feature in features])
    order = np.argsort(lengths, kind="stable")
    for start in range(rank * sequences, len(order), world_size * sequences):
        yield collate(features, order[start : start + sequences], seed=0, step=0)


def collate(features: Sequence[Feature], chosen: np.ndarray, seed: int, step: int) -> TaskBatch:
    """The chosen features end to end; `step` keys the dropout of each of their sequences."""
    picked = [features[number] for number in chosen]
    sequences = [ids for feature in picked for ids in feature.ids]
    # Dropout is keyed by the example, not by its place in the batch: ranks and accumulation then
    # change nothing. Options of one example are sequences of their own, with keys of their own.
    numbers = [
        MAX_OPTIONS * int(number) + option
        for number, feature in zip(chosen, picked)
        for option in range(len(feature.ids))
    ]
    lengths = np.array([len(ids) for ids in sequences])
    boundaries = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.concatenate(sequences)
    none = torch.zeros(0, dtype=torch.int64)
    segments = np.concatenate([s for f in picked for s in f.segments])
    return TaskBatch(
        tokens_T=torch.from_numpy(tokens),
        positions_T=torch.from_numpy(np.arange(len(tokens)) - np.repeat(boundaries[:-1], lengths)),
        segments_T=torch.from_numpy(segments) if segments.any() else None,
        boundaries=torch.from_numpy(boundaries.astype(np.int32)),
        longest=int(lengths.max()),
        predicted_M=none,
        labels_M=none,
        next_sentence_B=none,
        sample_ids=tuple(numbers),
        dropout_keys=tuple(keys_64(seed, Purpose.DROPOUT, step, np.array(numbers)).tolist()),
        targets=torch.from_numpy(np.concatenate([feature.targets for feature in picked])),
        features=tuple(chosen.tolist()),
    )


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


class TaskLoss(nn.Module):
    """Summed loss of a micro-batch's logits.

    Args:
        kind: the task's.
        class_weights: float32 (C), or None where all classes weigh 1.
    """

    class_weights: Tensor | None

    def __init__(self, kind: str, config: HeadConfig, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.kind, self.config = kind, config
        self.register_buffer("class_weights", class_weights, persistent=False)
        # Targets are counted on the host, which need not fetch the buffer for each micro-batch.
        self._host_weights = class_weights

    def forward(self, logits: Tensor, targets: Tensor, packing: Packing) -> Tensor:
        """A float32 scalar."""
        if self.kind == "regression":
            return (logits[:, 0] - targets).square().sum()
        if self.kind == "span":
            return span_loss(logits, targets.view(-1, 2), packing)
        if self.kind == "choice":
            return F.cross_entropy(logits.view(len(targets), -1), targets, reduction="sum")
        if self.config.loss == "focal":
            return focal_loss(logits, targets, self.config.focal_gamma, self.class_weights)
        return F.cross_entropy(
            logits,
            targets,
            self.class_weights,
            ignore_index=IGNORED,
            label_smoothing=self.config.label_smoothing,
            reduction="sum",
        )

    def weight(self, targets: Tensor) -> float:
        """What the targets add to the divisor: their number, or the sum of their classes' weights.

        With class weights this makes the quotient PyTorch's weighted mean.
        """
        if self.kind == "span":
            return len(targets) / 2
        if self.kind == "regression":
            return float(len(targets))
        counted = targets[targets != IGNORED]
        if self._host_weights is None:
            return float(len(counted))
        return float(self._host_weights[counted].sum())


def focal_loss(
    logits_BC: Tensor, targets_B: Tensor, gamma: float, weights: Tensor | None
) -> Tensor:
    """Cross entropy times (1 - p)^gamma, p the right class's probability (Lin et al., 2017)."""
    entropy_B = F.cross_entropy(logits_BC, targets_B, reduction="none")
    # 1 - p by expm1, which keeps its digits where p is close to 1: the easy examples that the
    # factor is there to weigh down. Where p is 1, a gamma below 1 would have an infinite slope.
    wrong_B = (-torch.expm1(-entropy_B)).clamp(min=torch.finfo(entropy_B.dtype).tiny)
    weighted_B = entropy_B * wrong_B**gamma
    return (weighted_B if weights is None else weighted_B * weights[targets_B]).sum()


def span_loss(logits_T2: Tensor, targets_B2: Tensor, packing: Packing) -> Tensor:
    """Mean of the start's and the end's cross entropy over a sequence's places, summed over B."""
    # Places past a sequence's end must not take part in its softmax.
    padded_BL2 = packing.pad(logits_T2) + packing.score_bias_BL[..., None]
    start, end = (
        F.cross_entropy(padded_BL2[..., side], targets_B2[:, side], reduction="sum")
        for side in (0, 1)
    )
    return (start + end) / 2


def balanced_weights(targets: Sequence[int], classes: int) -> Tensor:
    """n / (classes x count) of each class, as scikit-learn's `balanced`; float32 (C).

    Classes without an example weigh 0.
    """
    counts = np.bincount(targets, minlength=classes)
    weights = np.divide(len(targets), classes * counts, where=counts > 0, out=np.zeros(classes))
    return torch.from_numpy(weights).float()


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
        head = TokenHead if self.kind in PER_TOKEN else SequenceHead
        self.head = head(width, outputs, loss.config, first_site)

    def forward(self, batch: TaskBatch) -> TaskOutput:
        """Summed loss and logits of a micro-batch."""
        packing = Packing.of(batch)
        logits = self.head(self.encoder(batch), packing).float()
        return TaskOutput(self.loss(logits, batch.targets, packing), logits)


def one_token_each(packing: Packing) -> Packing:
    """The packing of one vector a sequence."""
    device = packing.boundaries.device
    starts = torch.arange(packing.sequences + 1, dtype=torch.int32, device=device)
    zeros = torch.zeros_like(packing.positions_T[: packing.sequences])
    return Packing(starts, zeros, 1, packing.dropout_keys)


@torch.no_grad()
def compute_logits(
    model: Callable[[TaskBatch], TaskOutput],
    kind: str,
    features: Sequence[Feature],
    sequences: int,
    world: World,
) -> list[np.ndarray]:
    """The logits of every feature, in order, on every rank; ranks share the work.

    Args:
        sequences: features that are computed at a time.
    Returns:
        Shapes as `Task.answers` takes them.
    """
    own: dict[int, np.ndarray] = {}
    per_token = kind in PER_TOKEN
    batches = evaluation_batches(features, sequences, world.rank, world.size)
    for batch in prefetched(batch.ready_for(world.device) for batch in batches):
        chosen = [features[number] for number in batch.features]
        logits = model(batch.to(world.device)).logits.cpu()
        counts = [feature.tokens if per_token else len(feature.ids) for feature in chosen]
        rows = [part.numpy() for part in torch.split(logits, counts)]
        if kind == "choice":  # a logit for each option
            rows = [part[:, 0] for part in rows]
        elif not per_token:  # all logits of the one sequence
            rows = [part[0] for part in rows]
        own.update(zip(batch.features, rows))
    merged = {number: rows for part in world.gather(own) for number, rows in part.items()}
    return [merged[number] for number in range(len(features))]
