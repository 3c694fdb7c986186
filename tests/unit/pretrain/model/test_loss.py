"""The summed cross entropy equals torch's, values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from pretrain.model import loss
from pretrain.model.loss import SummedCrossEntropy, next_sentence_sums


@pytest.fixture(params=[2**20, 64], ids=["one part", "many parts"])
def parts(request, monkeypatch):
    monkeypatch.setattr(loss, "ELEMENTS_CPU", request.param)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_values_and_gradients_are_those_of_torch(parts, dtype, tolerance):
    torch.manual_seed(0)
    logits = (3 * torch.randn(23, 31)).to(dtype).requires_grad_()
    labels = torch.randint(0, 31, (23,))
    expected = F.cross_entropy(logits.float(), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(expected / 7, logits)

    sums, correct = SummedCrossEntropy.apply(logits.clone(), labels)
    (ours,) = torch.autograd.grad(sums / 7, logits)
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, expected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(ours, gradient, rtol=tolerance, atol=tolerance / 10)
    assert correct == (logits.argmax(-1) == labels).sum()


def test_counts_correct_predictions(parts):
    logits = torch.eye(5).requires_grad_()
    assert SummedCrossEntropy.apply(logits * 2, torch.tensor([0, 1, 2, 0, 0]))[1] == 3


def test_nothing_to_predict_gives_zeros_and_no_nan():
    logits = torch.zeros(0, 9, requires_grad=True)
    sums, correct = SummedCrossEntropy.apply(logits * 1, torch.zeros(0, dtype=torch.long))
    sums.backward()
    assert sums == 0 and correct == 0 and logits.grad.shape == (0, 9)


def test_logits_stay_whole_where_no_gradient_is_wanted():
    logits = torch.randn(4, 9)
    before = logits.clone()
    SummedCrossEntropy.apply(logits, torch.tensor([0, 1, 2, 3]))
    assert torch.equal(logits, before)


def test_second_backward_is_refused_not_wrong():
    logits = torch.randn(4, 9, requires_grad=True)
    sums, _ = SummedCrossEntropy.apply(logits * 1, torch.tensor([0, 1, 2, 3]))
    (sums / 2).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="inplace"):
        sums.backward()


def test_unlabelled_pairs_do_not_count():
    logits = torch.tensor([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    sums, correct = next_sentence_sums(logits, torch.tensor([0, 0, -100]))
    assert correct == 1
    assert sums.item() == pytest.approx(4 + 2 * 0.01815, abs=1e-4)
