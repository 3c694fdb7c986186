"""Which held-out figures compare."""

from __future__ import annotations

import pytest

from launch.ablation.measurements import Row
from launch.ablation.report.confounders import CAVEAT, refusal


@pytest.mark.parametrize(
    ("metric", "settings", "refused"),
    [
        ("perplexity", {"tokenizer.kind": "unigram"}, True),
        ("mlm_loss", {"tokenizer.vocabulary_size": 8002}, True),
        ("bits_per_byte", {"tokenizer.kind": "unigram"}, False),
        ("tweets_macro_f1", {"tokenizer.kind": "unigram"}, False),
        ("perplexity", {"mask_epochs": 10}, False),
        ("perplexity", {"masking.probability": 0.4}, False),
        ("perplexity", {"evaluation.mask_probability": 0.4}, True),
        ("bits_per_byte", {"evaluation.mask_probability": 0.4}, True),
        ("tweets_macro_f1", {"evaluation.mask_probability": 0.4}, False),
        ("perplexity", {"batch.sequences": 2048}, False),
    ],
)
def test_refusal(metric, settings, refused):
    assert bool(refusal(metric, Row("a", settings), Row("b", {}))) is refused


def test_what_both_rows_share_does_not_matter():
    settings = {"tokenizer.kind": "bpe", "masking.probability": 0.4}
    assert refusal("perplexity", Row("a", settings), Row("b", dict(settings))) == ""


def test_another_format_is_said_but_not_refused():
    rows = Row("a", {"input_format": "segment-pair"}), Row("b", {"input_format": "doc-sentences"})
    assert CAVEAT.holds(*rows)
    assert refusal("perplexity", *rows) == ""
