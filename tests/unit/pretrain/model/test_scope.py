"""Windows, documents and distances against a loop over tokens, and ModernBERT's own edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pretrain.model.attention import attend
from pretrain.model.dropout import AttentionDropout, draw_kept, threshold
from pretrain.model.encoder import Encoder
from pretrain.model.packing import Packing
from pretrain.model.scope import WHOLE, Blocks, Scope, scopes_of, seen_pairs, slopes
from tests.unit.pretrain.model.examples import PAD, VOCABULARY, random_batch, random_model, tiny

HEADS, WIDTH, SITE = 3, 4, 5
SCOPES = [WHOLE, Scope(reach=3), Scope(alibi=True), Scope(reach=4, alibi=True)]
NO_DROPOUT = AttentionDropout(0.0, SITE)


def cut_randomly(lengths, rng) -> list[list[int]]:
    """Lengths of the documents of each sequence, one to four."""
    cut = []
    for n in lengths:
        inner = np.sort(rng.choice(np.arange(1, n), min(n - 1, rng.integers(0, 4)), replace=False))
        cut.append(np.diff([0, *inner, n]).tolist())
    return cut


def with_documents(batch, cut):
    lengths = [length for documents in cut for length in documents]
    bounds = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    return replace(batch, documents=bounds, longest_document=max(lengths))


def by_token(qkv_T3HK, cut, scope, factors=None):
    """One token at a time, from the definition; `factors` (H, n, n) of each sequence drop."""
    out, start = [], 0
    for row, documents in enumerate(cut):
        number = np.repeat(np.arange(len(documents)), documents)
        query, key, value = qkv_T3HK[start : start + len(number)].unbind(1)
        for i in range(len(number)):
            reach = len(number) if scope.reach is None else scope.reach
            seen = [j for j in range(len(number)) if number[j] == number[i] and abs(i - j) <= reach]
            scores = torch.einsum("hk,jhk->hj", query[i], key[seen]) / query.shape[-1] ** 0.5
            if scope.alibi:
                distance = torch.tensor([abs(i - j) for j in seen], dtype=qkv_T3HK.dtype)
                scores = scores - torch.tensor(slopes(query.shape[1]))[:, None] * distance
            weights = scores.softmax(-1)
            if factors is not None:
                weights = weights * factors[row][:, i, seen]
            out.append(torch.einsum("hj,jhk->hk", weights, value[seen]))
        start += len(number)
    return torch.stack(out)


def rows_of(qkv_T3HK, packing):
    return F.pad(qkv_T3HK, (0, 0, 0, 0, 0, 0, 0, packing.rows - packing.tokens))


def compare(batch, cut, scope, backend, dropout=NO_DROPOUT, factors=None):
    """Outputs and gradients of a backend and of the loop."""
    torch.manual_seed(0)
    packing = Packing.of(batch)
    shape = (packing.tokens, 3, HEADS, WIDTH)
    qkv = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    expected = by_token(qkv, cut, scope, factors)
    out = attend(rows_of(qkv, packing), packing, backend, dropout, scope)
    assert not out[packing.tokens :].any()
    torch.testing.assert_close(out[: packing.tokens], expected)
    direction = torch.randn_like(expected)
    (ours,) = torch.autograd.grad(out[: packing.tokens], qkv, direction)
    (theirs,) = torch.autograd.grad(expected, qkv, direction)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("documents", [False, True], ids=["sequences", "documents"])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_backends_compute_the_definition_and_its_gradient(scope, backend, documents):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        lengths = tuple(rng.integers(1, 24, 4).tolist()) if seed else (9, 9, 9)
        cut = cut_randomly(lengths, rng) if documents else [[n] for n in lengths]
        batch = random_batch(lengths)
        compare(with_documents(batch, cut) if documents else batch, cut, scope, backend)


@pytest.mark.parametrize("documents", [False, True], ids=["sequences", "documents"])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("alibi", [False, True], ids=["plain", "alibi"])
def test_long_sequences_are_computed_in_blocks(alibi, backend, documents, monkeypatch):
    monkeypatch.setattr("pretrain.model.scope.LEAST_BLOCK", 2)
    rng = np.random.default_rng(0)
    lengths = (61, 5, 40)
    assert Blocks.of(Scope(reach=4), 61) == Blocks(16, 4, is_banded=True)
    cut = cut_randomly(lengths, rng) if documents else [[n] for n in lengths]
    batch = random_batch(lengths)
    compare(with_documents(batch, cut) if documents else batch, cut, Scope(4, alibi=alibi), backend)


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_dropout_stays_that_of_the_sequence(scope):
    lengths, rate = (11, 40, 7), 0.3
    cut = cut_randomly(lengths, np.random.default_rng(1))
    batch = with_documents(random_batch(lengths), cut)
    dropped = threshold(rate)
    factors = []
    for n, key in zip(lengths, batch.dropout_keys):
        kept = torch.empty(HEADS, n, n, dtype=torch.uint8)
        draw_kept(kept, dropped, key, SITE)
        factors.append(kept.double() * 256 / (256 - dropped))
    compare(batch, cut, scope, "eager", AttentionDropout(rate, SITE), factors)


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (1, [2**-8]),
        (8, [2.0**-i for i in range(1, 9)]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
        (12, [*(2.0**-i for i in range(1, 9)), 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]),
    ],
)
def test_slopes_are_those_of_the_paper_and_its_code(heads, expected):
    assert slopes(heads) == pytest.approx(expected)


def test_every_nth_layer_is_global():
    config = tiny(layers=7, attention_window=6, global_every=3)
    assert [scope.reach for scope in scopes_of(config)] == [None, 3, 3, None, 3, 3, None]
    assert scopes_of(tiny()) == [WHOLE, WHOLE]
    both = scopes_of(tiny(attention_window=6, position="alibi"))
    assert both == [Scope(alibi=True), Scope(reach=3, alibi=True)]


def test_local_layers_have_a_theta_of_their_own():
    rope = {"position": "rope", "layers": 3, "attention_window": 6, "global_every": 2}
    model = random_model(tiny(**rope, rope_local_theta=50.0))
    assert [layer.theta for layer in model.encoder.layers] == [10_000.0, 50.0, 10_000.0]
    assert {layer.theta for layer in random_model(tiny(**rope)).encoder.layers} == {10_000.0}


@pytest.mark.parametrize("local", [None, 50.0])
def test_another_theta_is_that_of_a_model_made_with_it(local):
    rope = {"position": "rope", "layers": 3, "attention_window": 6, "rope_local_theta": local}
    model, batch = random_model(tiny(**rope)).eval(), random_batch()
    before = model.encode(batch)
    model.encoder.set_rope_theta(70.0)
    other = random_model(tiny(**rope, rope_theta=70.0)).eval()
    assert torch.equal(model.encode(batch), other.encode(batch))
    assert not torch.allclose(model.encode(batch), before)


def test_models_without_rotations_have_no_theta():
    model = random_model(tiny())
    model.encoder.set_rope_theta(70.0)
    assert {layer.theta for layer in model.encoder.layers} == {None}


def test_pairs_are_those_that_a_mask_holds():
    lengths = np.array([1, 2, 5, 11])
    for reach in (None, 1, 4, 20):
        pairs = 0
        for n in lengths:
            i, j = np.indices((n, n))
            pairs += int((abs(i - j) <= (n if reach is None else reach)).sum())
        assert seen_pairs(lengths, reach) == pairs


def test_the_window_is_modernberts():
    modeling = pytest.importorskip("transformers.models.modernbert.modeling_modernbert")
    config = modeling.ModernBertConfig(local_attention=8, num_hidden_layers=2)
    config._attn_implementation = "eager"
    hidden = torch.zeros(1, 20, 4)
    seen = modeling.create_bidirectional_sliding_window_mask(
        config=config, inputs_embeds=hidden, attention_mask=None
    )
    i, j = np.indices((20, 20))
    (reach,) = {scope.reach for scope in scopes_of(tiny(attention_window=8)) if scope.reach}
    assert ((seen[0, 0] == 0).numpy() == (abs(i - j) <= reach)).all()


@pytest.mark.parametrize(
    "choices",
    [{}, {"attention_window": 4}, {"position": "alibi"}, {"position": "rope", "attention": "sdpa"}],
)
def test_documents_of_a_sequence_know_nothing_of_each_other(choices):
    """A document's hidden states stay, whatever the others say, as long as positions do."""
    model: Encoder = random_model(tiny(**choices)).eval().encoder
    cut = [[5, 8, 4], [9]]
    batch = with_documents(random_batch((17, 9)), cut)
    other = batch.tokens_T.clone()
    other[:5] = torch.randint(PAD + 1, VOCABULARY, (5,))
    other[13:] = torch.randint(PAD + 1, VOCABULARY, (len(other) - 13,))
    before, after = model(batch), model(replace(batch, tokens_T=other))
    torch.testing.assert_close(before[5:13], after[5:13], rtol=0, atol=0)
    assert not torch.equal(before[:5], after[:5])
    assert not torch.equal(model(replace(batch, documents=None))[5:13], before[5:13])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("position", ["learned", "rope", "alibi"])
def test_recomputation_gives_the_same_gradients(attention, documents, position):
    window = {"attention_window": 6, "global_every": 2, "layers": 3}
    config = tiny(attention=attention, position=position, **window)
    batch = random_batch()
    if documents:
        batch = with_documents(batch, [[3, 4], [12], [1], [5, 2, 2]])
    gradients = []
    for recomputes in (False, True):
        model = random_model(config)
        model.encoder.activation_checkpointing = recomputes
        model(batch).mlm_loss_sum.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for kept, again in zip(*gradients):
        assert torch.equal(kept, again)
