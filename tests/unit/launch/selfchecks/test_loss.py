"""The check of the loss passes what is right, and notices what is wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from launch.selfchecks import loss
from pretrain.model import tied_embeddings
from pretrain.model.softmax import softmax_
from pretrain.model.tied_embeddings import TiedGradient

PRECISIONS = ["fp32", "bf16"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(loss, "VOCABULARY", 3000)
    monkeypatch.setattr(loss, "SIZES", {"cpu": (64, 32, 500)})


def failed() -> set[str]:
    bench = SimpleNamespace(device=torch.device("cpu"), precisions=PRECISIONS)
    return {finding.check for finding in loss.check(bench) if finding.state == "FAILED"}


def test_what_is_right_passes():
    assert failed() == set()


def test_a_wrong_compiled_softmax_fails(monkeypatch):
    def halved(logits, labels):
        losses, correct = softmax_(logits, labels)
        return losses / 2, correct

    monkeypatch.setattr("pretrain.model.loss.takes_parts", lambda _: False)
    device, name = torch.device("cpu"), "bf16, compiled"
    inputs = loss.Inputs.make(device)
    exact = loss.computed(loss.plain_sums, inputs, torch.float64)
    for has_triton, softmax, state in (
        (False, softmax_, "skipped"),
        (True, softmax_, "ok"),
        (True, halved, "FAILED"),
    ):
        monkeypatch.setattr(loss, "find_spec", lambda _, found=has_triton: found or None)
        monkeypatch.setattr(loss, "compiled_softmax", lambda way=softmax: way)
        found = {x.check: x.state for x in loss.compiled("bf16", inputs, exact, device)}
        assert found[f"loss {name}"] == state


def in_all(*checks: str) -> set[str]:
    return {f"{check} {precision}" for check in checks for precision in PRECISIONS}


own = loss.our_sums


def too_high(*inputs):
    total, correct = own(*inputs)
    return 1.2 * total, correct


def short_of_words(hidden, word, bias, labels):
    bias = torch.cat([bias[:2500], torch.full_like(bias[2500:], -50.0)])
    return own(hidden, word, bias, labels)


def miscounted(*inputs):
    total, correct = own(*inputs)
    return total, correct + 3


def steep(hidden, *rest):
    # The same values, and a gradient of hidden states that is 5 % too large.
    return own(hidden.detach() + 1.05 * (hidden - hidden.detach()), *rest)


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        (too_high, in_all("loss", "gradients")),
        (short_of_words, in_all("gradients")),
        (miscounted, in_all("correct predictions")),
        (steep, in_all("gradients")),
    ],
)
def test_a_wrong_loss_fails(broken, failing, monkeypatch):
    monkeypatch.setattr(loss, "our_sums", broken)
    assert failing <= failed()


def test_a_repeated_word_that_is_added_once_fails(monkeypatch):
    def overwrite(target, rows, values):
        target[rows] = values

    monkeypatch.setattr(tied_embeddings, "add_rows", overwrite)
    assert {"gradient of looked-up words", "tied embeddings' gradient"} <= failed()


def test_a_decoder_whose_gradient_is_lost_fails(monkeypatch):
    monkeypatch.setattr(TiedGradient, "leave", lambda *_: None)
    assert failed() == {"tied embeddings' gradient"}
