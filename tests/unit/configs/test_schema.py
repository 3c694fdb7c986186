"""Every check of the schema says which field is wrong; every field says what it is for."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from configs.errors import InputError
from configs.loader import dump_config, load_config
from configs.schema import (
    BatchConfig,
    CheckpointConfig,
    CollectiveConfig,
    DataConfig,
    EngineConfig,
    EvaluationConfig,
    MaskingConfig,
    ModelConfig,
    OptimizerConfig,
    PhaseConfig,
    PretrainConfig,
    ScheduleConfig,
    SourceConfig,
    TokenizerConfig,
)

BERT = ModelConfig(architecture="bert", segment_types=2)
NAN = float("nan")

BROKEN = [
    (SourceConfig, {"kind": "text"}, "data.sources.*has no path"),
    (SourceConfig, {"kind": "jsonl", "path": ""}, "data.sources.*has no path"),
    (SourceConfig, {"path": "text.txt"}, "data.sources.0.kind=text"),
    (SourceConfig, {"weight": 0.0}, "data.sources: weight=0.0"),
    (SourceConfig, {"name": "a/b"}, "data.sources: name=a/b"),
    (SourceConfig, {"name": ""}, "data.sources: name="),
    (SourceConfig, {"name": "a\n"}, "data.sources.N.name"),
    (DataConfig, {"sources": [SourceConfig(name="x")] * 2}, "data.sources: name=x stands there"),
    (DataConfig, {"sources": []}, "data.sources is empty"),
    (DataConfig, {"heldout_fraction": 0.0}, "data.heldout_fraction=0.0"),
    (DataConfig, {"heldout_fraction": 0.5}, "data.heldout_fraction=0.5"),
    (TokenizerConfig, {"vocabulary_size": 63}, "tokenizer.vocabulary_size=63"),
    (TokenizerConfig, {"training_megabytes": 0}, "tokenizer.training_megabytes=0"),
    (EvaluationConfig, {"mask_probability": 1.0}, "evaluation.mask_probability=1.0"),
    (EvaluationConfig, {"max_length": 7}, "evaluation.max_length=7"),
    (PretrainConfig, {"evaluation": EvaluationConfig(max_length=129)}, "evaluation.max_length=129"),
    (MaskingConfig, {"final_probability": 1.0}, "masking.final_probability=1.0"),
    (PhaseConfig, {"mask_probability": 0.0}, "phases: mask_probability=0.0"),
    (
        PretrainConfig,
        {"masking": MaskingConfig(0.3, 0.15), "phases": [PhaseConfig(mask_probability=0.2)]},
        "both move the rate",
    ),
    (
        PretrainConfig,
        {"masking": MaskingConfig(0.3, 0.15), "schedule": ScheduleConfig(max_minutes=1.0)},
        "masking.final_probability=0.15 lies at the end",
    ),
    (MaskingConfig, {"probability": 0.0}, "masking.probability=0.0"),
    (MaskingConfig, {"probability": 1.0}, "masking.probability=1.0"),
    (MaskingConfig, {"probability": NAN}, "masking.probability=nan"),
    (MaskingConfig, {"mask_share": -0.1}, "masking.mask_share=-0.1"),
    (MaskingConfig, {"mask_share": 0.0, "random_share": 1.1}, "masking.random_share=1.1"),
    (MaskingConfig, {"mask_share": 0.8, "random_share": 0.3}, "random_share exceed 1"),
    (ModelConfig, {"layers": 0}, "model.layers"),
    (ModelConfig, {"hidden_size": 0}, "model.hidden_size"),
    (ModelConfig, {"heads": 0}, "model.heads"),
    (ModelConfig, {"feed_forward_size": 0}, "model.feed_forward_size"),
    (ModelConfig, {"max_positions": 0}, "model.max_positions"),
    (ModelConfig, {"hidden_size": 250}, "model.hidden_size=250 is no multiple of model.heads=4"),
    (ModelConfig, {"segment_types": 3}, "model.segment_types"),
    (ModelConfig, {"position": "rope", "hidden_size": 36}, "model.heads=4 gives heads of 9"),
    (ModelConfig, {"rope_theta": 1.0}, "model.rope_theta=1.0"),
    (ModelConfig, {"rope_theta": NAN}, "model.rope_theta=nan"),
    (ModelConfig, {"rope_local_theta": 100.0}, "model.rope_local_theta=100.0 .*window"),
    (ModelConfig, {"dropout": 1.0}, "model.dropout=1.0"),
    (ModelConfig, {"attention_dropout": -0.1}, "model.attention_dropout=-0.1"),
    (ModelConfig, {"attention_window": 1}, "model.attention_window=1"),
    (ModelConfig, {"attention_window": 8, "global_every": 0}, "model.global_every=0"),
    (BatchConfig, {"sequences": 0}, "batch.sequences=0"),
    (BatchConfig, {"micro_sequences": 0}, "batch.micro_sequences=0"),
    (OptimizerConfig, {"learning_rate": 0.0}, "optimizer.learning_rate=0.0"),
    (OptimizerConfig, {"learning_rate": NAN}, "optimizer.learning_rate=nan"),
    (OptimizerConfig, {"matrix_learning_rate": 0.0}, "optimizer.matrix_learning_rate=0.0"),
    (OptimizerConfig, {"momentum": 1.0}, "optimizer.momentum=1.0 is no fraction"),
    (ScheduleConfig, {"max_steps": 9, "decay_fraction": 0.0}, "schedule.decay_fraction=0.0"),
    (ScheduleConfig, {"max_steps": 9, "decay_fraction": 1.1}, "schedule.decay_fraction=1.1"),
    (OptimizerConfig, {"beta1": 1.0}, "optimizer.beta1=1.0"),
    (OptimizerConfig, {"beta2": -1.0}, "optimizer.beta2=-1.0"),
    (OptimizerConfig, {"epsilon": 0.0}, "optimizer.epsilon=0.0"),
    (OptimizerConfig, {"weight_decay": -1.0}, "optimizer.weight_decay"),
    (OptimizerConfig, {"max_gradient_norm": -1.0}, "optimizer.max_gradient_norm"),
    (ScheduleConfig, {}, "not none"),
    (ScheduleConfig, {"max_steps": 1, "max_epochs": 1}, "not max_steps, max_epochs; .*=null"),
    (ScheduleConfig, {"max_steps": 0}, "schedule.max_steps must be above 0"),
    (ScheduleConfig, {"max_minutes": -1.0}, "schedule.max_minutes must be above 0"),
    (ScheduleConfig, {"max_steps": 9, "warmup_steps": -1}, "schedule.warmup_steps"),
    (ScheduleConfig, {"max_steps": 9, "warmup_fraction": 1.0}, "schedule.warmup_fraction=1.0"),
    (
        ScheduleConfig,
        {"max_steps": 9, "warmup_steps": 1, "warmup_fraction": 0.1},
        "warmup_steps or warmup_fraction",
    ),
    (ScheduleConfig, {"max_minutes": 9, "warmup_steps": 1}, "use schedule.warmup_fraction"),
    (EngineConfig, {"zero_stage": 3}, "engine.zero_stage=3"),
    (CollectiveConfig, {"bucket_megabytes": 0.0}, "collective.bucket_megabytes=0.0"),
    (CollectiveConfig, {"bucket_megabytes": NAN}, "collective.bucket_megabytes=nan"),
    (CheckpointConfig, {"every_steps": 0}, "checkpoint.every_steps"),
    (CheckpointConfig, {"keep": 0}, "checkpoint.keep"),
    (EvaluationConfig, {"every_steps": 0}, "evaluation.every_steps"),
    (EvaluationConfig, {"sequences": 0}, "evaluation.sequences"),
    (PretrainConfig, {"seed": -1}, "seed=-1"),
    (PretrainConfig, {"seed": 2**32}, f"seed={2**32}"),
    (PretrainConfig, {"max_length": 7}, "max_length=7"),
    (PretrainConfig, {"max_length": 513}, "max_length=513 .*model.max_positions=512"),
    (
        PretrainConfig,
        {"phases": [PhaseConfig(max_length=1024)]},
        "phases.0.max_length=1024 .*model.max_positions=512",
    ),
    (
        PretrainConfig,
        {"phases": [PhaseConfig(rope_theta=1e5)]},
        "phases.0.rope_theta=100000.0 .*model.position=learned",
    ),
    (PhaseConfig, {"rope_theta": 1.0}, "phases: rope_theta=1.0"),
    (PretrainConfig, {"log_every_steps": 0}, "log_every_steps"),
    (PretrainConfig, {"short_sequence_probability": 1.1}, "short_sequence_probability=1.1"),
    (
        PretrainConfig,
        {"next_sentence_prediction": True, "model": BERT},
        "input_format=full-sentences .*choose segment-pair",
    ),
    (
        PretrainConfig,
        {"next_sentence_prediction": True, "input_format": "segment-pair"},
        "model.architecture=bert",
    ),
    (
        PretrainConfig,
        {"document_attention": True, "input_format": "segment-pair"},
        "document_attention: .*input_format=segment-pair .*choose full-sentences",
    ),
    (PretrainConfig, {"mask_epochs": 0}, "mask_epochs=0"),
    (PretrainConfig, {"sample_epochs": 0}, "sample_epochs=0"),
    (PretrainConfig, {"mask_epochs": 10, "sample_epochs": 3}, "mask_epochs=10 .*sample_epochs=3"),
    (PretrainConfig, {"mask_epochs": 10, "sample_epochs": None}, "sample_epochs=None"),
    (
        PretrainConfig,
        {"optimizer": OptimizerConfig(name="muon"), "engine": EngineConfig(zero_stage=2)},
        "optimizer.name=muon needs engine.zero_stage=0",
    ),
    (
        PretrainConfig,
        {"optimizer": OptimizerConfig(name="stable-adamw"), "engine": EngineConfig(zero_stage=1)},
        "optimizer.name=stable-adamw needs engine.zero_stage=0",
    ),
    (
        PretrainConfig,
        {"optimizer": OptimizerConfig(name="lamb"), "engine": EngineConfig(zero_stage=1)},
        "optimizer.name=lamb needs engine.zero_stage=0",
    ),
]


@pytest.mark.parametrize(
    ("schema", "fields", "message"), BROKEN, ids=[str(message) for *_, message in BROKEN]
)
def test_a_broken_rule_names_its_field(schema, fields, message):
    with pytest.raises(InputError, match=message) as error:
        schema(**fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (MaskingConfig, {"mask_share": 0.9, "random_share": 0.1}),
        (MaskingConfig, {"mask_share": 0.0, "random_share": 0.0}),
        (ScheduleConfig, {"max_minutes": 0.5, "warmup_fraction": 0.1}),
        (SourceConfig, {"kind": "hub", "path": "wikitext"}),
        (PretrainConfig, {"mask_epochs": 10, "sample_epochs": 5}),
        (PretrainConfig, {"seed": 2**32 - 1, "max_length": 512}),
        (
            PretrainConfig,
            {
                "model": ModelConfig(position="rope"),
                "max_length": 1024,
                "phases": [PhaseConfig(max_length=8192, rope_theta=160_000.0)],
            },
        ),
        (PretrainConfig, {"model": ModelConfig(position="alibi"), "max_length": 8192}),
        (
            PretrainConfig,
            {"next_sentence_prediction": True, "model": BERT, "input_format": "sentence-pair"},
        ),
    ],
)
def test_the_edges_are_allowed(schema, fields):
    config = schema(**fields)
    with pytest.raises(FrozenInstanceError):
        setattr(config, next(iter(fields)), None)


def test_micro_batches_are_equally_many_for_every_rank():
    batch = BatchConfig(sequences=33, micro_sequences=16).resolved()
    assert [batch.micro_batches(world_size) for world_size in (1, 2, 3, 4)] == [3, 4, 3, 4]
    assert BatchConfig(sequences=8, micro_sequences=64).resolved().micro_batches(1) == 1


def test_a_resolved_run_has_a_number_and_is_else_the_same():
    asked = load_config(PretrainConfig, "bert_small", ["batch.micro_sequences=auto"])
    resolved = asked.resolved(8)
    text = dump_config(asked)
    assert dump_config(resolved) == text.replace("micro_sequences: auto", "micro_sequences: 8")
    assert resolved.resolved() == resolved
    with pytest.raises(InputError, match=r"batch\.micro_sequences=auto: name a number"):
        asked.resolved()


def test_changes_are_allowed_by_name():
    assert CheckpointConfig(allow_changes=["corpus", "optimizer.learning_rate"]).allow_changes
    with pytest.raises(InputError, match=r"checkpoint\.allow_changes: '1' is no name"):
        CheckpointConfig(allow_changes=["1"])


def test_rates_of_masking_are_those_of_the_run_and_its_phases():
    later = [PhaseConfig(from_steps=5, mask_probability=0.4), PhaseConfig(from_steps=9)]
    assert PretrainConfig().mask_probabilities == (0.15,)
    assert PretrainConfig(masking=MaskingConfig(0.3, 0.2)).mask_probabilities == (0.3, 0.2)
    assert PretrainConfig(phases=later).mask_probabilities == (0.15, 0.4)
    first = PhaseConfig(mask_probability=0.1)
    assert PretrainConfig(phases=[first, *later]).mask_probabilities == (0.1, 0.4)
