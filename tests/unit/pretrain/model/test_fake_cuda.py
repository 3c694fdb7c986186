"""What a GPU would run is run without one: devices, types, waits, gradients and counts."""

from pathlib import Path

import pytest

from tests.fake_cuda.device import build, run_check

MOST_LAUNCHES, MOST_GIGABYTES = 797, 176.4
"""of a micro-batch of roberta_base, and with hidden states in bf16: lower them with every change
that saves some"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("fake_cuda"))


@pytest.mark.parametrize("case", ["flash with dropout", "BERT", "ModernBERT"])
def test_a_micro_batch_trains_every_parameter_and_waits_for_nothing(libraries, case):
    run_check(libraries, "gradients", case)


@pytest.mark.slow
def test_micro_batches_of_all_backends_and_layers_train(libraries):
    run_check(libraries, "gradients")


def test_rivals_of_the_benchmark_attend_by_the_same_kernel(libraries):
    run_check(libraries, "flat-attention")


def test_a_step_never_waits_for_the_device(libraries):
    run_check(libraries, "waits", "Muon, pairs")


@pytest.mark.slow
def test_whole_runs_wait_as_often_as_is_known(libraries):
    run_check(libraries, "waits")


@pytest.mark.slow
def test_a_micro_batch_takes_no_more_launches_than_known(libraries):
    said = run_check(libraries, "launches")
    assert int(said.split()[1]) <= MOST_LAUNCHES, said


@pytest.mark.slow
def test_hidden_states_in_bf16_move_no_more_than_known(libraries):
    said = run_check(libraries, "launches", "engine.residual=bf16")
    assert float(said.split()[3]) <= MOST_GIGABYTES, said
