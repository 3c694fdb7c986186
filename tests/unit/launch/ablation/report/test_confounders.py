"""Which held-out figures compare."""

from __future__ import annotations

import pytest

from launch.ablation.measurements import Row
from launch.ablation.report.confounders import CAVEATS, refusal


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
        ("word_bits_per_byte", {"evaluation.mask_probability": 0.4}, True),
        ("plateau_left_at_tokens", {"tokenizer.kind": "unigram"}, True),
        ("word_bits_per_byte", {"tokenizer.kind": "unigram"}, False),
        ("perplexity", {"batch.sequences": 2048}, False),
    ],
)
def test_refusal(metric, settings, refused):
    assert bool(refusal(metric, Row("a", settings), Row("b", {}))) is refused


def test_what_both_rows_share_does_not_matter():
    settings = {"tokenizer.kind": "bpe", "masking.probability": 0.4}
    assert refusal("perplexity", Row("a", settings), Row("b", dict(settings))) == ""


MEASURE = {"evaluation.input_format": "segment-pair", "evaluation.max_length": 128}


@pytest.mark.parametrize(
    ("settings", "measure", "said"),
    [
        ({}, {"evaluation.input_format": "doc-sentences"}, "input format"),
        ({}, {"evaluation.max_length": 64}, "input format and length"),
        ({"data.sources.0.weight": 0.5}, {}, "held-out text"),
        ({}, {"evaluation.sequences": 9}, "held-out text"),
        # Whatever rows train with, the measure is one.
        ({"input_format": "doc-sentences", "max_length": 64}, {}, ""),
        ({"masking.probability": 0.4}, {}, ""),
        ({"data.cache": "elsewhere"}, {}, ""),
    ],
)
def test_another_measure_is_said_but_not_refused(settings, measure, said):
    row, baseline = Row("a", settings, measure=MEASURE | measure), Row("b", {}, measure=MEASURE)
    reasons = [caveat.reason for caveat in CAVEATS if caveat.holds(row, baseline)]
    assert [said in reason for reason in reasons] == ([True] if said else [])
    assert refusal("perplexity", row, baseline) == ""


def test_a_row_without_pretraining_has_no_measure_to_differ_in():
    rival, baseline = Row("tf-idf", {"model": "tf-idf"}), Row("b", {}, measure=MEASURE)
    assert not any(caveat.holds(rival, baseline) for caveat in CAVEATS)


@pytest.mark.parametrize(("own", "others"), [((0,), ()), ((), (1,)), ((0, 1), (0, 1))])
def test_a_row_on_the_plateau_and_one_beside_it_get_no_verdict(own, others):
    row, baseline = Row("a", {}, on_plateau=own), Row("b", {}, on_plateau=others)
    for metric in ("mlm_loss", "perplexity", "mlm_accuracy", "bits_per_byte"):
        reason = refusal(metric, row, baseline)
        assert reason.endswith("on the plateau of the unigram distribution")
        assert reason.startswith("the baseline") is not bool(own)
    assert refusal("word_bits_per_byte", row, baseline) and refusal("nsp_accuracy", row, baseline)
    assert refusal("sst2.accuracy", row, baseline) == ""


def test_a_row_whose_best_value_may_lie_beyond_its_list_has_no_verdict():
    found, edge = Row("a", {}), Row("b", {}, beyond="0.004, the largest that was tried")
    for metric in ("mlm_loss", "sst2.accuracy"):
        assert refusal(metric, edge, found) == "0.004, the largest that was tried"
        assert refusal(metric, found, edge) == "of the baseline 0.004, the largest that was tried"
        assert not refusal(metric, found, found)
