"""Phases: batch size and length as functions of the step, and no sample lost or seen twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs.errors import InputError
from configs.schema import (
    BatchConfig,
    EvaluationConfig,
    MaskingConfig,
    ModelConfig,
    PhaseConfig,
    PretrainConfig,
    ScheduleConfig,
)
from pretrain.data.batches import Batches, Position
from pretrain.data.collate import Collator
from pretrain.data.phases import PhasedBatches
from pretrain.optim.schedule import Schedule
from tests.helpers import flatten, open_store, random_documents, simple_vocabulary

VOCABULARY = simple_vocabulary()
BASE = PretrainConfig(max_length=48, batch=BatchConfig(sequences=16, micro_sequences=4)).resolved()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    documents = random_documents(3, 600, tokens=20)
    return open_store(tmp_path_factory.mktemp("phased") / "store", documents)


@pytest.fixture
def phased(store):
    """A function from phases to `PhasedBatches`."""

    def make(*phases: PhaseConfig, **changes) -> PhasedBatches:
        config = replace(BASE, phases=list(phases), **changes)
        return PhasedBatches(store, config, VOCABULARY)

    return make


def samples(data, steps) -> list[int]:
    return flatten([list(batch.sample_ids) for step in steps for batch in data.step(step)])


def tokens(data, step: int) -> int:
    return sum(len(batch.tokens_T) for batch in data.step(step))


def test_without_phases_all_is_as_before(phased, store):
    plain, data = Batches(Collator(store, BASE, VOCABULARY)), phased()
    for step in (0, 1, plain.steps_per_epoch, 3 * plain.steps_per_epoch + 2):
        assert samples(data, [step]) == samples(plain, [step])


@pytest.mark.parametrize("steps, starts", [(10, [0, 6]), (3, [0, 1]), (1, [0])])
def test_a_share_of_the_run_is_one_of_its_steps(phased, steps, starts):
    """However short the run is made; of one step it is the last phase that counts."""
    schedule = ScheduleConfig(max_steps=steps, warmup_steps=0)
    short, long = PhaseConfig(max_length=16), PhaseConfig(from_fraction=0.6)
    data = phased(short, long, schedule=schedule)
    assert [own.start.step for own in data.by_phase] == starts
    assert data.configs[-1].max_length is None and data.total_steps == steps


def test_a_share_of_a_run_in_tokens(phased):
    schedule = ScheduleConfig(max_steps=None, max_tokens=10_000, warmup_steps=0)
    by_share = phased(PhaseConfig(), PhaseConfig(from_fraction=0.6), schedule=schedule)
    by_tokens = phased(PhaseConfig(), PhaseConfig(from_tokens=6_000), schedule=schedule)
    assert by_share.by_phase[1].start == by_tokens.by_phase[1].start


def test_a_share_of_minutes_or_epochs_is_refused():
    schedule = ScheduleConfig(max_steps=None, max_minutes=1.0, warmup_steps=0)
    with pytest.raises(InputError, match=r"phases.1.from_fraction=0.6 is a share of .*max_steps"):
        replace(BASE, phases=[PhaseConfig(), PhaseConfig(from_fraction=0.6)], schedule=schedule)
    with pytest.raises(InputError, match="set one of from_steps, from_tokens and from_fraction"):
        PhaseConfig(from_steps=3, from_fraction=0.5)


def test_a_batch_that_grows_sees_every_sample_once_an_epoch(phased):
    data = phased(
        PhaseConfig(sequences=4),
        PhaseConfig(from_steps=7, sequences=8),
        PhaseConfig(from_steps=12),
    )
    sizes = [tokens(data, step) for step in (0, 8, 13)]
    assert sizes == sorted(sizes) and sizes[0] * 3 < sizes[2]
    last = data.by_phase[-1]
    end = 12 + last._steps_left
    seen = samples(data, range(end))
    assert sorted(seen) == list(range(len(last.collate.index(0))))
    assert last.position(end) == Position(end, 1, 0)
    following = samples(data, range(end, end + last.steps_per_epoch))
    assert sorted(following) == sorted(seen) and following != seen


@pytest.mark.parametrize("first", [1, 5, 30])
def test_steps_after_a_change_keep_their_size(phased, first):
    data = phased(PhaseConfig(sequences=5), PhaseConfig(from_steps=first))
    last = data.by_phase[-1]
    expected = last.tokens_per_epoch / last.steps_per_epoch
    for step in range(first, first + last._steps_left - 1):
        assert tokens(data, step) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("left", [1, 2, 6, 9])
def test_a_rest_of_an_epoch_makes_no_tiny_step(phased, left):
    small = phased(PhaseConfig(sequences=2)).by_phase[0].steps_per_epoch
    data = phased(PhaseConfig(sequences=2), PhaseConfig(from_steps=small - left, sequences=16))
    last = data.by_phase[-1]
    usual = last.tokens_per_epoch / last.steps_per_epoch
    for step in range(small - left, small - left + 5):
        assert 0.5 * usual - 48 <= tokens(data, step) <= 1.5 * usual + 48
    assert (last.start.epoch == 1) == (left < 4)


def test_another_length_begins_another_epoch(phased):
    data = phased(PhaseConfig(max_length=16), PhaseConfig(from_steps=3, max_length=48))
    assert max(batch.longest for batch in data.step(2)) <= 16
    assert max(batch.longest for batch in data.step(3)) > 16
    assert data.by_phase[1].start == Position(3, 1, 0)


def test_a_micro_batch_holds_as_many_tokens_at_any_length(phased):
    data = phased(PhaseConfig(max_length=16), PhaseConfig(from_steps=3, max_length=48))
    assert [own.batch.micro_sequences for own in data.by_phase] == [12, 4]


def test_tokens_become_steps(phased):
    data = phased(PhaseConfig(sequences=4), PhaseConfig(from_tokens=2000))
    first, second = data.by_phase
    assert second.start.step == round(2000 * first.steps_per_epoch / first.tokens_per_epoch)
    seen = sum(tokens(data, step) for step in range(second.start.step))
    assert seen == pytest.approx(2000, abs=4 * 48)


def test_any_number_of_ranks_shares_the_same_samples(phased):
    data = phased(PhaseConfig(sequences=8), PhaseConfig(from_steps=2, max_length=24))
    for step in (0, 1, 2, 5):
        alone = sorted(samples(data, [step]))
        ranks = [data.step(step, rank, 2) for rank in range(2)]
        assert sorted(flatten([list(b.sample_ids) for part in ranks for b in part])) == alone


def test_phases_out_of_order_are_refused(phased):
    with pytest.raises(InputError, match=r"phases\.2 begins at step 4, not after phases\.1"):
        phased(PhaseConfig(), PhaseConfig(from_steps=9), PhaseConfig(from_steps=4))
    # Without an entry for the first phase they are counted as they stand in the configuration.
    with pytest.raises(InputError, match=r"phases\.1 begins at step 4, not after phases\.0"):
        phased(PhaseConfig(from_steps=9), PhaseConfig(from_steps=4))


LONGER = dict(sequences=2, max_length=480)


def test_a_phase_of_long_sequences_runs_with_few_of_them(phased):
    """A micro-batch of one sequence, and steps of one or two: as it is when a context grows."""
    data = phased(PhaseConfig(from_steps=1, **LONGER))
    data.require_samples(1)
    long = data.by_phase[1]
    counts = [len(data.step(1 + step)) for step in range(long.steps_per_epoch)]
    assert set(counts) == {1, 2}
    assert sorted(samples(data, range(1, 1 + long.steps_per_epoch))) == list(
        range(len(long.collate.index(0)))
    )


@pytest.mark.parametrize(
    ("phases", "place"),
    [
        ([PhaseConfig(from_steps=1, **LONGER)], 0),
        ([PhaseConfig(), PhaseConfig(from_steps=1, **LONGER)], 1),
    ],
)
def test_a_phase_with_too_few_samples_for_the_ranks_is_refused_at_the_start(phased, phases, place):
    data = phased(*phases)
    fields = rf"raise phases\.{place}\.sequences=2, lower phases\.{place}\.max_length=480"
    with pytest.raises(InputError, match=rf"holds 1 sample of up to 480 tokens.*2 ranks: {fields}"):
        data.require_samples(2)
    with pytest.raises(InputError, match=r"less than one batch .*\(phases\.0\.sequences x phases"):
        phased(PhaseConfig(sequences=10_000))


def test_a_new_learning_rate_begins_a_new_schedule(phased):
    data = phased(
        PhaseConfig(),
        PhaseConfig(from_steps=10, sequences=8),
        PhaseConfig(from_steps=20, learning_rate=0.5, warmup_fraction=0.5),
    )
    schedule = Schedule.make(ScheduleConfig(max_steps=29, warmup_fraction=0.2), data.phases)
    rates = [schedule.learning_rate(1.0, step, schedule.progress(step, 0.0)) for step in range(29)]
    peak = int(np.argmax(rates))
    assert 3 <= peak <= 4 and rates[peak] == pytest.approx(1.0, abs=0.06)
    assert rates[19] < 0.07, "the first curve ends at 0, whatever the batch does in between"
    assert max(rates[20:]) == pytest.approx(0.5) and rates[28] < 0.11
    assert np.argmax(rates[20:]) == 4


def test_a_first_phase_may_have_a_warm_up_of_its_own(phased):
    data = phased(PhaseConfig(learning_rate=0.5, warmup_fraction=0.5), PhaseConfig(from_steps=5))
    schedule = Schedule.make(ScheduleConfig(max_steps=9), data.phases)
    rates = [schedule.learning_rate(1.0, step, schedule.progress(step, 0.0)) for step in range(9)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_limits_count_through_all_phases(phased):
    data = phased(PhaseConfig(sequences=4), PhaseConfig(from_steps=10))
    first, second = data.phases
    left = 1.0 - 10 / first.steps_per_epoch
    schedule = Schedule.make(ScheduleConfig(max_epochs=1.0), data.phases)
    assert schedule.total_steps == 10 + int(np.ceil(left * second.steps_per_epoch))
    early = Schedule.make(ScheduleConfig(max_steps=11), data.phases)
    assert early.total_steps == 11
    with pytest.raises(InputError, match="the last begins at step 10, but the run ends at step 10"):
        Schedule.make(ScheduleConfig(max_steps=10), data.phases)


def test_next_sentences_need_documents_of_several_sentences(tmp_path):
    store = open_store(tmp_path / "store", [[[n % 90] * 30] for n in range(300)])
    bert = {
        "input_format": "segment-pair",
        "next_sentence_prediction": True,
        "model": ModelConfig(architecture="bert", segment_types=2),
    }
    with pytest.raises(InputError, match=r"only 0.0% of the pairs follow one another, as a doc"):
        PhasedBatches(store, replace(BASE, **bert), VOCABULARY)
    PhasedBatches(store, replace(BASE, **bert | {"next_sentence_prediction": False}), VOCABULARY)


def test_each_phase_has_its_theta_and_without_one_the_models(phased):
    data = phased(
        PhaseConfig(rope_theta=50.0),
        PhaseConfig(from_steps=3, max_length=96, rope_theta=70.0),
        PhaseConfig(from_steps=5),
        model=ModelConfig(position="rope", rope_theta=20.0),
    )
    assert [data.rope_theta(step) for step in range(7)] == [50, 50, 50, 70, 70, 20, 20]
    assert phased(PhaseConfig(from_steps=3)).rope_theta(0) == 10_000.0


@pytest.mark.parametrize("mask_epochs", [None, 2])
def test_a_mask_rate_moves_in_a_line_to_the_last_step(phased, mask_epochs):
    data = phased(
        masking=MaskingConfig(0.3, 0.1),
        schedule=ScheduleConfig(max_steps=201),
        mask_epochs=mask_epochs,
    )
    rates = [data.mask_rate(step) for step in (0, 50, 100, 200, 999)]
    assert rates == pytest.approx([0.3, 0.25, 0.2, 0.1, 0.1])
    steps = (0, 100, 200)
    shares = [predicted(data, step) / tokens(data, step) for step in steps]
    # Of a sequence's tokens some are special, and are not counted in its rate.
    assert shares == pytest.approx([0.3 * 0.92, 0.2 * 0.92, 0.1 * 0.92], rel=0.1)


def test_masks_of_a_moving_rate_are_among_those_of_a_higher_one(phased):
    moving = phased(masking=MaskingConfig(0.3, 0.1), schedule=ScheduleConfig(max_steps=50))
    high = phased(masking=MaskingConfig(0.3))
    for step in (0, 7, 33, 49):
        for a, b in zip(moving.step(step), high.step(step)):
            assert a.sample_ids == b.sample_ids
            assert set(a.predicted_M.tolist()) <= set(b.predicted_M.tolist())
    assert predicted(moving, 0) == predicted(high, 0) and predicted(moving, 49) < predicted(
        high, 49
    )


def test_a_moving_rate_follows_epochs_and_tokens_to_their_last_step(phased):
    for limit in ({"max_epochs": 2.0}, {"max_tokens": 10_000}):
        data = phased(masking=MaskingConfig(0.3, 0.1), schedule=ScheduleConfig(**limit))
        last = Schedule.make(data.config.schedule, data.phases).total_steps - 1
        assert data.mask_rate(last) == pytest.approx(0.1) and data.mask_rate(last - 1) > 0.1


def test_a_phase_has_its_own_mask_rate_until_another(phased):
    data = phased(
        PhaseConfig(from_steps=3, mask_probability=0.4),
        PhaseConfig(from_steps=5, sequences=8),
        PhaseConfig(from_steps=7, sequences=8),
        PhaseConfig(from_steps=9, mask_probability=0.05),
    )
    rates = [data.mask_rate(step) for step in (0, 2, 3, 4, 5, 8, 9, 99)]
    assert rates == [0.15, 0.15, 0.4, 0.4, 0.4, 0.4, 0.05, 0.05]
    assert predicted(data, 4) > 2 * predicted(data, 2)


def predicted(data, step: int) -> int:
    return sum(len(batch.predicted_M) for batch in data.step(step))


def test_a_length_that_is_trained_later_may_be_evaluated(phased):
    """Data of a phase with short sequences is made all the same."""
    evaluation = EvaluationConfig(max_length=48)
    data = phased(PhaseConfig(from_steps=3, max_length=16), evaluation=evaluation)
    assert max(batch.longest for batch in data.step(5)) <= 16
