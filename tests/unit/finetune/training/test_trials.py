"""One trial for each point and seed, with a name and a fingerprint of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from configs.errors import InputError
from configs.finetune_schema import AdaptConfig, FinetuneConfig, HeadConfig
from configs.loader import recipe_text
from configs.schema import CheckpointConfig, OptimizerConfig, ResolvedBatchConfig
from configs.task_schema import TaskConfig
from finetune.training.trials import Trial, make_trials, with_field

GRID = {"optimizer.learning_rate": [2e-5, 3e-5], "batch.sequences": [16.0, 32.0]}


def trial(**changes) -> Trial:
    return make_trials(FinetuneConfig(**changes))[0]


def test_trials_are_the_product_of_points_and_seeds():
    trials = make_trials(FinetuneConfig(seeds=[5, 6, 7], grid=GRID))
    found = [(t.config.optimizer.learning_rate, t.config.batch.sequences, t.seed) for t in trials]
    assert found == [(r, b, s) for r in (2e-5, 3e-5) for b in (16, 32) for s in (5, 6, 7)]
    assert trials[0].values == {"optimizer.learning_rate": 2e-5, "batch.sequences": 16.0}


def test_names_tell_point_and_seed():
    first = trial(seeds=[3], grid=GRID)
    assert first.point == "learning_rate=2e-05_sequences=16"
    assert first.name == "learning_rate=2e-05_sequences=16_seed=3"
    plain = trial(seeds=[3])
    assert (plain.point, plain.name) == ("", "seed=3")
    names = [t.name for t in make_trials(FinetuneConfig(seeds=[1, 2], grid=GRID))]
    assert len(set(names)) == 8 and not any("/" in name for name in names)


@pytest.mark.parametrize("values", [[2e-5, 2e-5], [0.12345671, 0.12345672]])
def test_values_with_one_name_are_refused(values):
    config = FinetuneConfig(grid={"optimizer.learning_rate": values})
    with pytest.raises(InputError, match="two trials would be called learning_rate="):
        make_trials(config)


@pytest.mark.parametrize(
    ("name", "value", "read", "expected"),
    [
        ("layer_decay", 0.9, lambda c: c.layer_decay, 0.9),
        ("layer_decay", 1, lambda c: c.layer_decay, 1.0),
        ("batch.sequences", 64.0, lambda c: c.batch.sequences, 64),
        ("patience", 2.0, lambda c: c.patience, 2),
        ("schedule.max_epochs", 4.0, lambda c: c.schedule.max_epochs, 4.0),
        ("head.encoder_dropout", 0.2, lambda c: c.head.encoder_dropout, 0.2),
    ],
)
def test_fields_at_any_depth_get_numbers_of_their_type(name, value, read, expected):
    config = FinetuneConfig()
    changed = with_field(config, name.split("."), value, name)
    assert read(changed) == expected and type(read(changed)) is type(expected)
    head = name.partition(".")[0]
    assert config == FinetuneConfig() == replace(changed, **{head: getattr(config, head)})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("optimizer.rate", 1.0, r"grid: no field is called optimizer\.rate"),
        ("rate", 1.0, "no field is called rate"),
        ("optimizer.learning_rate.x", 1.0, "no field is called"),
        ("patience.x", 1.0, "no field is called"),
        ("optimizer", 1.0, r"grid\.optimizer: a grid is for numbers"),
        ("optimizer.name", 1.0, r"grid\.optimizer\.name: a grid is for numbers"),
        ("batch.sequences", 16.5, r"grid\.batch\.sequences: 16\.5 is no whole number"),
        ("patience", 1.5, r"grid\.patience: 1\.5 is no whole number"),
        ("batch.sequences", 0.0, r"batch\.sequences=0 must be at least 1"),
        ("head.dropout", 1.5, r"head\.dropout"),
        ("seeds", 1.0, r"grid\.seeds: all trials of a run share it"),
        ("max_length", 64.0, r"grid\.max_length: all trials of a run share it"),
        ("task.stride", 64.0, r"grid\.task\.stride: all trials of a run share it"),
        ("task.metric", 1.0, r"grid\.task\.metric: all trials"),
        ("adapt.epochs", 1.0, r"grid\.adapt\.epochs: all trials of a run share it"),
    ],
)
def test_what_a_grid_cannot_vary_is_named(name, value, message):
    with pytest.raises(InputError, match=message):
        make_trials(FinetuneConfig(grid={name: [value]}))


BASE = trial().fingerprint("weights")


@pytest.mark.parametrize(
    "change",
    [
        {"run_dir": "elsewhere"},
        {"model": "copy/of/it"},
        {"task": TaskConfig(folder="elsewhere")},
        {"adapt": AdaptConfig(cache="elsewhere")},
        {"log_every_steps": 99},
        {"seeds": [0, 1, 2]},
        {"grid": {"optimizer.learning_rate": [5e-5, 9.0]}},
    ],
)
def test_the_fingerprint_ignores_what_decides_nothing(change):
    assert trial(**change).fingerprint("weights") == BASE


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [1]},
        {"max_length": 64},
        {"layer_decay": 0.9},
        {"patience": 1},
        {"evaluations_per_epoch": 2},
        {"reinitialise": True},
        {"head": HeadConfig(dropout=0.2)},
        {"task": TaskConfig(dev_fraction=0.2)},
        {"batch": ResolvedBatchConfig(sequences=64)},
        {"optimizer": OptimizerConfig(learning_rate=5e-5, beta2=0.99)},
        {"grid": {"optimizer.learning_rate": [4e-5]}},
    ],
)
def test_the_fingerprint_changes_with_what_decides_the_result(change):
    assert trial(**change).fingerprint("weights") != BASE


def test_trials_of_before_are_known_again():
    """A field that is new must not change what older run folders say that they were made from."""
    (made,) = make_trials(FinetuneConfig(seeds=[3], model="x"))
    known = "679a59b13144053b7fa579b4a6871d53710131cad6d84494b6c49025689fa92b"
    assert made.fingerprint("contents") == known, "name a new field in YOUNG"


def test_the_fingerprint_changes_with_the_encoder():
    assert trial().fingerprint("others") != BASE


def test_a_point_of_a_grid_is_the_same_trial_as_the_field_alone():
    chosen = replace(FinetuneConfig().optimizer, learning_rate=3e-5)
    point = trial(grid={"optimizer.learning_rate": [3e-5]})
    assert point.fingerprint("w") == trial(optimizer=chosen).fingerprint("w")


def test_results_of_before_a_field_was_there_still_count():
    plain = trial(model="x").config
    young = [f"optimizer.{name}" for name in ("matrix_learning_rate", "momentum")]
    assert "momentum" in recipe_text(plain) and "momentum" not in recipe_text(plain, young=young)
    moved = replace(plain, optimizer=OptimizerConfig(learning_rate=5e-5, beta2=0.999, momentum=0.9))
    assert "momentum: 0.9" in recipe_text(moved, young=young)
    # As it was before there were any.
    old = "54185003aa197ab61f4890afcc0a86da4e995a3f7042712d7b9b93ce42f2927f"
    assert trial().fingerprint("w") == old
    assert trial(optimizer=moved.optimizer).fingerprint("w") != old


def test_when_it_is_saved_is_not_part_of_what_a_trial_is():
    """Results of before trials were saved at all still count."""
    (often,) = make_trials(FinetuneConfig(seeds=[1], checkpoint=CheckpointConfig(every_steps=3)))
    (seldom,) = make_trials(FinetuneConfig(seeds=[1]))
    assert often.fingerprint("") == seldom.fingerprint("")
    assert "\ncheckpoint:" not in recipe_text(often.config, without=["checkpoint"])
    assert "\ncheckpoint:" in recipe_text(often.config)
