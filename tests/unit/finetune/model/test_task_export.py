"""Exported models give our logits: in transformers' classes and in onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from configs.errors import InputError
from configs.finetune_schema import HeadConfig
from configs.schema import ModelConfig, TokenizerConfig
from configs.task_schema import TaskConfig
from finetune.data.example import TextExample
from finetune.model.model_folder import FinetunedModel, ModelCard, load_finetuned, make_task_model
from finetune.model.task_export import CLASSES, export_huggingface, export_onnx
from launch.export import main
from pretrain.model.packing import Packing
from tests.finetuning import topic_rows
from tests.unit.pretrain.engine.padded import flat, halves, padded, random_sequences
from tokenizer.base import Tokenizer
from tokenizer.training import train_tokenizer

transformers = pytest.importorskip("transformers")

AUTO = {
    "classification": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
    "choice": "AutoModelForMultipleChoice",
    "tagging": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
}
LABELS = {"classification": ("bad", "good", "so-so"), "tagging": ("O", "B-x", "I-x", "B-y")}
TOKENIZERS = {"bert": "wordpiece", "roberta": "byte-bpe"}
LENGTHS = (7, 13, 3, 9, 1, 20)
OPTIONS = 3
CASES = [(kind, architecture) for kind in AUTO for architecture in TOKENIZERS]


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    texts = [text for text, _ in topic_rows()]
    size = {"vocabulary_size": 300, "allow_smaller_vocabulary": True}
    return {
        architecture: train_tokenizer(TokenizerConfig(kind=kind, **size), texts)
        for architecture, kind in TOKENIZERS.items()
    }


def random_finetuned(
    kind: str, architecture: str, tokenizers: dict[str, Tokenizer], pooling: str = "cls"
) -> FinetunedModel:
    """A tiny model, every parameter random, whose table is larger than its tokenizer needs."""
    shape = ModelConfig(
        architecture=architecture,
        layers=2,
        hidden_size=32,
        heads=4,
        feed_forward_size=48,
        max_positions=32,
        segment_types=2 if architecture == "bert" else 1,
    )
    labels = LABELS.get(kind, ())
    card = ModelCard(TaskConfig(kind=kind), shape, HeadConfig(pooling=pooling), labels, 32, {}, {})
    torch.manual_seed(0)
    tokenizer = tokenizers[architecture]
    model = make_task_model(card, tokenizer.special.pad, tokenizer.vocabulary_size + 5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return FinetunedModel(card, tokenizer, model.eval())


def inputs_of(model: FinetunedModel, lengths: tuple[int, ...] = LENGTHS):
    """(sequences, segments), the latter all 0 where the model has one type."""
    sequences = random_sequences(lengths, model.tokenizer.vocabulary_size)
    two = model.card.model.segment_types == 2
    return sequences, halves(sequences) if two else [[0] * len(ids) for ids in sequences]


@torch.no_grad()
def our_logits(model: FinetunedModel, sequences, segments) -> torch.Tensor:
    """(sequences, outputs), or (tokens, outputs) for tagging and spans."""
    batch = flat(sequences, segments)
    return model.model.head(model.model.encoder(batch), Packing.of(batch))


@torch.no_grad()
def huggingface_logits(model: FinetunedModel, folder: Path, sequences, segments) -> torch.Tensor:
    kind = model.card.task.kind
    theirs, report = getattr(transformers, AUTO[kind]).from_pretrained(
        folder, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    parts = padded(sequences, segments, model.tokenizer.special.pad)
    if kind == "choice":
        parts = [part.unflatten(0, (-1, OPTIONS)) for part in parts]
    out = theirs.eval()(**dict(zip(("input_ids", "attention_mask", "token_type_ids"), parts)))
    if kind == "choice":
        return out.logits.reshape(-1, 1)
    if kind == "span":
        return torch.stack([out.start_logits, out.end_logits], -1)[parts[1].bool()]
    return out.logits[parts[1].bool()] if kind == "tagging" else out.logits


def onnx_logits(model: FinetunedModel, folder: Path, sequences, segments) -> np.ndarray:
    graph = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    parts = [part.numpy() for part in padded(sequences, segments, model.tokenizer.special.pad)]
    names = ("input_ids", "attention_mask", "token_type_ids")
    found = graph.run(None, dict(zip(names, parts)))
    assert len(found) == (2 if model.card.task.kind == "span" else 1)
    if model.card.task.kind == "span":
        assert [node.name for node in graph.get_outputs()] == ["start_logits", "end_logits"]
        return np.stack(found, -1)[parts[1].astype(bool)]
    return found[0][parts[1].astype(bool)] if model.card.task.kind == "tagging" else found[0]


@pytest.mark.parametrize(("kind", "architecture"), CASES)
def test_transformers_gives_our_logits(kind, architecture, tokenizers, tmp_path):
    model = random_finetuned(kind, architecture, tokenizers)
    name = export_huggingface(model, tmp_path / "out")
    assert name == {"bert": "Bert", "roberta": "Roberta"}[architecture] + CLASSES[kind]
    inputs = inputs_of(model)
    found = huggingface_logits(model, tmp_path / "out", *inputs)
    torch.testing.assert_close(found, our_logits(model, *inputs), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "architecture"), CASES)
def test_onnx_gives_our_logits_at_any_shape(kind, architecture, tokenizers, tmp_path):
    model = random_finetuned(kind, architecture, tokenizers)
    assert export_onnx(model, tmp_path / "out") == ["encoder.onnx", "model.onnx"]
    for lengths in (LENGTHS, (32, 5), (4,)):
        inputs = inputs_of(model, lengths)
        found = onnx_logits(model, tmp_path / "out", *inputs)
        np.testing.assert_allclose(found, our_logits(model, *inputs).numpy(), atol=1e-4)


@pytest.mark.parametrize("architecture", TOKENIZERS)
def test_mean_pooling_is_for_onnx_alone(architecture, tokenizers, tmp_path):
    model = random_finetuned("classification", architecture, tokenizers, pooling="mean")
    with pytest.raises(InputError, match=r"head.pooling=mean: no class of transformers .* onnx"):
        export_huggingface(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    export_onnx(model, tmp_path / "out")
    inputs = inputs_of(model)
    found = onnx_logits(model, tmp_path / "out", *inputs)
    np.testing.assert_allclose(found, our_logits(model, *inputs).numpy(), atol=1e-4)


def test_pooling_is_no_matter_for_heads_that_judge_tokens(tokenizers, tmp_path):
    model = random_finetuned("tagging", "bert", tokenizers, pooling="mean")
    assert export_huggingface(model, tmp_path / "out") == "BertForTokenClassification"


@pytest.mark.parametrize("architecture", TOKENIZERS)
def test_segments_matter_where_there_are_two_types(architecture, tokenizers, tmp_path):
    model = random_finetuned("classification", architecture, tokenizers)
    export_onnx(model, tmp_path)
    sequences = random_sequences((8, 5), model.tokenizer.vocabulary_size)
    first = onnx_logits(model, tmp_path, sequences, halves(sequences))
    second = onnx_logits(model, tmp_path, sequences, [[0] * len(ids) for ids in sequences])
    assert np.allclose(first, second) == (architecture == "roberta")


def test_the_config_names_the_labels(tokenizers, tmp_path):
    export_huggingface(random_finetuned("classification", "bert", tokenizers), tmp_path / "out")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert config.id2label == dict(enumerate(LABELS["classification"]))
    assert config.label2id == {label: place for place, label in config.id2label.items()}


def test_regression_is_declared(tokenizers, tmp_path):
    export_huggingface(random_finetuned("regression", "roberta", tokenizers), tmp_path / "out")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.problem_type, config.num_labels) == ("regression", 1)


def run_export(monkeypatch, model: Path, output: Path, kind: str) -> None:
    words = ["--model", str(model), "--output", str(output), "--format", kind]
    monkeypatch.setattr("sys.argv", ["export.py", *words])
    main()


def test_a_pipeline_answers_as_the_run_does(tiny_finetuned, tmp_path, monkeypatch):
    run_export(monkeypatch, tiny_finetuned, tmp_path / "out", "huggingface")
    texts = [text for text, _ in topic_rows(seed=5, rows=12)]
    model = load_finetuned(tiny_finetuned)
    examples = [TextExample("", "", text, None, None) for text in texts]
    expected = model.answers(examples, model.features(examples))
    classify = transformers.pipeline("text-classification", str(tmp_path / "out"), top_k=None)
    for answers, shares in zip(classify(texts), expected):
        found = {answer["label"]: answer["score"] for answer in answers}
        assert found == pytest.approx(dict(zip(model.card.labels, shares.tolist())), abs=1e-4)


def test_the_command_writes_graphs_of_a_run(tiny_finetuned, tmp_path, monkeypatch):
    out = tmp_path / "out"
    for _ in range(2):  # an export may be replaced
        run_export(monkeypatch, tiny_finetuned, out, "onnx")
    model = load_finetuned(tiny_finetuned)
    inputs = inputs_of(model)
    found = onnx_logits(model, out, *inputs)
    np.testing.assert_allclose(found, our_logits(model, *inputs).numpy(), atol=1e-4)
    assert json.loads((out / "config.json").read_text())["label2id"]["number"] == 2
    assert len(transformers.AutoTokenizer.from_pretrained(out)) == 512
