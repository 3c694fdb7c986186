"""The decoder's cross entropy equals torch's, values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from pretrain.model import loss
from pretrain.model.loss import DecodedCrossEntropy, next_sentence_sums, rows_for
from pretrain.model.tied_embeddings import TiedGradient


@pytest.fixture(
    params=[(1024, 0), (4, 0), (4, 3), (1024, 97), (None, 0), (None, 97)],
    ids=["one part", "parts", "parts, aligned", "one, aligned", "rows", "rows, aligned"],
)
def parts(request, monkeypatch):
    """Words of a part, or whole rows, as a GPU takes them; and rows of the decoder that are no
    words, as it has for alignment."""
    size, more = request.param
    monkeypatch.setattr(loss, "takes_parts", lambda _: size is not None)
    monkeypatch.setattr(loss, "WORDS_CPU", size)
    monkeypatch.setattr(loss, "rows_for", lambda _, words: words + more)


def decoder(rows: int, words: int, width: int = 6) -> tuple[torch.Tensor, ...]:
    """Hidden states, word embeddings, bias; labels."""
    torch.manual_seed(0)
    shapes = ((rows, width), (words, width), (words,))
    parts = (torch.randn(shape).requires_grad_() for shape in shapes)
    return (*parts, torch.randint(0, words, (rows,)))


def loss_of(*parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return DecodedCrossEntropy.apply(*parts, TiedGradient())


@pytest.mark.parametrize("bf16", [False, True])
def test_values_and_gradients_are_those_of_torch(parts, bf16):
    hidden, word, bias, labels = decoder(23, 31)
    logits = F.linear(hidden, word, bias)
    expected = F.cross_entropy(logits, labels, reduction="sum")
    gradients = torch.autograd.grad(expected / 7, (hidden, word, bias))

    tied = TiedGradient()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        sums, correct = DecodedCrossEntropy.apply(hidden, word, bias, labels, tied)
    (sums / 7).backward()
    ours = (hidden.grad, tied.collect(word), bias.grad)
    near = {"rtol": 2e-2, "atol": 2e-2} if bf16 else {"rtol": 1e-5, "atol": 1e-5}
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, expected, **near)
    for mine, theirs in zip(ours, gradients):
        torch.testing.assert_close(mine, theirs, **near)
    assert bf16 or correct == (logits.argmax(-1) == labels).sum()


def test_rows_beyond_the_labels_do_not_count(parts):
    hidden, word, bias, labels = decoder(25, 31)
    tied = TiedGradient()
    sums, correct = DecodedCrossEntropy.apply(hidden, word, bias, labels[:24], tied)
    sums.backward()
    logits = F.linear(hidden[:24], word, bias)
    expected = F.cross_entropy(logits, labels[:24], reduction="sum")
    torch.testing.assert_close(sums, expected)
    gradients = torch.autograd.grad(expected, (hidden, word, bias))
    for mine, theirs in zip((hidden.grad, tied.collect(word), bias.grad), gradients):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    assert correct == (logits.argmax(-1) == labels[:24]).sum()


def test_counts_correct_predictions(parts):
    labels = torch.tensor([0, 1, 2, 0, 0])
    eye = torch.eye(5)
    assert loss_of(eye, eye, torch.zeros(5), labels)[1] == 3


def test_of_equal_logits_the_first_is_predicted(parts):
    same, labels = torch.zeros(4, 3), torch.tensor([0, 1, 4, 0])
    assert loss_of(same, torch.zeros(5, 3), torch.zeros(5), labels)[1] == 2


@pytest.mark.parametrize("ascending", [True, False])
def test_large_logits_neither_overflow_nor_vanish(parts, ascending):
    """The highest logit of a row may stand in the first part or in the last."""
    bias = torch.linspace(-3e3, 3e3, 11) * (1 if ascending else -1)
    hidden, word, _, labels = decoder(11, 11)
    rows = [x.detach().requires_grad_() for x in (hidden, word, bias)]
    expected = F.cross_entropy(F.linear(*rows), labels, reduction="sum")
    gradients = torch.autograd.grad(expected, rows)

    tied = TiedGradient()
    sums, _ = DecodedCrossEntropy.apply(*rows, labels, tied)
    sums.backward()
    torch.testing.assert_close(sums, expected)
    for mine, theirs in zip((rows[0].grad, tied.collect(word), rows[2].grad), gradients):
        torch.testing.assert_close(mine, theirs)


def test_nothing_to_predict_gives_zeros_and_no_nan(parts):
    hidden, word, bias, labels = decoder(0, 9)
    sums, correct = loss_of(hidden, word, bias, labels)
    sums.backward()
    assert sums == 0 and correct == 0 and hidden.grad.shape == (0, 6) and not bias.grad.any()


def test_second_backward_gives_the_same(parts):
    hidden, *rest = decoder(4, 9)
    sums, _ = loss_of(hidden, *rest)
    (sums / 2).backward(retain_graph=True)
    once = hidden.grad.clone()
    (sums / 2).backward()
    torch.testing.assert_close(hidden.grad, 2 * once)


def test_unlabelled_pairs_do_not_count():
    logits = torch.tensor([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    sums, correct = next_sentence_sums(logits, torch.tensor([0, 0, -100]))
    assert correct == 1
    assert sums.item() == pytest.approx(4 + 2 * 0.01815, abs=1e-4)


@pytest.mark.parametrize("words", [8, 1000, 8192, 30522, 50265])
def test_rows_of_logits_are_aligned_on_cuda(words):
    rows = rows_for("cuda", words)
    assert rows % 128 == 0 and 0 <= rows - words < 128 and rows_for("cpu", words) == words
