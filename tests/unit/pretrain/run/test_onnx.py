"""A pretraining run's ONNX graphs compute what its model computes, whatever the input's shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from pretrain.model.pretraining import PretrainingModel
from pretrain.run.export_run import check_output, export_run_onnx
from pretrain.run.onnx import INPUTS, PaddedEncoder, PaddedMLM, check_graph, write_onnx
from pretrain.run.saved_run import open_run
from tests.unit.pretrain.engine.padded import flat, halves, padded, random_sequences
from tests.unit.pretrain.model.examples import PAD, VOCABULARY, random_model, tiny

KINDS = {
    "roberta": tiny(),
    "bert": tiny(architecture="bert", segment_types=2),
    "bert with one segment type": tiny(architecture="bert", segment_types=1),
    "pre-norm, rotary, gated": tiny(
        norm="pre", position="rope", feed_forward="geglu", bias="decoder", qk_norm=True
    ),
    "rms norm, no positions": tiny(
        norm_kind="rmsnorm", qk_norm=True, position="none", feed_forward="relu2", tied=False
    ),
    "no biases, swiglu": tiny(norm="pre", norm_kind="rmsnorm", feed_forward="swiglu", bias="none"),
    "windows": tiny(attention_window=4, global_every=2),
    "alibi": tiny(position="alibi", attention_window=6, global_every=2),
    "rotations of local layers": tiny(position="rope", attention_window=4, rope_local_theta=100.0),
}
SHAPES = [(7, 12, 1, 9), (5,), (16, 3), (2,) * 6]


def run_graph(path: Path, inputs: tuple) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert tuple(node.name for node in session.get_inputs()) == INPUTS
    (found,) = session.run(None, dict(zip(INPUTS, (part.numpy() for part in inputs))))
    return found


@torch.no_grad()
def expected(model: PretrainingModel, sequences, segments) -> tuple[torch.Tensor, torch.Tensor]:
    """Our hidden states and logits, flat."""
    hidden_TD = model.eval().encode(flat(sequences, segments))
    return hidden_TD, model.mlm_head(hidden_TD, model.encoder.embeddings.word.weight)


@pytest.fixture(scope="module", params=KINDS)
def graphs(request, tmp_path_factory) -> tuple[PretrainingModel, Path]:
    """(model, folder with its two graphs)."""
    model = random_model(KINDS[request.param])
    folder = tmp_path_factory.mktemp("onnx")
    encoder = PaddedEncoder(model.encoder)
    write_onnx(folder / "encoder.onnx", encoder, ("last_hidden_state",), per_token=True)
    write_onnx(folder / "mlm.onnx", PaddedMLM(model), ("logits",), per_token=True)
    return model, folder


@pytest.mark.parametrize("lengths", SHAPES, ids=str)
def test_graphs_agree_with_the_flat_model_at_any_shape(graphs, lengths):
    model, folder = graphs
    sequences = random_sequences(lengths, VOCABULARY)
    segments = halves(sequences)
    inputs = padded(sequences, segments, PAD)
    for name, ours in zip(("encoder.onnx", "mlm.onnx"), expected(model, sequences, segments)):
        found = run_graph(folder / name, inputs)[inputs[1].bool().numpy()]
        np.testing.assert_allclose(found, ours.numpy(), atol=1e-4)


def test_what_stands_in_the_padding_does_not_matter(graphs):
    _, folder = graphs
    sequences = random_sequences((3, 8), VOCABULARY)
    ids, mask, segments = padded(sequences, halves(sequences), PAD)
    other = ids.masked_fill(mask == 0, 11)
    first, second = (run_graph(folder / "encoder.onnx", (x, mask, segments)) for x in (ids, other))
    np.testing.assert_allclose(first[0, :3], second[0, :3], atol=1e-5)


def test_segments_matter_where_there_are_two_types(graphs):
    model, folder = graphs
    ids, mask, segments = padded([[5, 6, 7]], [[0, 0, 1]], PAD)
    zeros = torch.zeros_like(segments)
    first, second = (run_graph(folder / "encoder.onnx", (ids, mask, x)) for x in (segments, zeros))
    assert np.allclose(first, second) == (model.config.segment_types == 1)


def test_a_run_is_exported_with_its_tokenizer(tiny_run, tmp_path):
    folder = tmp_path / "onnx"
    export_run_onnx(tiny_run, folder)
    run = open_run(tiny_run)
    model, tokenizer = run.model(), run.tokenizer
    sequences = random_sequences((4, 30, 11), tokenizer.vocabulary_size)
    segments = [[0] * len(ids) for ids in sequences]
    inputs = padded(sequences, segments, tokenizer.special.pad)
    _, logits = expected(model, sequences, segments)
    found = run_graph(folder / "mlm.onnx", inputs)[inputs[1].bool().numpy()]
    np.testing.assert_allclose(found, logits.numpy(), atol=1e-4)
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 512
    assert (folder / "tokenizer.json").is_file()
    check_output(folder)


def test_a_graph_that_computes_something_else_is_refused(tmp_path):
    model = random_model(tiny())
    write_onnx(tmp_path / "x.onnx", PaddedEncoder(model.encoder), ("hidden",), per_token=True)
    with torch.no_grad():
        model.encoder.embeddings.position.weight[PAD + 1, 0] += 1
    with pytest.raises(RuntimeError, match=r"x\.onnx: onnxruntime differs from PyTorch by"):
        check_graph(tmp_path / "x.onnx", PaddedEncoder(model.encoder))
