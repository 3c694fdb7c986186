"""The predicted bytes against those that autograd and the allocator really hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from configs.loader import load_config
from configs.schema import PretrainConfig, ResolvedPretrainConfig
from launch.diagnosis.memory_model import MemoryModel, MicroBatchSize
from launch.selfchecks.profile import allocated
from pretrain.model.pretraining import PretrainingModel, initialise
from tests.unit.pretrain.model.examples import VOCABULARY, random_batch

LENGTHS = (48, 30, 64, 57)
SHAPE = [
    "model={layers: 3, hidden_size: 64, heads: 4, feed_forward_size: 256, max_positions: 64}",
    "max_length=64",
    "batch={sequences: 4, micro_sequences: 4}",
]


def configuration(*overrides: str) -> ResolvedPretrainConfig:
    return load_config(PretrainConfig, "small", [*SHAPE, *overrides]).resolved()


def built(config: ResolvedPretrainConfig) -> PretrainingModel:
    model = PretrainingModel(
        config.model,
        VOCABULARY,
        3,
        config.next_sentence_prediction,
        config.engine.activation_checkpointing,
    )
    initialise(model, config.model, 0)
    return model


def axes(batch) -> MicroBatchSize:
    return MicroBatchSize(
        len(batch.tokens_T), len(batch.boundaries) - 1, batch.longest, len(batch.labels_M)
    )


def saved_bytes(model: PretrainingModel, batch, bf16: bool) -> int:
    """Bytes of all storages that autograd keeps, the parameters' and the batch's left out."""
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    fields = vars(batch).values()
    known |= {t.untyped_storage().data_ptr() for t in fields if isinstance(t, torch.Tensor)}
    kept, sizes = [], {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)  # or its place could be given to another
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        model(batch)
    return sum(sizes.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("lengths", [LENGTHS, (64,) * 4], ids=["ragged", "equal"])
@pytest.mark.parametrize("pairs", [False, True])
def test_saved_tensors_are_predicted(precision, rate, lengths, pairs):
    overrides = [f"model.dropout={rate}", f"model.attention_dropout={rate}"]
    if pairs:
        overrides += ["model.architecture=bert", "model.segment_types=2"]
        overrides += ["input_format=segment-pair", "next_sentence_prediction=true"]
    config = configuration(*overrides)
    batch, memory = random_batch(lengths, 0.15), MemoryModel(config, VOCABULARY, "cpu", precision)
    size = axes(batch)
    predicted = memory.encoder(size) + memory.heads(size) + memory.weight_copies()
    measured = saved_bytes(built(config), batch, precision == "bf16")
    assert predicted == pytest.approx(measured, rel=0.03)


AXES = [
    ("model.norm=pre", "model.position=rope", "model.feed_forward=geglu", "model.bias=decoder"),
    ("model.norm_kind=rmsnorm", "model.position=none", "model.feed_forward=relu2"),
    ("model.qk_norm=true", "model.tied=false", "model.feed_forward=swiglu"),
    ("model.norm=pre", "model.norm_kind=rmsnorm", "model.qk_norm=true", "model.position=rope"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("axes_of_model", AXES, ids=",".join)
def test_saved_tensors_of_every_kind_of_encoder_are_predicted(precision, axes_of_model):
    config = configuration("model.attention_dropout=0.1", *axes_of_model)
    batch, memory = random_batch(LENGTHS, 0.15), MemoryModel(config, VOCABULARY, "cpu", precision)
    size = axes(batch)
    predicted = memory.encoder(size) + memory.heads(size) + memory.weight_copies()
    measured = saved_bytes(built(config), batch, precision == "bf16")
    assert predicted == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize(
    "choices",
    [
        ("model.attention_window=16", "model.attention=eager"),
        ("model.attention_window=16", "model.attention=sdpa"),
        ("model.attention_window=4", "model.attention=eager", "max_length=512"),
        ("model.attention_window=4", "model.attention=sdpa", "max_length=512"),
        ("model.position=alibi", "model.attention=eager"),
        ("model.position=alibi", "model.attention=sdpa", "model.attention_window=16"),
        ("document_attention=true", "model.attention=sdpa", "model.attention_window=16"),
    ],
    ids=["mask", "sdpa mask", "blocks", "sdpa blocks", "alibi", "sdpa alibi", "documents"],
)
def test_saved_tensors_of_what_attention_sees_are_predicted(choices):
    rates = ("model.dropout=0", "model.attention_dropout=0", "model.max_positions=512")
    config = configuration(*rates, "model.global_every=2", *choices)
    batch = random_batch((config.max_length, config.max_length - 20), 0.15)
    if config.document_attention:
        batch = replace(batch, documents=batch.boundaries, longest_document=batch.longest)
    memory = MemoryModel(config, VOCABULARY, "cpu", "fp32")
    size = axes(batch)
    predicted = memory.encoder(size) + memory.heads(size)
    if memory.backend == "eager":  # adding a bias keeps nothing
        predicted -= memory.score_biases(size)
    assert predicted == pytest.approx(saved_bytes(built(config), batch, bf16=False), rel=0.03)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("axes_of_model", [(), *AXES[:3]], ids=",".join)
def test_the_allocators_peak_is_predicted(precision, checkpointing, axes_of_model):
    """Forward and backward passes with gradients in place, as with accumulation."""
    config = configuration(
        "model.layers=6",
        f"engine.activation_checkpointing={str(checkpointing).lower()}",
        *axes_of_model,
    )
    batch, memory = random_batch((64,) * 16, 0.15), MemoryModel(config, 97, "cpu", precision)
    model = built(config)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            sums = model(batch)
        sums.mlm_loss_sum.backward()

    step()
    measured = allocated(step)
    model_of = memory.with_micro_sequences(4)
    model_of.config = replace(config, batch=replace(config.batch, sequences=16, micro_sequences=16))
    moments = model_of.moments(ranks=1, zero_stage=0)[:2]
    names = ("activations", "bf16 copies of weights", "logits and heads", "loss in fp32")
    predicted = max(sum(m.parts.get(name, 0) for name in names) for m in moments)
    assert predicted == pytest.approx(measured, rel=0.1)
