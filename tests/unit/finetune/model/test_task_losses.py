"""Summed losses divided by their weights are PyTorch's own means, however a batch is split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from configs.finetune_schema import HeadConfig
from finetune.model.task_model import TaskLoss, balanced_weights, focal_loss, span_loss
from pretrain.model.loss import IGNORED
from pretrain.model.packing import Packing

LENGTHS = (5, 1, 9, 3)
CLASSES = 4
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0])


def packing_of(lengths=LENGTHS) -> Packing:
    boundaries = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    positions = torch.cat([torch.arange(length) for length in lengths])
    return Packing(boundaries, positions, max(lengths), ())


def quotient(loss: TaskLoss, logits, targets, packing=None) -> torch.Tensor:
    return loss(logits, targets, packing or packing_of()) / loss.weight(targets)


def random_logits(rows: int, columns: int = CLASSES) -> torch.Tensor:
    torch.manual_seed(0)
    return (2 * torch.randn(rows, columns)).requires_grad_()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["classification", "tagging"])
def test_cross_entropy_is_torchs_weighted_mean(kind, smoothing, weights):
    logits, targets = random_logits(11), torch.tensor([0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 1])
    if kind == "tagging":
        targets[[0, 4, 10]] = IGNORED
    loss = TaskLoss(kind, HeadConfig(label_smoothing=smoothing), weights)
    expected = F.cross_entropy(logits, targets, weights, label_smoothing=smoothing)
    ours = quotient(loss, logits, targets)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, logits)[0] for value in (ours, expected))
    )


def test_class_weights_decide_what_a_target_weighs():
    targets = torch.tensor([0, 1, 1, IGNORED])
    assert TaskLoss("tagging", HeadConfig(), WEIGHTS).weight(targets) == 4.5
    assert TaskLoss("tagging", HeadConfig()).weight(targets) == 3
    assert TaskLoss("choice", HeadConfig()).weight(torch.tensor([2, 0])) == 2
    assert TaskLoss("regression", HeadConfig()).weight(torch.zeros(5)) == 5
    assert TaskLoss("span", HeadConfig()).weight(torch.zeros(6)) == 3


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_loss_without_gamma_is_cross_entropy(weights):
    logits, targets = random_logits(9), torch.arange(9) % CLASSES
    expected = F.cross_entropy(logits, targets, weights, reduction="sum")
    torch.testing.assert_close(focal_loss(logits, targets, 0.0, weights), expected)


def test_focal_loss_by_its_formula():
    logits, targets = random_logits(9), torch.arange(9) % CLASSES
    right = logits.softmax(1)[torch.arange(9), targets]
    expected = (-WEIGHTS[targets] * (1 - right) ** 2.5 * right.log()).sum()
    loss = TaskLoss("classification", HeadConfig(loss="focal", focal_gamma=2.5), WEIGHTS)
    torch.testing.assert_close(loss(logits, targets, packing_of()), expected)
    mean = expected / WEIGHTS[targets].sum()
    torch.testing.assert_close(quotient(loss, logits, targets), mean)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_a_certain_example_gives_focal_loss_a_finite_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 1.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 1]), gamma, None).backward()
    assert logits.grad.isfinite().all()


def test_regression_is_the_mean_square():
    logits, targets = random_logits(7, 1), torch.linspace(-1, 5, 7)
    loss = TaskLoss("regression", HeadConfig())
    torch.testing.assert_close(quotient(loss, logits, targets), F.mse_loss(logits[:, 0], targets))


def test_choice_is_the_cross_entropy_over_options():
    logits, targets = random_logits(12, 1), torch.tensor([3, 0, 1])
    loss = TaskLoss("choice", HeadConfig())
    expected = F.cross_entropy(logits.reshape(3, 4), targets)
    torch.testing.assert_close(quotient(loss, logits, targets), expected)


def test_span_loss_is_the_mean_of_both_ends_over_own_places_only():
    logits = random_logits(sum(LENGTHS), 2)
    targets = torch.tensor([[1, 4], [0, 0], [8, 8], [0, 2]])
    parts = logits.split(LENGTHS)
    ends = [
        F.cross_entropy(part[None, :, side], pair[None, side])
        for part, pair in zip(parts, targets)
        for side in (0, 1)
    ]
    loss = TaskLoss("span", HeadConfig())
    ours = quotient(loss, logits, targets.flatten())
    torch.testing.assert_close(ours, torch.stack(ends).mean())
    torch.testing.assert_close(span_loss(logits, targets, packing_of()), 4 * ours)
    (gradient,) = torch.autograd.grad(ours, logits)
    assert gradient.isfinite().all() and gradient[:3].abs().sum() > 0


SPLITS = [(4,), (1, 3), (2, 2), (1, 1, 1, 1)]
PER_SEQUENCE = {"classification": 1, "regression": 1, "choice": 1, "span": 2}


@pytest.mark.parametrize("parts", SPLITS)
@pytest.mark.parametrize("kind", ["classification", "regression", "choice", "tagging", "span"])
def test_any_split_of_a_batch_gives_the_same_sums(kind, parts):
    weights = WEIGHTS if kind in ("classification", "tagging") else None
    loss = TaskLoss(kind, HeadConfig(label_smoothing=0.1), weights)
    rows = {"tagging": LENGTHS, "span": LENGTHS, "choice": (3, 3, 3, 3)}.get(kind, (1, 1, 1, 1))
    counts = rows if kind == "tagging" else [PER_SEQUENCE[kind]] * 4
    columns = {"span": 2, "choice": 1, "regression": 1}.get(kind, CLASSES)
    logits = random_logits(sum(rows), columns)
    targets = torch.zeros(sum(counts)) if kind == "regression" else torch.zeros(sum(counts)).long()
    if kind in ("classification", "tagging"):
        targets = torch.arange(sum(counts)) % CLASSES
    whole = loss(logits, targets, packing_of()), loss.weight(targets)
    pieces, first = [], 0
    for number in parts:
        chosen = slice(first, first + number)
        before, here = sum(rows[:first]), sum(rows[chosen])
        passed, own = sum(counts[:first]), sum(counts[chosen])
        part = targets[passed : passed + own]
        packing = packing_of(LENGTHS[chosen])
        pieces.append((loss(logits[before : before + here], part, packing), loss.weight(part)))
        first += number
    total, weight = (sum(column) for column in zip(*pieces))
    torch.testing.assert_close(total, whole[0])
    assert weight == pytest.approx(whole[1])


def test_balanced_weights_are_those_of_scikit_learn():
    targets = np.random.default_rng(0).choice(CLASSES, 200, p=[0.6, 0.2, 0.15, 0.05])
    expected = compute_class_weight("balanced", classes=np.arange(CLASSES), y=targets)
    weights = balanced_weights(targets.tolist(), CLASSES)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_a_class_without_examples_weighs_nothing():
    assert balanced_weights([0, 0, 2], 3).tolist() == [0.5, 0.0, 1.0]
