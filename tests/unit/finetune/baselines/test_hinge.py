"""Hinge losses, worked by hand, and their gradients."""

from __future__ import annotations

import pytest
import torch

from finetune.baselines.hinge import binary_hinge, multiclass_hinge

SCORES = torch.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
CLASSES = torch.tensor([0, 1, 2])
LOSSES = [2.9, 0.0, 12.9]


@pytest.mark.parametrize("row", range(3))
def test_three_images_of_cat_car_and_frog(row):
    """The example of Stanford's CS231n."""
    loss = multiclass_hinge(SCORES[row : row + 1], CLASSES[row : row + 1])
    assert float(loss) == pytest.approx(LOSSES[row], abs=1e-5)


def test_the_loss_of_a_batch_is_the_mean():
    assert float(multiclass_hinge(SCORES, CLASSES)) == pytest.approx(15.8 / 3, abs=1e-5)


def test_the_multiclass_loss_as_its_definition_says():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 5, generator=generator).double()
    classes = torch.randint(0, 5, (50,), generator=generator)
    expected = sum(
        max(0.0, float(row[j] - row[y]) + 1)
        for row, y in zip(scores, classes.tolist())
        for j in range(5)
        if j != y
    )
    assert float(multiclass_hinge(scores, classes)) == pytest.approx(expected / 50)


@pytest.mark.parametrize(
    ("score", "sign", "loss"), [(2.0, 1, 0.0), (0.25, 1, 0.75), (0.5, -1, 1.5), (-3.0, -1, 0.0)]
)
def test_binary_hinge(score, sign, loss):
    assert float(binary_hinge(torch.tensor([score]), torch.tensor([sign]))) == loss


def test_binary_hinge_is_a_mean():
    scores, signs = torch.tensor([0.25, 0.5]), torch.tensor([1, -1])
    assert float(binary_hinge(scores, signs)) == pytest.approx((0.75 + 1.5) / 2)


def test_gradients_away_from_the_kinks():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    classes, signs = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([1, -1, 1, -1, 1, -1])
    assert torch.autograd.gradcheck(lambda s: multiclass_hinge(s, classes), scores)
    single = scores[:, 0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: binary_hinge(s, signs), single)
