"""Diagnosis: what fits, what would, what fails and what is only worth a word."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.loader import load_config
from configs.schema import PretrainConfig, ResolvedPretrainConfig
from launch.diagnosis.dry_run import check_shares, deal, find_corpus, shrunken
from launch.diagnosis.examine import (
    advice,
    check_memory,
    hardware_with_gpus,
    look_for_corpus,
    plan_memory,
)
from launch.diagnosis.memory_model import MemoryModel
from launch.diagnosis.projection import Data, project
from pretrain.data.corpus import prepare, prepare_store
from tests.distributed.ranks import on_ranks
from tests.unit.launch.diagnosis.examples import base


def model_of(config: ResolvedPretrainConfig) -> MemoryModel:
    return MemoryModel(config, 50265, "cuda", "bf16", framework=1.5e9)


def memory_of(config: ResolvedPretrainConfig, kind: str):
    return check_memory(model_of(config), hardware_with_gpus(config, kind, 64, 8, None, None))


def test_what_fits_is_ok():
    check = memory_of(base(), "h100")
    assert check.state == "ok" and check.text.startswith("fits: ")


@pytest.mark.parametrize(
    ("layers", "cure"),
    [
        (12, "set batch.micro_sequences=64"),
        (140, "set engine.activation_checkpointing=true batch.micro_sequences=4"),
        (155, "set engine.zero_stage=2 batch.micro_sequences=4"),
        (600, "choose a smaller model or a larger device"),
    ],
)
def test_what_does_not_fit_says_what_would(layers, cure):
    overrides = ["batch.micro_sequences=128", f"model.layers={layers}"]
    check = memory_of(base(*overrides), "l4")
    assert check.state == "fail" and "does NOT fit" in check.text
    assert check.text.endswith(cure)
    if cure.startswith("set"):
        assert memory_of(base(*overrides, *cure.split()[1:]), "l4").state == "ok"


def test_zero_stages_split_what_they_promise():
    memory, weights = model_of(base()), 4.0 * model_of(base()).parameters
    parts = {stage: memory.largest_parts(64, stage) for stage in (0, 1, 2)}
    assert parts[0]["optimizer moments"] == 2 * weights
    assert parts[1]["optimizer moments"] == parts[2]["optimizer moments"] == 2 * weights / 64
    assert parts[0]["gradients"] == weights and parts[2]["gradients"] == weights / 64
    assert memory.peak(64, 2).total < memory.peak(64, 0).total


def test_bad_use_of_ranks_is_worth_a_word():
    config = base("batch.sequences=64")
    hardware = hardware_with_gpus(config, "l4", 64, 8, None, 0.5)
    (phase,) = Data.without_corpus(config).phases
    found = project(phase, model_of(config), hardware)
    assert {check.name for check in advice(config, hardware, found)} == {
        "micro-batches",
        "all-reduce",
    }


def test_an_automatic_micro_batch_is_estimated():
    config = load_config(PretrainConfig, "roberta_base", ["batch.micro_sequences=auto"])
    hardware = hardware_with_gpus(config, "l4", 64, 8, None, None)
    memory, (check,) = plan_memory(config, hardware)
    assert memory.config.batch.micro_sequences == 64 and check.state == "ok"
    assert check_memory(memory, hardware).state == "ok"


def test_too_few_sequences_for_the_ranks_are_found_without_a_corpus():
    check_shares(Data.without_corpus(base()), 64)
    with pytest.raises(InputError, match=r"batch\.sequences=48 on 64 ranks.*set it to 64"):
        check_shares(Data.without_corpus(base("batch.sequences=48")), 64)
    longer = "phases=[{from_steps: 99, max_length: 4096, sequences: 32}]"
    with pytest.raises(InputError, match=r"from step 99 on: phases\.N\.sequences=32 on 64 ranks"):
        check_shares(Data.without_corpus(base(longer, "model.position=rope")), 64)
    short = base("schedule.max_steps=100")
    with pytest.raises(InputError, match=r"schedule\.warmup_steps=24000"):
        Data.without_corpus(short).total_steps(short)


def test_a_corpus_is_found_but_never_made(tiny, tmp_path):
    empty = load_config(PretrainConfig, str(tiny), [f"data.cache={tmp_path}"])
    assert find_corpus(empty) is None and not any(tmp_path.iterdir())
    config = load_config(PretrainConfig, str(tiny)).resolved()
    made = prepare(config)
    found = find_corpus(config)
    assert found.folder == made.folder
    other = replace(config.tokenizer, vocabulary_size=513)
    assert find_corpus(replace(config, tokenizer=other)) is None
    data = deal(config, found, ranks=4)
    (phase,) = data.phases
    assert phase.place.tokens_per_epoch > 1000 and 0 < phase.mean_length <= config.max_length
    with pytest.raises(InputError, match="too few for 64 ranks"):
        deal(config, found, ranks=64)


def test_a_damaged_store_is_told(tiny, tmp_path):
    made = prepare_store(load_config(PretrainConfig, str(tiny)))
    store = Path(shutil.copytree(made, tmp_path / "store"))
    config = load_config(PretrainConfig, str(tiny), [f"data.store={store}"])
    corpus, (check,) = look_for_corpus(config, makes=False)
    assert corpus and check.state == "ok" and check.text.endswith("; verified")
    (tokens,) = store.glob("*/train/*.tokens")
    tokens.write_bytes(tokens.read_bytes()[::-1])
    corpus, (check,) = look_for_corpus(config, makes=False)
    assert corpus is None and check.state == "fail" and str(tokens) in check.text


VARIANTS = [
    [],
    ["engine.zero_stage=1", "collective.overlap=true"],
    ["engine.zero_stage=2", "collective.compression=bf16"],
    ["optimizer.name=lamb", "batch.micro_sequences=16"],
]


def take_steps(variants: list[list[str]]) -> list[str]:
    """What became of a step of each variant as rank 0 of 64."""
    import os

    from launch.diagnosis.dry_run import pretended_ranks, try_step

    before, found = dict(os.environ), []
    with pretended_ranks(64) as world:
        for overrides in variants:
            try:
                try_step(base(*overrides), world, "bf16")
                found.append("taken")
            except InputError as error:
                found.append(str(error))
    assert dict(os.environ) == before, "the environment is left as it was"
    return found


def test_a_step_is_taken_as_one_of_many_ranks():
    broken = ["engine.zero_stage=1", "collective.compression=fp16"]
    (found,) = on_ranks(take_steps, 1, [*VARIANTS, broken])
    assert found[:-1] == ["taken"] * len(VARIANTS)
    assert "collective.compression=fp16 has no effect" in found[-1]


def test_a_shrunken_configuration_keeps_its_choices():
    config = base("engine.zero_stage=2")
    small = shrunken(config)
    assert small.model.layers == 1 and small.model.heads == config.model.heads
    for name in ("engine", "optimizer", "batch", "collective", "input_format"):
        assert getattr(small, name) == getattr(config, name)


@pytest.mark.parametrize("name", ["roberta_base", "large_batch/lamb_64k_32k", "large_batch/warmup"])
def test_configurations_with_phases_shrink_as_others_do(name):
    small = shrunken(load_config(PretrainConfig, name).resolved(16))
    assert (small.max_length, small.model.layers, small.phases) == (8, 1, [])
