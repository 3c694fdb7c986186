"""The lines a run begins with tell what was decided."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.model.pretraining import make_model
from pretrain.optim.schedule import Schedule
from pretrain.ranks.world import World
from pretrain.run.opening import Opening, attention_line, data_line, masked_example
from tests.unit.pretrain.run.runs import ALONE, TINY

STEPS = [
    "schedule={max_steps: 10, warmup_fraction: 0.1}",
    "batch={sequences: 8, micro_sequences: 2}",
    "run_dir=runs/mine",
]


def opening(corpus, *overrides: str) -> Opening:
    config = load_config(PretrainConfig, "small", [*TINY, *STEPS, *overrides]).resolved()
    batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer))
    return Opening(
        config=config,
        world=ALONE,
        corpus=corpus,
        batches=batches,
        schedule=Schedule.make(config.schedule, batches.phases),
        model=make_model(config, corpus.tokenizer),
        step=0,
        precision="fp32",
        precision_line="fp32: because",
        compiles="engine.compile=true" in overrides,
        peak_flops=2.5e12,
    )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((), "eager attention"),
        (
            ("model.layers=4", "model.attention_window=8", "document_attention=true"),
            "eager attention, in 2 layers of 8 tokens, within documents",
        ),
        (("model.position=none", "phases=[{max_length: 600}]"), "sdpa attention"),
        (("model.attention_dropout=0.1",), "eager attention"),
    ],
)
def test_the_start_tells_what_attention_is_of(overrides, words):
    config = load_config(PretrainConfig, "small", [*TINY, *overrides])
    assert attention_line(config, ALONE, "fp32") == words


def test_the_start_tells_why_it_is_not_flash():
    cuda = World(0, 1, torch.device("cuda"))
    config = load_config(PretrainConfig, "small", ["model.position=alibi"])
    assert "sdpa attention (flash: its kernels take no model.position=alibi)" in attention_line(
        config, cuda, "bf16"
    )


def lines_of(start: Opening) -> dict[str, str]:
    return {line[:10].strip(): line[10:] for line in start.text().splitlines() if line}


def test_every_decision_has_its_line(corpus):
    start = opening(corpus)
    lines, parameters = lines_of(start), sum(p.numel() for p in start.model.parameters())
    train, heldout = corpus.train, corpus.heldout
    assert lines["run"] == "runs/mine"
    assert lines["data"] == (
        f"{train.token_count:,} training and {heldout.token_count:,} held-out tokens in "
        f"{len(train.document_ends):,} and {len(heldout.document_ends):,} documents"
    )
    assert lines["tokenizer"] == f"byte-bpe, {corpus.tokenizer.vocabulary_size:,} entries"
    assert lines["model"].startswith(f"roberta 1 x 16, {parameters:,} parameters, ")
    assert lines["precision"] == "fp32: because"
    assert lines["samples"].startswith("full-sentences: ")
    assert lines["samples"].endswith(" dynamic masking")
    assert lines["batch"] == "8 x 16 tokens in 4 micro-batches, over 1 rank, ZeRO 0"
    assert lines["traffic"] == "one rank: nothing to reduce"
    assert lines["schedule"].startswith("10 steps, ")
    assert lines["device"].endswith("measured matmul peak 2.50 TFLOP/s per rank")
    assert list(lines)[-2:] == ["example", "predict"]


def test_a_resumed_run_says_from_where(corpus):
    assert lines_of(replace(opening(corpus), step=3))["run"] == "runs/mine, resumed at step 3"


def test_phases_and_static_masks_are_told(corpus):
    phases = "phases=[{sequences: 4}, {from_steps: 5, sequences: 8}]"
    start = opening(corpus, phases, "mask_epochs=10")
    lines = lines_of(start)
    assert lines["batch"].startswith("4 x 16 tokens in 2 micro-batches; from step 5 8 x 16 tokens")
    assert lines["samples"].endswith("static (10 masks) masking")


def test_a_run_by_the_clock_has_minutes_for_steps(corpus):
    line = lines_of(opening(corpus, "schedule={max_minutes: 2.5, max_steps: null}"))["schedule"]
    assert line.startswith("2.5 minutes, peak learning rate ")


def test_the_example_names_exactly_what_is_predicted(corpus):
    batch = opening(corpus).batches.step(0)[-1]
    text = masked_example(batch, corpus.tokenizer)
    first = int(batch.boundaries[-2])
    predicted = [
        label
        for place, label in zip(batch.predicted_M.tolist(), batch.labels_M.tolist())
        if place >= first
    ]
    example, predict = text.splitlines()
    assert example.startswith("example   ") and predict.startswith("predict   ")
    assert predict.count(" | ") == len(predicted) - 1
    for label in predicted:
        assert corpus.tokenizer.decode([label]).strip() in predict


def test_what_must_be_known_of_the_sources_is_said(corpus):
    assert "note" not in data_line(corpus)
    said = data_line(replace(corpus, note="nothing is held out of x"))
    assert said.splitlines()[1] == "note      nothing is held out of x"


def test_the_start_tells_whether_layers_are_compiled(corpus):
    said = [opening(corpus, f"engine.compile={asked}").text() for asked in ("true", "false")]
    assert ["attention, compiled\n" in text for text in said] == [True, False]
