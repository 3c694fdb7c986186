"""The plateau: the first evaluation off it, by the tokens that were seen until then."""

from __future__ import annotations

import math

import pytest

from pretrain.run.plateau import Plateau, tokens_until

BASELINE = {"kind": "baseline", "step": 0, "unigram_loss": 7.0}


def train(*pairs: tuple[int, float]) -> list[dict]:
    return [{"kind": "train", "step": step, "tokens": tokens} for step, tokens in pairs]


def heldout(*pairs: tuple[int, float]) -> list[dict]:
    return [{"kind": "heldout", "step": step, "mlm_loss": loss} for step, loss in pairs]


def test_the_first_evaluation_half_a_nat_below_counts():
    records = [BASELINE, *train((10, 1e6), (20, 2e6), (30, 3e6))]
    plateau = Plateau.of(records + heldout((10, 6.6), (20, 6.4), (30, 6.0)))
    assert plateau.left_at_tokens == 2e6 and not plateau.ends_on_it
    assert plateau.values == {"below_unigram": 1.0, "plateau_left_at_tokens": 2e6}
    assert "0.5 were reached by 2,000,000 tokens" in str(plateau)


def test_a_run_on_the_plateau_says_so_and_what_helps():
    plateau = Plateau.of([BASELINE, *train((10, 1e6)), *heldout((10, 6.51))])
    assert plateau.left_at_tokens is None and plateau.ends_on_it
    line = str(plateau)
    assert "ends on the plateau" in line and "\n" not in line
    for field in ("masking.probability=0.3", "model.position=rope", "muon", "phases"):
        assert field in line


def test_the_margin_itself_is_off_it():
    plateau = Plateau.of([BASELINE, *train((10, 1e6)), *heldout((10, 6.5))])
    assert plateau.left_at_tokens == 1e6 and not plateau.ends_on_it


def test_a_run_that_fell_back_is_on_the_plateau_again():
    plateau = Plateau.of([BASELINE, *train((10, 1e6), (20, 2e6)), *heldout((10, 6.0), (20, 6.9))])
    assert plateau.left_at_tokens == 1e6 and plateau.ends_on_it


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_not_off_the_plateau(loss):
    plateau = Plateau.of([BASELINE, *train((10, 1e6)), *heldout((10, loss))])
    assert plateau.left_at_tokens is None and plateau.ends_on_it


def test_weights_that_are_off_it_from_the_start_need_no_token():
    plateau = Plateau.of([BASELINE, *heldout((0, 3.0))])
    assert plateau.left_at_tokens == 0


def test_between_two_records_tokens_are_shared_out():
    records = train((10, 100.0), (20, 300.0))
    assert [tokens_until(records, step) for step in (5, 10, 15, 20)] == [50, 100, 200, 300]


@pytest.mark.parametrize("records", [[], [BASELINE], heldout((10, 6.0))])
def test_records_without_baseline_or_evaluation_say_nothing(records):
    assert Plateau.of(records) is None
