"""Ranks compare what they start from, and end together where one of them cannot start."""

from __future__ import annotations

import errno

import pytest

from configs.errors import InputError, RunError
from configs.loader import load_config
from configs.schema import PLACES, PretrainConfig
from pretrain.ranks.agreement import Agreement, failing_together, name_ranks
from pretrain.ranks.preemption import Preempted
from pretrain.run.describe import VARIABLES, recipe, sampled_digest, start_facts
from tests.helpers import open_store, random_documents
from tests.threads import on_threads

RECIPE = {"seed": "0", "optimizer.learning_rate": "0.001", "batch.sequences": "16"}


def compare(*ranks: dict[str, dict[str, str]]) -> list:
    """What becomes of ranks that hold these facts."""

    def rank(world):
        agreement = Agreement(world)
        agreement.require(ranks[world.rank])
        return agreement.record, world.gathers

    return on_threads(len(ranks), rank)


def test_ranks_that_agree_need_one_gather():
    found = compare({"recipe": RECIPE}, {"recipe": dict(reversed(RECIPE.items()))})
    (record, gathers), other = found
    assert other == (record, gathers)
    assert gathers == 1
    assert record["ranks"] == 2 and len(record["recipe"]) == 16


def test_the_first_difference_is_named_with_both_values_and_the_cure():
    errors = compare(
        {"recipe": RECIPE, "code": {"source": "aa"}},
        {"recipe": RECIPE | {"seed": "1", "batch.sequences": "8"}, "code": {"source": "bb"}},
    )
    expected = (
        "ranks disagree: seed=1 on rank 1, 0 on rank 0 (also: batch.sequences, source): start "
        "every rank with the same configuration and overrides"
    )
    for error in errors:
        assert isinstance(error, InputError) and error.is_of_all_ranks
        assert str(error) == expected


def test_the_few_are_the_odd_ones():
    ranks = [{"libraries": {"torch": "2.9"}} for _ in range(6)]
    ranks[0] = {"libraries": {"torch": "2.8"}}
    (error, *_) = compare(*ranks)
    assert "torch=2.8 on rank 0, 2.9 on rank 1 and 4 more" in str(error)


def test_a_field_that_others_do_not_have_is_a_difference():
    (error, _) = compare({"recipe": {"phases.0.sequences": "8"}}, {"recipe": {}})
    assert "phases.0.sequences=nothing on rank 1, 8 on rank 0" in str(error)


def test_a_group_that_others_do_not_have_is_a_difference():
    (error, _) = compare({"recipe": RECIPE, "processor": {"threads": "2"}}, {"recipe": RECIPE})
    assert "threads=nothing on rank 1, 2 on rank 0" in str(error)


def test_long_values_and_many_names_stay_one_line():
    many = {f"field.{number}": "a" for number in range(40)}
    (error, _) = compare({"recipe": many}, {"recipe": {name: "b" * 10_000 for name in many}})
    assert len(str(error)) < 500
    assert "also: field.1, field.2, field.3 and 36 more" in str(error)


def test_ranks_in_words():
    assert name_ranks([1], ["a", "a"]) == "rank 1"
    assert name_ranks([1], ["a", "b"]) == "rank 1 (b)"
    assert name_ranks([0, 2, 3], ["a"] * 4) == "ranks 0, 2 and 3"
    assert name_ranks(range(8, 512), ["a"] * 8 + ["b"] * 504) == "rank 8 (b) and 503 more"


def fail(*errors: Exception | None) -> list:
    """What each rank raises where these errors are raised inside; None where nothing is."""

    def rank(world):
        with failing_together(world):
            if errors[world.rank]:
                raise errors[world.rank]

    return on_threads(len(errors), rank)


def test_what_fails_on_one_rank_ends_all_in_its_words():
    for error in fail(None, InputError("no store here"), None):
        assert isinstance(error, InputError) and error.is_of_all_ranks
        assert str(error).startswith("rank 1 on ") and str(error).endswith(": no store here")


def test_what_all_have_alike_is_said_as_it_is():
    for error in fail(InputError("no store here"), InputError("no store here")):
        assert str(error) == "no store here" and error.is_of_all_ranks


def test_rank_0_needs_no_name():
    assert {str(error) for error in fail(RunError("out"), InputError("in"))} == {"out"}


def test_a_file_that_one_rank_does_not_see_is_bad_input():
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/a.txt")
    for error in fail(None, missing):
        assert isinstance(error, InputError)
        assert str(error).endswith("/data/a.txt: No such file or directory")


@pytest.mark.parametrize("number, cure", [(errno.ENOSPC, "disk is full"), (errno.EMFILE, "ulimit")])
def test_what_one_rank_lacks_is_told_with_its_cure(number, cure):
    for error in fail(None, OSError(number, "", "/data/a.txt")):
        assert isinstance(error, InputError) and cure in str(error)


def test_an_error_of_the_code_keeps_its_traceback_where_it_arose(capsys):
    others, own = fail(None, KeyError("x"))
    assert isinstance(others, RunError) and "KeyError: 'x'" in str(others)
    assert isinstance(own, KeyError)
    assert "Traceback" in capsys.readouterr().err


def test_a_notice_to_one_rank_makes_all_leave():
    for left in fail(None, Preempted(0, "SIGUSR1")):
        assert isinstance(left, Preempted) and left.reason == "SIGUSR1"


def test_every_field_is_compared_and_places_only_by_being_there():
    config = load_config(PretrainConfig, "small", ["data.store=/a/b", "seed=7"])
    facts = recipe(config, PLACES)
    assert facts["seed"] == "7"
    assert facts["data.store"] == "some place"
    assert facts["tokenizer.path"] == "None"
    assert facts["data.sources.0.kind"] == "installed-docs"
    other = load_config(PretrainConfig, "small", ["data.store=/c", "seed=7"])
    assert recipe(other, PLACES) == facts


@pytest.mark.parametrize("stage", [0, 1])
def test_threads_count_where_each_rank_updates_all_weights(stage):
    config = load_config(PretrainConfig, "small", [f"engine.zero_stage={stage}"])
    facts = start_facts(config, PLACES, ("configs",))
    assert ("processor" in facts) == (stage == 0)
    assert set(facts["environment"]) == set(VARIABLES)
    assert {"python", "torch", "deepspeed", "numpy", "tokenizers"} <= set(facts["libraries"])


def test_other_tokens_of_the_same_size_are_seen(tmp_path):
    documents = random_documents(seed=0, documents=50)
    store = open_store(tmp_path / "one", documents)
    same = open_store(tmp_path / "two", documents)
    assert sampled_digest(store) == sampled_digest(same)
    (file,) = (tmp_path / "two").rglob("*.tokens")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert sampled_digest(store) != sampled_digest(same)
