"""What was made fast gives what plain autograd gives: losses and all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.batch import MicroBatch
from pretrain.model.loss import DecodedCrossEntropy
from pretrain.model.packing import Packing
from pretrain.model.pretraining import PretrainingModel
from pretrain.model.tied_embeddings import LookUp, TiedGradient
from tests.unit.pretrain.model.examples import loss_of, random_batch, random_model, tiny


def plain_loss(model: PretrainingModel, batch: MicroBatch) -> Tensor:
    """Both objectives, every layer for every token, by torch's own functions alone."""
    parts, packing = model.encoder.embeddings, Packing.of(batch)
    hidden = parts.word(batch.tokens_T) + parts.position(batch.positions_T + parts.first_position)
    one_type = len(parts.segment.weight) == 1
    hidden = hidden + parts.segment(batch.segments_T * (not one_type))
    hidden = parts.dropout(parts.norm(hidden), packing)
    for layer in model.encoder.layers:
        hidden = layer(hidden, packing, "eager")
    logits = model.mlm_head(hidden[batch.predicted_M], parts.word.weight)
    loss = F.cross_entropy(logits.float(), batch.labels_M, reduction="sum")
    if model.nsp_head is not None:
        logits = model.nsp_head(hidden[batch.boundaries[:-1].long()])
        loss = loss + F.cross_entropy(logits.float(), batch.next_sentence_B, reduction="sum")
    return loss


def gradients(model: PretrainingModel, loss, bf16: bool = False) -> dict[str, Tensor]:
    """The loss and every gradient, over two micro-batches."""
    model.zero_grad()
    total = torch.zeros(())
    for seed in (1, 2):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(model, random_batch(seed=seed))
        (value / 7).backward()
        total += value.detach()
    return {"loss": total, **{name: p.grad for name, p in model.named_parameters()}}


@pytest.fixture(params=[False, True], ids=["mlm", "mlm+nsp"])
def model(request):
    """Dropout is on: its masks belong to samples, so both paths drop the same."""
    kind = {"architecture": "bert", "segment_types": 2} if request.param else {}
    config = tiny(dropout=0.1, attention_dropout=0.1, layers=3, **kind)
    return random_model(config, request.param).train()


def test_float32_is_equal(model):
    plain, ours = gradients(model, plain_loss), gradients(model, loss_of)
    for name, value in plain.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-4, msg=name)


def test_bfloat16_errs_no_more_than_plain_bfloat16(model):
    exact = gradients(model, plain_loss)
    plain, ours = (gradients(model, f, bf16=True) for f in (plain_loss, loss_of))

    def error(found: dict[str, Tensor]) -> float:
        return sum((found[name] - exact[name]).square().sum().item() for name in exact) ** 0.5

    assert 0 < error(ours) < 1.25 * error(plain)


def test_several_decoders_share_one_look_up():
    word, bias = torch.randn(9, 4, requires_grad=True), torch.randn(9, requires_grad=True)
    tokens, labels, tied = torch.tensor([1, 2, 2, 5]), torch.tensor([3, 0, 2, 8]), TiedGradient()
    rows = LookUp.apply(word, tokens, tied)
    losses = [DecodedCrossEntropy.apply(x, word, bias, labels, tied)[0] for x in (rows, rows * 2)]
    (losses[0] + losses[1] / 3).backward()

    again = F.embedding(tokens, word)
    plain = [
        F.cross_entropy(F.linear(x, word, bias), labels, reduction="sum")
        for x in (again, again * 2)
    ]
    expected = torch.autograd.grad(plain[0] + plain[1] / 3, (word, bias))
    for ours, theirs in zip((word.grad, bias.grad), expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def curve(loss, steps: int = 60) -> Tensor:
    """Losses of `steps` steps of AdamW on four micro-batches in turn, with dropout."""
    model = random_model(tiny(dropout=0.1, attention_dropout=0.1)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batches, losses = [random_batch(seed=seed) for seed in range(4)], []
    for step in range(steps):
        batch = batches[step % 4]
        value = loss(model, batch) / len(batch.labels_M)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    return torch.stack(losses)


def test_the_curve_of_60_steps_is_the_same():
    plain, ours = curve(plain_loss), curve(loss_of)
    assert plain[-1] < 0.7 * plain[0], "it has learnt something"
    torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-3)
