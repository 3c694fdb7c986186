"""Rivals train on the tokens that we count; without padding they compute what they do with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from launch.benchmarks.contenders import LeftOut, Setting
from pretrain.data.corpus import prepare
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches

contenders = pytest.importorskip("launch.benchmarks.huggingface_contenders")

RIVALS = [contenders.Unpadded, contenders.ModernBert, contenders.Padded]
LENGTH = 160
"""beyond ModernBERT's window of 64 to either side"""


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    """Nothing is compiled, few steps are prepared, and files stay in the test's folder."""
    monkeypatch.setattr(contenders.HuggingFace, "most_steps", 2)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def setting(prose, cache):
    """A maker of settings of two layers: one sequence a document, unless told otherwise."""

    def make(input_format: str = "doc-sentences", **fields: object) -> Setting:
        overrides = (
            f"data.sources=[{{kind: text, path: {prose}}}]",
            f"data.cache={cache}",
            "data.heldout_fraction=0.1",
            "tokenizer={vocabulary_size: 400}",
            "model={layers: 2, hidden_size: 32, heads: 2, feed_forward_size: 64}",
            *([] if fields.get("next_sentence") else [f"input_format={input_format}"]),
        )
        return Setting("small", LENGTH, "fp32", "cpu", 0.0, overrides=overrides, **fields)

    return make


def own_count(setting: Setting, steps: int) -> int:
    """Tokens of our first steps."""
    config = setting.config(Path())
    corpus = prepare(config)
    batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer))
    return sum(len(batch.tokens_T) for step in range(steps) for batch in batches.step(step))


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.__name__)
def test_a_rival_counts_the_tokens_of_our_steps(rival, setting, tmp_path):
    ragged = setting()
    contender = rival(ragged, tmp_path)
    assert contender.run(0.0).tokens == own_count(ragged, 2)
    assert contender.run(0.0).tokens > 0 and contender.taken == 4
    assert all(parameter.grad is None for parameter in contender.model.parameters())


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.__name__)
def test_packed_sentences_fill_every_row(rival, setting, tmp_path):
    packed = setting("full-sentences")
    contender = rival(packed, tmp_path)
    assert contender.run(0.0).tokens == 2 * packed.sequences * LENGTH


@pytest.mark.parametrize("rival", RIVALS[:2], ids=lambda rival: rival.__name__)
def test_one_row_of_all_sequences_gives_the_loss_of_padded_rows(rival, setting, tmp_path):
    """Positions, bounds and windows are right, and no padding is left to compute."""
    contender = rival(setting(), tmp_path)
    (flat,) = contender.ready[0][0]
    sizes = flat["cu_seq_lens_q"].diff().tolist()
    assert flat["input_ids"].shape == (1, sum(sizes)) and max(sizes) > 128 > min(sizes)
    model, names = contender.model.eval(), ("input_ids", "labels")
    rows = {name: flat[name][0].split(sizes) for name in names}
    padded = {
        name: pad_sequence(rows[name], batch_first=True, padding_value=value)
        for name, value in zip(names, (model.config.pad_token_id, -100))
    }
    loss = model(**flat).loss
    model.set_attn_implementation("sdpa")
    mask = pad_sequence([torch.ones(size) for size in sizes], batch_first=True)
    torch.testing.assert_close(loss, model(**padded, attention_mask=mask).loss)


def test_micro_batches_cut_a_step(setting, tmp_path):
    whole = setting()
    contender = contenders.Unpadded(setting(micro_batches=2), tmp_path)
    halves, tokens, _ = contender.ready[0]
    counts = [batch["input_ids"].shape[1] for batch in halves]
    assert len(counts) == 2 and sum(counts) == tokens == own_count(whole, 1)
    assert contender.run(0.0).tokens == own_count(whole, 2)


def test_their_next_sentence_head_sees_one_sequence_of_a_row(setting, tmp_path):
    pairs = setting(next_sentence=True)
    for rival in RIVALS[:2]:
        with pytest.raises(LeftOut, match="next-sentence head"):
            rival(pairs, tmp_path)
    assert contenders.Padded(pairs, tmp_path).run(0.0).tokens == own_count(pairs, 2)
