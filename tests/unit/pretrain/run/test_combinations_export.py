"""All pairs of the encoder's choices leave a run: in a class of transformers or our own layout, and
as ONNX."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from configs.errors import InputError
from configs.families import not_held
from configs.schema import PretrainConfig
from pretrain.model.pretraining import PretrainingModel
from pretrain.run.export_run import check_output, export_model
from pretrain.run.onnx import PaddedMLM, write_onnx
from pretrain.run.pretrained import load_pretrained
from tests.unit.pretrain.engine.padded import flat, halves, padded, random_sequences
from tests.unit.pretrain.model.combinations import (
    ROWS,
    empty_model,
    name,
    random_weights,
    shape,
)
from tests.unit.pretrain.model.examples import VOCABULARY, tiny
from tests.unit.pretrain.run.test_pretrained import PIECES
from tokenizer.wordpiece import WordPiece

transformers = pytest.importorskip("transformers")
BERT_ROW = {**dict.fromkeys(ROWS[0]), **vars(tiny()), "documents": False, "pairs": True}
BERT_ROW = {key: BERT_ROW[key] for key in ROWS[0]} | {"segment_types": 2}
every_row = pytest.mark.parametrize("row", [*ROWS, BERT_ROW], ids=name)


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(PIECES, lowercase=True)


def model_of(row, tokenizer) -> PretrainingModel:
    size, pad = tokenizer.vocabulary_size, tokenizer.special.pad
    return random_weights(PretrainingModel(shape(row), size, pad, row["pairs"]))


@every_row
def test_an_export_comes_back_with_the_same_bits(row, tokenizer, tmp_path):
    model = model_of(row, tokenizer)
    config = replace(PretrainConfig(), model=model.config, max_length=16)
    export_model(tmp_path / "export", model, config, tokenizer)
    check_output(tmp_path / "export")
    found = load_pretrained(str(tmp_path / "export"))
    weights = model.state_dict()
    assert found.weights.keys() == weights.keys()
    assert all(torch.equal(found.weights[key], weights[key]) for key in weights)
    kind = json.loads((tmp_path / "export" / "config.json").read_text())["model_type"]
    assert kind == ("masklab" if not_held(model.config) else model.config.architecture)
    if kind == "masklab":
        assert found.model == model.config
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "export")("abc")["input_ids"]
    assert ids == [2, *tokenizer.encode_batch(["abc"])[0], 3]


@pytest.mark.parametrize("row", [ROWS[0], BERT_ROW], ids=name)
@pytest.mark.parametrize("damaged", ["model.safetensors", "vocab.txt"])
def test_a_bit_that_has_flipped_in_an_export_is_noticed(row, damaged, tokenizer, tmp_path):
    """In our own layout and in one of transformers' classes."""
    model = model_of(row, tokenizer)
    config = replace(PretrainConfig(), model=model.config, max_length=16)
    export_model(tmp_path / "export", model, config, tokenizer)
    file = tmp_path / "export" / damaged
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"{damaged}: damaged .* SHA256SUMS"):
        load_pretrained(str(tmp_path / "export"))


@every_row
@torch.no_grad()
def test_the_padded_model_computes_what_the_flat_one_does(row):
    model = random_weights(empty_model(row)).eval()
    sequences = random_sequences((7, 12, 1, 9), VOCABULARY)
    segments = halves(sequences)
    inputs = padded(sequences, segments, 3)
    hidden_TD = model.encode(flat(sequences, segments))
    logits_TV = model.mlm_head(hidden_TD, model.encoder.embeddings.word.weight)
    found = PaddedMLM(model).eval()(*inputs)[inputs[1].bool()]
    torch.testing.assert_close(found, logits_TV, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("row", ROWS[2::4], ids=name)
def test_a_graph_computes_what_torch_does(row, tmp_path):
    """`write_onnx` asks onnxruntime."""
    model = random_weights(empty_model(row))
    write_onnx(tmp_path / "mlm.onnx", PaddedMLM(model), ("logits",), per_token=True)


def test_what_our_own_layout_lacks_is_one_line(tokenizer, tmp_path):
    model = model_of(ROWS[1], tokenizer)
    folder = tmp_path / "export"
    config = replace(PretrainConfig(), model=model.config, max_length=16)
    export_model(folder, model, config, tokenizer)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    wrong_layers = {**content["model"], "layers": 4}
    for change in ({"model": 5}, {"model": {"norm": "sideways"}}, {"model": wrong_layers}):
        path.write_text(json.dumps(content | change))
        with pytest.raises(InputError) as error:
            load_pretrained(str(folder))
        assert str(folder) in str(error.value) and "\n" not in str(error.value)
