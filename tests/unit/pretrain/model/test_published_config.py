"""Every field of a config.json is honoured, has one value, or changes nothing."""

from __future__ import annotations

import pytest

from configs.errors import InputError
from pretrain.model.published_config import (
    check_vocabulary,
    model_config,
    padding_id,
    ties_embeddings,
    unknown_fields,
)

transformers = pytest.importorskip("transformers")

SHAPE = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
REFUSED = {
    "model_type": ["gpt2", None, 5, ["bert"], "albert"],
    "hidden_act": ["relu", "gelu_new", "gelu_fast", "swish", None, 5, ["gelu"]],
    "position_embedding_type": ["relative_key", "relative_key_query", "rotary", 0],
    "is_decoder": [True, "no", 1],
    "is_encoder_decoder": [True],
    "add_cross_attention": [True],
    "cross_attention_hidden_size": [32],
    "pruned_heads": [{"0": [1]}, [1]],
    "quantization_config": [{"load_in_8bit": True}, {}],
    "auto_map": [{"AutoModel": "modeling.MyBert"}],
    "embedding_size": [16, "32", None],
    "num_hidden_layers": [2.5, 2.0, "2", True, None, 0, -1, [2], 10**9, 10**400],
    "hidden_size": [32.0, "32", -32, 0, 30, 10**12],
    "num_attention_heads": [5, 0, False, "4"],
    "intermediate_size": [0, 48.5, {"a": 48}],
    "max_position_embeddings": [0, -1, "40", 10**12],
    "type_vocab_size": [3, 0, True, 2.0],
    "layer_norm_eps": ["1e-12", 0, -1, True, [1], 10**400],
    "hidden_dropout_prob": [1.0, -0.1, "0.1", None],
    "attention_probs_dropout_prob": [2, True],
    "initializer_range": [-0.02, "small"],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, row in REFUSED.items() for v in row])
def test_what_is_not_computed_is_refused_by_name(field, value):
    assert model_config(SHAPE).layers == 2
    with pytest.raises(InputError) as error:
        model_config({**SHAPE, field: value})
    ours = {"hidden_size": "hidden_size", "max_position_embeddings": "max_positions"}
    assert any(name in str(error.value) for name in (field, "model.", ours.get(field, field)))


HONOURED = {
    "hidden_act": ["gelu", "gelu_python"],
    "position_embedding_type": ["absolute", None],
    "pruned_heads": [{}, None],
    "chunk_size_feed_forward": [7],
    "classifier_dropout": [0.5],
    "embedding_size": [32],
    "torch_dtype": ["float16"],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, row in HONOURED.items() for v in row])
def test_what_changes_nothing_is_read(field, value):
    assert model_config({**SHAPE, field: value}) == model_config(SHAPE)
    assert unknown_fields({**SHAPE, field: value}) == []


@pytest.mark.parametrize("name", ["BertConfig", "RobertaConfig", "XLMRobertaConfig"])
def test_transformers_defaults_are_ours_and_all_its_fields_are_known(name):
    config = getattr(transformers, name)()
    found = model_config({"model_type": config.model_type})
    assert found == model_config(config.to_dict())
    assert (found.layers, found.hidden_size) == (12, 768)
    assert found.layer_norm_epsilon == config.layer_norm_eps
    assert unknown_fields(config.to_dict()) == []


def test_fields_of_their_makers_are_told():
    assert unknown_fields({**SHAPE, "author": "a", "kobert_version": 1}) == [
        "author",
        "kobert_version",
    ]


def test_fields_that_the_weights_decide():
    assert ties_embeddings({}) and not ties_embeddings({"tie_word_embeddings": False})
    check_vocabulary({"vocab_size": 9}, 9)
    for read in (
        lambda: ties_embeddings({"tie_word_embeddings": "no"}),
        lambda: check_vocabulary({"vocab_size": 8}, 9),
        lambda: padding_id({"pad_token_id": None}),
        lambda: padding_id({"pad_token_id": -1}),
    ):
        with pytest.raises(InputError):
            read()
