"""Weights of others: their values are transformers', their damage is one line."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain.model.pretraining import PretrainingModel
from pretrain.run.pretrained import Pretrained, load_pretrained
from tests.unit.pretrain.engine.padded import flat, halves, padded, random_sequences
from tests.unit.pretrain.run.test_pretrained import (
    PIECES,
    add_tokenizer,
    random_huggingface,
    refusal,
    size_of,
    zeros,
)

transformers = pytest.importorskip("transformers")
MLM = ("BertForMaskedLM", "RobertaForMaskedLM")
DECODERS = {"BertForMaskedLM": "cls.predictions", "RobertaForMaskedLM": "lm_head"}


@pytest.fixture(params=MLM)
def masked(request, tiny_run, tmp_path) -> tuple[Path, torch.nn.Module]:
    """(folder, model) with an MLM head."""
    model = random_huggingface(request.param, size_of(request.param))
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    add_tokenizer(folder, request.param, tiny_run)
    return folder, model


@pytest.fixture
def bert(tmp_path) -> Path:
    """The folder of a bare BertModel."""
    folder = tmp_path / "bert"
    random_huggingface("BertModel", len(PIECES)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return folder


@torch.no_grad()
def our_logits(found: Pretrained, sequences: list[list[int]]) -> torch.Tensor:
    pad, next_sentence = found.tokenizer.special.pad, "nsp_head.pooler.weight" in found.weights
    model = PretrainingModel(found.model, found.vocabulary_size, pad, next_sentence).eval()
    own = {name: w for name, w in found.weights.items() if name in model.state_dict()}
    model.load_state_dict(own)
    two = found.model.segment_types == 2
    hidden_TD = model.encode(flat(sequences, halves(sequences) if two else zeros(sequences)))
    return model.mlm_head(hidden_TD, model.encoder.embeddings.word.weight)


@torch.no_grad()
def their_logits(model: torch.nn.Module, sequences: list[list[int]]) -> torch.Tensor:
    two = model.config.type_vocab_size == 2
    segments = halves(sequences) if two else zeros(sequences)
    ids, mask, types = padded(sequences, segments, model.config.pad_token_id)
    out = model.float()(input_ids=ids, attention_mask=mask, token_type_ids=types)
    return out.logits[mask.bool()]


def assert_same_logits(folder: Path) -> None:
    theirs = getattr(
        transformers, json.loads((folder / "config.json").read_text())["architectures"][0]
    )
    model = theirs.from_pretrained(folder).eval()
    sequences = random_sequences((9, 2, 17, 1), model.config.vocab_size)
    ours = our_logits(load_pretrained(str(folder)), sequences)
    torch.testing.assert_close(ours, their_logits(model, sequences), atol=2e-4, rtol=1e-4)


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file(change(weights) or weights, path, metadata={"format": "pt"})


# -- the right values ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["one file", "shards", "pickle"])
def test_logits_are_transformers(masked, dtype, form):
    folder, model = masked
    (folder / "model.safetensors").unlink()
    model.to(dtype)
    if form == "pickle":
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder, max_shard_size="10KB" if form == "shards" else "1GB")
    assert len(list(folder.glob("*.safetensors"))) == {"one file": 1, "pickle": 0}.get(form) or (
        form == "shards"
    )
    assert_same_logits(folder)


def test_a_decoders_bias_may_have_either_name_or_both(masked):
    folder, model = masked
    stem = DECODERS[type(model).__name__]
    bias = load_file(folder / "model.safetensors")[f"{stem}.bias"]
    assert bias.abs().sum() > 0
    for names in (
        [f"{stem}.bias"],
        [f"{stem}.decoder.bias"],
        [f"{stem}.bias", f"{stem}.decoder.bias"],
    ):

        def rename(weights, names=names):
            weights.pop(f"{stem}.bias", None)
            weights.pop(f"{stem}.decoder.bias", None)
            weights.update({name: bias.clone() for name in names})

        change_weights(folder, rename)
        found = load_pretrained(str(folder))
        assert torch.equal(found.weights["mlm_head.bias"], bias)
    assert_same_logits(folder)
    change_weights(folder, lambda weights: weights.update({f"{stem}.decoder.bias": bias + 1}))
    assert f"{stem}.decoder is not {stem}.bias" in refusal(folder)


def test_an_untied_decoder_is_read_where_config_json_says_so(masked):
    folder, model = masked
    decoder = f"{DECODERS[type(model).__name__]}.decoder.weight"
    base = "bert" if decoder.startswith("cls") else "roberta"
    saved = load_file(folder / "model.safetensors")
    words = saved[f"{base}.embeddings.word_embeddings.weight"]
    biases = {decoder.replace("weight", "bias"): saved[decoder.replace("decoder.weight", "bias")]}
    change_config(folder, tie_word_embeddings=False)
    assert f"{decoder} is missing" in refusal(folder)
    change_weights(folder, lambda weights: weights.update({decoder: words.clone()}))
    assert f"{decoder.replace('weight', 'bias')} is missing" in refusal(folder)
    change_weights(folder, lambda weights: weights.update(biases))
    assert_same_logits(folder)
    assert load_pretrained(str(folder)).model.tied
    change_weights(folder, lambda weights: weights.update({decoder: words + 0.5}))
    assert_same_logits(folder)
    assert not load_pretrained(str(folder)).model.tied
    change_config(folder, tie_word_embeddings=True)
    assert "is not the word embeddings" in refusal(folder)


def test_an_untied_encoder_alone_is_read(bert):
    change_config(bert, tie_word_embeddings=False)
    assert load_pretrained(str(bert)).model.layers == 2


def test_what_is_left_out_is_told(bert, console):
    change_config(bert, author="somebody")
    change_weights(bert, lambda weights: weights.update({"qa_outputs.weight": torch.zeros(2, 32)}))
    load_pretrained(str(bert))
    note = console.readouterr().err.splitlines()
    assert note == [
        f"note: {bert}: fields of config.json not used: author",
        f"note: {bert}: weights not used: qa_outputs.weight",
    ]


# -- what is refused -------------------------------------------------------------------------------

ROW = "encoder.layer.1.attention.self"
WRONG_WEIGHTS = {
    "a key missing": lambda w: w.__delitem__(f"{ROW}.key.weight"),
    "all of a query missing": lambda w: w.__delitem__(f"{ROW}.query.weight"),
    "a bias of no dimension": lambda w: w.update({f"{ROW}.key.bias": torch.tensor(1.0)}),
    "a weight of three": lambda w: w.update({f"{ROW}.key.weight": torch.zeros(32, 32, 1)}),
    "whole numbers": lambda w: w.update({f"{ROW}.key.weight": torch.ones(32, 32).int()}),
    "complex numbers": lambda w: w.update({f"{ROW}.key.weight": torch.ones(32, 32) * 1j}),
    "eight bits": lambda w: w.update(
        {f"{ROW}.key.weight": torch.ones(32, 32).to(torch.float8_e4m3fn)}
    ),
    "no number": lambda w: w.update({f"{ROW}.value.bias": torch.full((32,), float("nan"))}),
    "an adapter": lambda w: w.update({f"{ROW}.query.lora_A.weight": torch.zeros(2, 32)}),
    "one weight twice": lambda w: w.update({f"bert.{ROW}.key.bias": torch.zeros(32)}),
    "no embeddings": lambda w: w.__delitem__("embeddings.word_embeddings.weight"),
    "embeddings in a row": lambda w: w.update({"embeddings.word_embeddings.weight": torch.ones(9)}),
    "a third layer": lambda w: w.update(
        {n.replace("layer.1", "layer.2"): t.clone() for n, t in list(w.items()) if "layer.1" in n}
    ),
    "rows beyond vocab_size": lambda w: w.update(
        {"embeddings.word_embeddings.weight": torch.zeros(99, 32)}
    ),
}


@pytest.mark.parametrize("what", WRONG_WEIGHTS)
def test_wrong_weights_are_refused(bert, what):
    load_pretrained(str(bert))
    change_weights(bert, WRONG_WEIGHTS[what])
    assert str(bert) in refusal(bert)


def test_weights_of_the_other_architecture_are_refused(masked):
    folder, model = masked
    kinds = ["bert", "roberta"]
    change_config(folder, model_type=kinds[model.config.model_type == "bert"])
    assert "they do not belong together" in refusal(folder)


def sharded(folder: Path) -> tuple[Path, dict[str, str]]:
    """(index, weight map) of a folder whose weights are cut into shards."""
    model = transformers.BertModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    index = folder / "model.safetensors.index.json"
    return index, json.loads(index.read_text())["weight_map"]


@pytest.mark.parametrize(
    "shard",
    [5, None, ["a"], "../../x.safetensors", "/etc/passwd", "a/b.safetensors", "", "..", "x"],
)
def test_an_index_names_files_of_its_folder_only(bert, shard):
    index, places = sharded(bert)
    index.write_text(json.dumps({"weight_map": {**places, "embeddings.LayerNorm.bias": shard}}))
    assert "is no .safetensors or .bin of this folder" in refusal(bert)


@pytest.mark.parametrize("places", [5, None, [], {}, "text", [["a", "b"]]])
def test_an_index_without_a_table_is_refused(bert, places):
    index, _ = sharded(bert)
    index.write_text(json.dumps({"weight_map": places}))
    assert "weight_map is no table" in refusal(bert)


def test_shards_that_are_no_files_of_the_folder_are_not_opened(bert, tmp_path):
    _, places = sharded(bert)
    shard = bert / min(places.values())
    shard.rename(tmp_path / "outside.safetensors")
    assert "missing, though model.safetensors.index.json names it" in refusal(bert)
    os.mkfifo(shard)
    assert "a pipe (FIFO), not a file" in refusal(bert)
    shard.unlink()
    shard.symlink_to("/dev/zero")
    assert "link out of its folder" in refusal(bert)
    shard.unlink()
    shard.symlink_to(tmp_path / "outside.safetensors")
    assert "link out of its folder" in refusal(bert)
    shard.unlink()
    shard.mkdir()
    assert "a folder, not a file" in refusal(bert)


def test_a_tensor_stands_in_the_shard_that_the_index_says(bert):
    _, places = sharded(bert)
    load_pretrained(str(bert))
    first, second = sorted(set(places.values()))[:2]
    name = next(name for name, shard in places.items() if shard == first)
    moved = load_file(bert / first)[name]
    save_file({**load_file(bert / second), name: moved}, bert / second)
    assert f"{name} is in another shard too" in refusal(bert)
    save_file({n: t for n, t in load_file(bert / first).items() if n != name}, bert / first)
    assert f"{first} lacks {name}" in refusal(bert)


WORDS = "embeddings.word_embeddings.weight"
UNPLAIN = {
    "expanded": lambda: torch.zeros(1).expand(10**6, 10**6),
    "a few rows expanded": lambda: torch.zeros(1, 32).expand(len(PIECES), 32),
    "sparse": lambda: torch.eye(8).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "meta": lambda: torch.empty(10**6, 10**6, device="meta"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", UNPLAIN)
@pytest.mark.parametrize("name", [WORDS, "another"])
def test_tensors_that_are_not_plain_are_refused_before_they_are_unfolded(bert, what, name):
    weights = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    torch.save({**weights, name: UNPLAIN[what]()}, bert / "pytorch_model.bin")
    assert f"pytorch_model.bin: {name} is" in refusal(bert)


def test_compressed_pickles_are_not_unfolded(bert):
    torch.save(load_file(bert / "model.safetensors"), bert / "stored.bin")
    (bert / "model.safetensors").unlink()
    stored = zipfile.ZipFile(bert / "stored.bin")
    with zipfile.ZipFile(bert / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as small:
        for part in stored.infolist():
            small.writestr(part.filename, stored.read(part))
    stored.close()
    assert "compressed" in refusal(bert)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_folders_and_pipes_under_a_files_name(bert, name):
    (bert / name).unlink()
    (bert / name).mkdir()
    assert f"{bert / name}: a folder, not a file" in refusal(bert)
    (bert / name).rmdir()
    os.mkfifo(bert / name)
    assert f"{bert / name}: a pipe (FIFO), not a file" in refusal(bert)
