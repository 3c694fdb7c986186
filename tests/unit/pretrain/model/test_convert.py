"""Our model computes what Hugging Face's classes compute with the same weights."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from configs.errors import InputError
from pretrain.model.convert import from_huggingface, huggingface_config, to_huggingface
from tests.unit.pretrain.model.examples import (
    PAD,
    VOCABULARY,
    random_batch,
    random_model,
    tiny,
)
from tokenizer.base import SpecialTokens

transformers = pytest.importorskip("transformers")

SPECIAL = SpecialTokens(cls=0, sep=2, pad=PAD, mask=4, unk=1)
BERT = {"architecture": "bert", "segment_types": 2, "layer_norm_epsilon": 1e-12}
KINDS = {
    "BertForPreTraining": (tiny(**BERT), True),
    "BertForMaskedLM": (tiny(**BERT), False),
    "RobertaForMaskedLM": (tiny(), False),
    "RobertaForMaskedLM untied": (tiny(tied=False), False),
    "BertForPreTraining untied": (tiny(**BERT, tied=False), True),
}
TIED = {
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
    "lm_head.decoder.weight",
    "lm_head.decoder.bias",
}


@pytest.fixture(params=KINDS)
def pair(request):
    """(our model, Hugging Face's with the same weights), both in evaluation mode."""
    config, next_sentence = KINDS[request.param]
    model = random_model(config, next_sentence).eval()
    options = huggingface_config(config, VOCABULARY, SPECIAL, next_sentence)
    name = request.param.removesuffix(" untied")
    assert options["architectures"] == [name]
    theirs = getattr(transformers, name)(
        transformers.AutoConfig.for_model(**options, attn_implementation="eager")
    ).eval()
    missing, unexpected = theirs.load_state_dict(to_huggingface(model), strict=False)
    assert set(missing) <= TIED and not unexpected
    return model, theirs


def padded(flat_T, batch, fill):
    parts = flat_T.split(batch.boundaries.diff().tolist())
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill)


def run_huggingface(theirs, batch):
    """Their outputs on the padded batch, with their own loss."""
    labels_T = torch.full_like(batch.tokens_T, -100)
    labels_T[batch.predicted_M] = batch.labels_M
    has_pairs = isinstance(theirs, transformers.BertForPreTraining)
    inputs = {
        "input_ids": padded(batch.tokens_T, batch, PAD),
        "attention_mask": padded(torch.ones_like(batch.tokens_T), batch, 0),
        "labels": padded(labels_T, batch, -100),
    }
    if theirs.config.type_vocab_size == 2:
        inputs["token_type_ids"] = padded(batch.segments_T, batch, 0)
    if has_pairs:
        inputs["next_sentence_label"] = batch.next_sentence_B
    return theirs(**inputs, output_hidden_states=True), inputs["attention_mask"].bool()


@torch.no_grad()
def test_hidden_states_logits_and_losses_agree(pair):
    model, theirs = pair
    batch = random_batch()
    out, is_token = run_huggingface(theirs, batch)
    hidden_TD, sums = model.encode(batch), model(batch)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(hidden_TD, out.hidden_states[-1][is_token], **close)

    logits = out.logits if hasattr(out, "logits") else out.prediction_logits
    logits_MV = logits[is_token][batch.predicted_M]
    word_VD = model.encoder.embeddings.word.weight
    torch.testing.assert_close(
        model.mlm_head(hidden_TD[batch.predicted_M], word_VD), logits_MV, **close
    )
    assert sums.mlm_correct == (logits_MV.argmax(-1) == batch.labels_M).sum()

    loss = sums.mlm_loss_sum / len(batch.labels_M)
    if model.next_sentence:
        loss = loss + sums.nsp_loss_sum / len(batch.next_sentence_B)
        judged = out.seq_relationship_logits.argmax(-1)
        assert sums.nsp_correct == (judged == batch.next_sentence_B).sum()
    torch.testing.assert_close(loss, out.loss, **close)


def test_gradients_agree(pair):
    model, theirs = pair
    batch = random_batch()
    run_huggingface(theirs, batch)[0].loss.backward()
    sums = model(batch)
    loss = sums.mlm_loss_sum / len(batch.labels_M)
    (loss + sums.nsp_loss_sum / len(batch.next_sentence_B)).backward()

    named = theirs.named_parameters()
    gradients = from_huggingface(
        {name: p.grad for name, p in named if p.grad is not None}, tied=model.config.tied
    )
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert gradients.keys() == ours.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-4, atol=1e-5, msg=name)


def test_weights_survive_the_way_there_and_back(pair):
    model, theirs = pair
    weights = model.state_dict()
    for converted in (to_huggingface(model), theirs.state_dict()):
        back = from_huggingface(converted, tied=model.config.tied)
        assert back.keys() == weights.keys()
        assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_folder_loads_whole(pair, tmp_path):
    model, theirs = pair
    options = huggingface_config(model.config, VOCABULARY, SPECIAL, model.next_sentence)
    (tmp_path / "config.json").write_text(json.dumps(options))
    save_file(to_huggingface(model), tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, report = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    expected = theirs.state_dict()
    assert all(torch.equal(w, expected[name]) for name, w in loaded.state_dict().items())


def test_what_transformers_saves_can_be_read(pair, tmp_path):
    model, theirs = pair
    theirs.save_pretrained(tmp_path)
    weights = from_huggingface(load_file(tmp_path / "model.safetensors"), tied=model.config.tied)
    assert model.load_state_dict(weights, strict=True)


def test_old_names_and_bare_encoders_are_understood():
    model = random_model(*KINDS["BertForPreTraining"])
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta")
        .removeprefix("bert."): tensor
        for name, tensor in to_huggingface(model).items()
    }
    weights["embeddings.position_ids"] = torch.arange(20)
    back = from_huggingface(weights, tied=True)
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[name], w) for name, w in model.state_dict().items())


def test_weights_of_something_else_are_refused():
    with pytest.raises(InputError, match="no BERT or RoBERTa encoder"):
        from_huggingface({"transformer.wte.weight": torch.zeros(2, 2)}, tied=True)
