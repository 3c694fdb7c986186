"""The model on packed sequences: what a sequence sees, and what the sums mean."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.model import packing, pretraining
from pretrain.model.pretraining import PretrainingModel, initialise
from tests.unit.pretrain.model.examples import (
    PAD,
    RAGGED,
    VOCABULARY,
    random_batch,
    random_model,
    rows,
    tiny,
)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_packed_sequences_see_only_themselves(lengths):
    model, batch = random_model(tiny()).eval(), random_batch(lengths)
    with torch.no_grad():
        together = model.encode(batch)
        apart = torch.cat([model.encode(rows(batch, [row])) for row in range(len(lengths))])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_sums_add_up_over_micro_batches():
    model = random_model(tiny(architecture="bert", segment_types=2), next_sentence=True).eval()
    batch = random_batch()
    parts = [model(rows(batch, group)) for group in ([0, 2], [1, 3])]
    for whole, first, second in zip(model(batch), *parts):
        torch.testing.assert_close(whole, first + second, rtol=1e-5, atol=1e-5)


def test_label_zero_counts_like_any_other():
    model, batch = random_model(tiny()).eval(), random_batch()
    single = replace(batch, predicted_M=torch.tensor([5]), labels_M=torch.tensor([0]))
    with torch.no_grad():
        model.mlm_head.bias[0] += 1e3
        sums = model(single)
        model.mlm_head.bias[0] -= 2e3
        missed = model(single)
    assert (sums.mlm_correct, missed.mlm_correct) == (1, 0)
    assert sums.mlm_loss_sum < 1e-3 and missed.mlm_loss_sum > 100


def test_no_predicted_token_gives_zero_and_finite_gradients():
    model, none = random_model(tiny()), torch.zeros(0, dtype=torch.long)
    sums = model(replace(random_batch(), predicted_M=none, labels_M=none))
    sums.mlm_loss_sum.backward()
    assert [value.item() for value in sums[:4]] == [0, 0, 0, 0] and not sums.by_source.numel()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_without_nsp_head_its_sums_are_zero():
    sums = random_model(tiny())(random_batch())
    assert sums.nsp_loss_sum == 0 and sums.nsp_correct == 0


def test_one_segment_type_ignores_segments():
    model, batch = random_model(tiny()).eval(), random_batch()
    other = replace(batch, segments_T=torch.zeros_like(batch.segments_T))
    assert torch.equal(model.encode(batch), model.encode(other))


@pytest.mark.parametrize("lengths", [RAGGED, (8, 8)])
def test_bfloat16_stays_near_float32(lengths):
    model, batch = random_model(tiny()).eval(), random_batch(lengths)
    with torch.no_grad():
        exact, hidden = model(batch), model.encode(batch)
        with torch.autocast("cpu", torch.bfloat16):
            rough, rough_hidden = model(batch), model.encode(batch)
    assert rough.mlm_loss_sum.dtype == torch.float32
    torch.testing.assert_close(rough.mlm_loss_sum, exact.mlm_loss_sum, rtol=2e-2, atol=0.1)
    assert (rough_hidden - hidden).pow(2).mean().sqrt() < 2e-2


class TestInitialise:
    def model(self, seed=0, **choices):
        config = tiny(architecture="bert", segment_types=2)
        model = PretrainingModel(config, VOCABULARY, PAD, **{"next_sentence": True, **choices})
        initialise(model, config, seed)
        return model.state_dict()

    def test_values_do_not_depend_on_other_parameters(self):
        small, large = self.model(next_sentence=False), self.model()
        assert len(large) == len(small) + 4
        assert all(torch.equal(large[name], value) for name, value in small.items())

    def test_parameters_and_seeds_draw_differently(self):
        weights, other = self.model(), self.model(seed=1)
        layers = [weights[f"encoder.layers.{i}.qkv.weight"] for i in range(2)]
        assert not torch.equal(*layers)
        assert not torch.equal(layers[0], other["encoder.layers.0.qkv.weight"])

    def test_distribution(self):
        weights = self.model()
        word = weights["encoder.embeddings.word.weight"]
        assert word.std().item() == pytest.approx(0.02, rel=0.1)
        for name, value in weights.items():
            if value.dim() == 1:
                expected = 1.0 if name.endswith("norm.weight") else 0.0
                assert (value == expected).all(), name


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("recompute", [False, True])
def test_rounding_counts_up_changes_no_loss_and_no_gradient(monkeypatch, dropout, recompute):
    lengths = (89, 60, 83, 1)
    choices = {"dropout": dropout, "attention_dropout": dropout, "max_positions": 128}
    config = tiny(architecture="bert", segment_types=2, **choices)
    model = random_model(config, next_sentence=True).double()
    model.encoder.activation_checkpointing = recompute
    batch = random_batch(lengths, share=0.6)
    assert packing.rounded(sum(lengths)) > sum(lengths)
    assert packing.rounded(max(lengths), sizes=16) > max(lengths)
    assert packing.rounded(len(batch.labels_M)) > len(batch.labels_M)

    def learn() -> list[torch.Tensor]:
        model.zero_grad()
        sums = model(batch)
        (sums.mlm_loss_sum + sums.nsp_loss_sum).backward()
        return [*sums, *(parameter.grad for parameter in model.parameters())]

    rounded = learn()
    for module in (packing, pretraining):
        monkeypatch.setattr(module, "rounded", lambda count, sizes=32: count)
    for ours, exact in zip(rounded, learn(), strict=True):
        torch.testing.assert_close(ours, exact)
