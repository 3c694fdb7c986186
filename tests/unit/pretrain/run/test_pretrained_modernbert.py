"""Folders of ModernBERT's classes: their encoder is ours, and the MLM head where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pretrain.model.pretraining import PretrainingModel
from pretrain.run.pretrained import load_pretrained
from tests.unit.pretrain.engine.padded import flat, padded, random_sequences
from tests.unit.pretrain.run.test_pretrained import PIECES, SHAPE, our_hidden_states, refusal, zeros

transformers = pytest.importorskip("transformers")
KINDS = ("", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
IDS = {"pad": 0, "cls": 2, "bos": 2, "sep": 3, "eos": 3}


def saved(folder: Path, kind: str = "ForMaskedLM", **fields: object) -> torch.nn.Module:
    """A random model of one of ModernBERT's classes, and its folder as transformers saves it."""
    torch.manual_seed(0)
    own = {"local_attention": 4, "num_labels": 3, **SHAPE, "num_hidden_layers": 4}
    own |= {f"{role}_token_id": number for role, number in IDS.items()}
    config = transformers.ModernBertConfig(vocab_size=len(PIECES), **own | fields)
    model = getattr(transformers, f"ModernBert{kind or 'Model'}")(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return model


def change_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_class_gives_the_same_hidden_states(kind, tmp_path, console):
    theirs = saved(tmp_path, kind)
    found = load_pretrained(str(tmp_path))
    sequences = random_sequences((9, 2, 17, 1), len(PIECES))
    ids, mask, _ = padded(sequences, zeros(sequences), 0)
    encoder = theirs if kind == "" else theirs.model
    expected = encoder(ids, mask).last_hidden_state[mask.bool()]
    torch.testing.assert_close(our_hidden_states(found, sequences), expected, atol=1e-4, rtol=0)
    has_mlm = kind == "ForMaskedLM"
    assert any(name.startswith("mlm_head.") for name in found.weights) == has_mlm
    note = console.readouterr().err
    # The head of another class is under the MLM head's name, and is none.
    assert ("weights not used: classifier.bias" in note) == (kind not in ("", "ForMaskedLM"))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("biases", ["decoder", "none", "all"])
@torch.no_grad()
def test_logits_are_those_of_transformers(tied, biases, tmp_path):
    fields = dict.fromkeys(
        ("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), biases == "all"
    )
    fields |= {"decoder_bias": biases != "none", "tie_word_embeddings": tied}
    theirs = saved(tmp_path, **fields)
    found = load_pretrained(str(tmp_path))
    assert (found.model.tied, found.model.bias) == (tied, biases)
    model = PretrainingModel(found.model, found.vocabulary_size, 0, False).eval()
    model.load_state_dict(found.weights, strict=True)
    sequences = random_sequences((9, 2, 17, 1), len(PIECES))
    ids, mask, _ = padded(sequences, zeros(sequences), 0)
    hidden_TD = model.encode(flat(sequences, zeros(sequences)))
    logits_TV = model.mlm_head(hidden_TD, model.encoder.embeddings.word.weight)
    torch.testing.assert_close(logits_TV, theirs(ids, mask).logits[mask.bool()], atol=1e-4, rtol=0)


WRONG = {
    "a bias that config.json does without": lambda w: w.update(
        {"model.layers.1.attn.Wqkv.bias": torch.zeros(96)}
    ),
    "a norm before the first attention": lambda w: w.update(
        {"model.layers.0.attn_norm.weight": torch.zeros(32)}
    ),
    "an adapter": lambda w: w.update({"model.layers.1.attn.lora_A.weight": torch.zeros(2, 32)}),
    "no final norm": lambda w: w.pop("model.final_norm.weight"),
    "a layer too few": lambda w: [w.pop(n) for n in list(w) if n.startswith("model.layers.3.")],
    "another decoder": lambda w: w.update({"decoder.weight": torch.zeros(len(PIECES), 32)}),
    "no number": lambda w: w.update({"head.norm.weight": torch.full((32,), float("nan"))}),
    "a gate of one half": lambda w: w.update({"model.layers.1.mlp.Wi.weight": torch.zeros(48, 32)}),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_weights_are_refused(what, tmp_path):
    saved(tmp_path)
    load_pretrained(str(tmp_path))
    change_weights(tmp_path, WRONG[what])
    assert str(tmp_path) in refusal(tmp_path)


def test_weights_of_another_family_are_refused(tmp_path):
    saved(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**SHAPE, "model_type": "bert", "vocab_size": len(PIECES)}))
    assert "they do not belong together" in refusal(tmp_path)
    path.write_text(json.dumps(content | {"rope_scaling": {"factor": 2.0}}))
    assert "rope_scaling" in refusal(tmp_path)
