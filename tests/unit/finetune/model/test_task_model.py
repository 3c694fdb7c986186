"""Heads compute what Hugging Face's classes compute with the same weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.finetune_schema import HeadConfig
from finetune.model import task_model
from finetune.model.task_export import CLASSES, FAMILIES, head_names
from finetune.model.task_model import (
    TaskBatch,
    TaskLoss,
    TaskModel,
    collate,
    compute_logits,
    one_token_each,
)
from finetune.tasks.task import Feature
from pretrain.batch import flattened, unflattened
from pretrain.model.convert import huggingface_config, renamed
from pretrain.model.encoder import Encoder
from pretrain.model.packing import Packing
from pretrain.optim.groups import parameter_groups
from pretrain.ranks.world import World
from tests.unit.pretrain.model.examples import PAD, VOCABULARY, tiny
from tokenizer.base import SpecialTokens

transformers = pytest.importorskip("transformers")

SPECIAL = SpecialTokens(cls=0, sep=2, pad=PAD, mask=4, unk=1)
SHAPES = {
    "bert": tiny(architecture="bert", segment_types=2, layer_norm_epsilon=1e-12),
    "roberta": tiny(),
}
OUTPUTS = {"classification": 3, "regression": 1, "choice": 1, "tagging": 5, "span": 2}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def make_model(kind: str, architecture: str = "bert", **head) -> TaskModel:
    """A model in evaluation mode whose parameters are all random."""
    torch.manual_seed(0)
    config = HeadConfig(**head)
    outputs, loss = OUTPUTS[kind], TaskLoss(kind, config)
    model = TaskModel(Encoder(SHAPES[architecture], VOCABULARY, PAD), outputs, loss)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def random_features(kind: str) -> list[Feature]:
    rng = np.random.default_rng(0)
    features = []
    for number, longest in enumerate((7, 12, 4, 9)):
        lengths = [longest, longest - 2, longest - 3] if kind == "choice" else [longest]
        ids = tuple(rng.integers(PAD + 1, VOCABULARY, n) for n in lengths)
        segments = tuple((np.arange(n) >= n // 2).astype(np.int64) for n in lengths)
        targets = {
            "classification": np.array([number % 3]),
            "choice": np.array([number % 3]),
            "regression": np.array([number / 2], np.float32),
            "tagging": np.where(np.arange(longest) % 3 == 1, -100, np.arange(longest) % 5),
            "span": np.array([1, longest - 1]),
        }[kind]
        features.append(Feature(number, ids, segments, targets))
    return features


def whole(features: list[Feature]) -> TaskBatch:
    return collate(features, np.arange(len(features)), seed=0, step=0)


def padded(parts, fill: int = 0) -> torch.Tensor:
    tensors = [torch.from_numpy(part) for part in parts]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=fill)


def huggingface(model: TaskModel, architecture: str):
    """Their class with the same weights."""
    names = head_names(model.kind, architecture)
    options = huggingface_config(SHAPES[architecture], VOCABULARY, SPECIAL, next_sentence=False)
    options |= {"num_labels": OUTPUTS[model.kind]}
    kind = getattr(transformers, FAMILIES[architecture] + CLASSES[model.kind])
    config = transformers.AutoConfig.for_model(**options, attn_implementation="eager")
    theirs = kind(config).eval()
    weights = renamed(model.state_dict(), SHAPES[architecture], names)
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not missing and not unexpected
    return theirs


@pytest.mark.parametrize("architecture", SHAPES)
@pytest.mark.parametrize("kind", OUTPUTS)
@torch.no_grad()
def test_logits_and_losses_agree_with_hugging_face(kind, architecture):
    model, features = make_model(kind, architecture), random_features(kind)
    theirs, batch = huggingface(model, architecture), whole(features)
    sequences = [ids for feature in features for ids in feature.ids]
    inputs = {
        "input_ids": padded(sequences, PAD),
        "attention_mask": padded([np.ones_like(ids) for ids in sequences]),
    }
    if architecture == "bert":
        inputs["token_type_ids"] = padded([s for f in features for s in f.segments])
    is_token = inputs["attention_mask"].bool()
    if kind == "choice":
        inputs = {name: tensor.unflatten(0, (4, 3)) for name, tensor in inputs.items()}
    targets = [feature.targets for feature in features]
    if kind == "span":
        inputs |= dict(zip(("start_positions", "end_positions"), padded(targets).T))
    else:
        inputs["labels"] = padded(targets, -100).squeeze(-1)
    out, ours = theirs(**inputs), model(batch)
    if kind == "span":
        logits = torch.stack([out.start_logits, out.end_logits], -1)[is_token]
    elif kind == "tagging":
        logits = out.logits[is_token]
    else:
        logits = out.logits.reshape(ours.logits.shape)
    torch.testing.assert_close(ours.logits, logits, **CLOSE)
    loss = out.loss
    if kind == "span":  # padding takes part in their softmax, so each sequence is asked alone
        rows = [{n: t[None, row] for n, t in inputs.items()} for row in range(4)]
        cut = [
            {n: t[:, :length] if t.dim() == 2 else t for n, t in row.items()}
            for row, length in zip(rows, map(len, sequences))
        ]
        loss = torch.stack([theirs(**row).loss for row in cut]).mean()
    weight = model.loss.weight(batch.targets)
    torch.testing.assert_close(ours.loss_sum / weight, loss, **CLOSE)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", OUTPUTS)
@torch.no_grad()
def test_an_example_does_not_see_its_neighbours(kind, pooling):
    model, features = make_model(kind, pooling=pooling), random_features(kind)
    together = model(whole(features))
    alone = [model(collate(features, np.array([number]), 0, 0)) for number in range(4)]
    torch.testing.assert_close(together.logits, torch.cat([o.logits for o in alone]), **CLOSE)
    sums = torch.stack([out.loss_sum for out in alone])
    torch.testing.assert_close(together.loss_sum, sums.sum(), **CLOSE)


@pytest.mark.parametrize("kind", OUTPUTS)
@torch.no_grad()
def test_a_device_computes_from_what_travels_there(kind):
    model, batch = make_model(kind), whole(random_features(kind))
    views = unflattened(flattened(batch.tensors, batch.layout, pin=False), batch.layout)
    assert views["targets"].dtype == batch.targets.dtype
    for found, expected in zip(model(replace(batch, **views)), model(batch)):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", OUTPUTS)
def test_batches_made_ahead_give_the_same_logits(kind, monkeypatch):
    model, features = make_model(kind), random_features(kind)
    arguments = model, kind, features, 2, World(0, 1, torch.device("cpu"))
    found = compute_logits(*arguments)
    monkeypatch.setattr(task_model, "prefetched", iter)
    for one, other in zip(found, compute_logits(*arguments)):
        assert np.array_equal(one, other)


@torch.no_grad()
def test_mean_pooling_is_the_mean_of_own_tokens():
    model, batch = make_model("classification", pooling="mean"), whole(random_features("span"))
    hidden = model.encoder(batch)
    parts = hidden.split(batch.boundaries.diff().tolist())
    pooled = model.head.pool(hidden, Packing.of(batch))
    torch.testing.assert_close(pooled, torch.stack([part.mean(0) for part in parts]), **CLOSE)


@pytest.mark.parametrize("kind", ["classification", "tagging"])
def test_dropout_of_the_head_is_a_function_of_step_and_example(kind):
    model, features = make_model(kind, dropout=0.5).train(), random_features(kind)
    steps = [collate(features, np.arange(4), 0, step) for step in (0, 0, 1)]
    first, same, other = (model(batch).logits for batch in steps)
    assert torch.equal(first, same) and not torch.allclose(first, other)
    swapped = model(collate(features, np.array([2, 0]), 0, 0)).logits
    lengths = [len(f.targets) for f in features]
    rows = first.split(lengths)
    torch.testing.assert_close(swapped, torch.cat([rows[2], rows[0]]), **CLOSE)


def test_the_head_drops_at_a_place_of_its_own():
    model = make_model("classification")
    sites = [m.site for m in model.modules() if hasattr(m, "site")]
    assert len(sites) == len(set(sites)) and model.head.dropout.site == max(sites)


def test_one_token_each_keeps_the_keys():
    packing = Packing.of(whole(random_features("classification")))
    single = one_token_each(packing)
    assert single.lengths == [1, 1, 1, 1] and single.is_uniform
    assert single.dropout_keys == packing.dropout_keys and single.boundaries.dtype == torch.int32


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_parameter_learns(kind):
    model = make_model(kind)
    model(whole(random_features(kind))).loss_sum.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())


def test_activation_checkpointing_changes_nothing():
    shape, config = replace(SHAPES["bert"], dropout=0.1), HeadConfig(dropout=0.3)
    loss, batch = TaskLoss("classification", config), whole(random_features("classification"))
    gradients = []
    for saves_memory in (False, True):
        torch.manual_seed(0)
        model = TaskModel(Encoder(shape, VOCABULARY, PAD, saves_memory), 3, loss)
        model.train()(batch).loss_sum.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


def test_muon_finds_the_layers_matrices_here_too():
    model = make_model("classification", "roberta")
    groups = parameter_groups(model, 0.01, layer_decay=1.0, matrix_scale=4.0)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)] for group in groups if group["matrices"] for p in group["params"]}
    assert len(found) == 4 * len(model.encoder.layers)
    assert all(name.startswith("encoder.layers.") for name in found)
