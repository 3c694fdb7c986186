"""ModernBERT both ways: what transformers computes with our weights is what we compute."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from configs.errors import InputError
from configs.families import not_held
from configs.loader import load_config
from configs.schema import ModelConfig, PretrainConfig
from pretrain.model.convert import from_huggingface, huggingface_config, to_huggingface
from pretrain.model.pretraining import PretrainingModel
from pretrain.model.published_config import model_config, unknown_fields
from tests.unit.pretrain.model.examples import PAD, VOCABULARY, random_batch, random_model, tiny
from tests.unit.pretrain.model.slow_encoder import mlm_logits, sequence_states
from tests.unit.pretrain.model.test_convert import SPECIAL, padded

transformers = pytest.importorskip("transformers")

SEEDS = range(12)
MODERN = {
    "architecture": "modernbert",
    "segment_types": 0,
    "norm": "pre",
    "position": "rope",
    "feed_forward": "geglu",
    "bias": "decoder",
}


def random_shape(seed: int) -> ModelConfig:
    """Any shape that ModernBERT's classes hold."""
    rng = random.Random(seed)
    choices = {
        "layers": rng.randint(1, 4),
        "heads": rng.choice([1, 2, 4]),
        "feed_forward_size": rng.choice([24, 48]),
        "max_positions": rng.choice([20, 64]),
        "feed_forward": rng.choice(["geglu", "swiglu"]),
        "bias": rng.choice(["all", "none", "decoder"]),
        "tied": rng.random() < 0.5,
        "rope_theta": rng.choice([100.0, 10_000.0, 160_000.0]),
        "layer_norm_epsilon": rng.choice([1e-5, 1e-3]),
    }
    if rng.random() < 0.7:
        choices["attention_window"] = rng.choice([2, 4, 8])
        choices["global_every"] = rng.randint(1, 3)
        choices["rope_local_theta"] = rng.choice([None, 500.0])
    return tiny(**MODERN | choices)


def huggingface(model, implementation="eager"):
    """Their model of our shape with our weights."""
    options = huggingface_config(model.config, VOCABULARY, SPECIAL, False)
    theirs = transformers.ModernBertForMaskedLM(
        transformers.AutoConfig.for_model(**options, attn_implementation=implementation)
    )
    missing, unexpected = theirs.load_state_dict(to_huggingface(model), strict=False)
    assert set(missing) <= ({"decoder.weight"} if model.config.tied else set()) and not unexpected
    return theirs.eval()


def run_huggingface(theirs, batch):
    """(hidden states, logits, mean loss) of the flat tokens."""
    labels_T = torch.full_like(batch.tokens_T, -100)
    labels_T[batch.predicted_M] = batch.labels_M
    mask = padded(torch.ones_like(batch.tokens_T), batch, 0)
    out = theirs(
        input_ids=padded(batch.tokens_T, batch, PAD),
        attention_mask=mask,
        labels=padded(labels_T, batch, -100),
        output_hidden_states=True,
    )
    is_token = mask.bool()
    hidden = theirs.model(padded(batch.tokens_T, batch, PAD), mask).last_hidden_state
    return hidden[is_token], out.logits[is_token], out.loss


@pytest.mark.parametrize("seed", SEEDS)
@torch.no_grad()
def test_random_shapes_compute_what_transformers_computes(seed):
    config = random_shape(seed)
    assert not not_held(config)
    model, batch = random_model(config).eval(), random_batch((7, 19, 1, 9), seed=seed)
    hidden_TD, logits_TV, loss = run_huggingface(huggingface(model), batch)
    close = {"rtol": 1e-4, "atol": 1e-4}
    for attention in ("eager", "sdpa"):
        model.encoder.config = replace(config, attention=attention)
        ours_TD = model.encode(batch)
        torch.testing.assert_close(ours_TD, hidden_TD, **close)
        ours_TV = model.mlm_head(ours_TD, model.encoder.embeddings.word.weight)
        torch.testing.assert_close(ours_TV, logits_TV, **close)
        assert torch.equal(ours_TV.argmax(-1), logits_TV.argmax(-1))
        sums = model(batch)
        torch.testing.assert_close(sums.mlm_loss_sum, loss * len(batch.labels_M), **close)


@pytest.mark.parametrize("seed", SEEDS[:4])
@torch.no_grad()
def test_the_slow_encoder_computes_what_transformers_computes(seed):
    """The reference of all other combinations has one of its own."""
    model, batch = random_model(random_shape(seed)), random_batch(seed=seed)
    _, expected_TV, _ = run_huggingface(huggingface(model), batch)
    bounds, weights = batch.boundaries.tolist(), model.state_dict()
    for start, end in zip(bounds, bounds[1:]):
        parts = batch.tokens_T[start:end], batch.segments_T[start:end]
        hidden_ND = sequence_states(model.config, weights, PAD, *parts)
        logits_NV = mlm_logits(model.config, weights, hidden_ND)
        torch.testing.assert_close(logits_NV, expected_TV[start:end], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_gradients_are_those_of_transformers(seed):
    model, batch = random_model(random_shape(seed)), random_batch(seed=seed)
    theirs = huggingface(model)
    _, _, loss = run_huggingface(theirs, batch)
    (loss * len(batch.labels_M)).backward()
    model(batch).mlm_loss_sum.backward()
    gradients = from_huggingface(
        {name: p.grad for name, p in theirs.named_parameters()}, model.config.tied
    )
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert gradients.keys() == ours.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_survive_the_way_there_and_back(seed, tmp_path):
    model = random_model(random_shape(seed))
    weights = model.state_dict()
    huggingface(model).save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    for converted in (to_huggingface(model), saved):
        back = from_huggingface(converted, model.config.tied)
        assert back.keys() == weights.keys()
        assert all(torch.equal(back[name], weights[name]) for name in weights)
    content = json.loads((tmp_path / "config.json").read_text())
    assert unknown_fields(content) == []
    assert computed(model_config(content)) == computed(model.config)


def computed(config: ModelConfig) -> dict[str, object]:
    """The fields that decide what a shape computes, the unused ones left out."""
    kinds = [
        config.attention_window is not None and layer % config.global_every != 0
        for layer in range(config.layers)
    ]
    local = {
        "window": config.attention_window,
        "theta": config.rope_local_theta or config.rope_theta,
    }
    apart = ("attention_window", "global_every", "rope_local_theta", "tied", "initialisation")
    rest = {name: value for name, value in vars(config).items() if name not in apart}
    return {**rest, "kinds": kinds, **(local if any(kinds) else {})}


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_a_folder_loads_whole(seed, tmp_path):
    model = random_model(random_shape(seed))
    options = huggingface_config(model.config, VOCABULARY, SPECIAL, False)
    (tmp_path / "config.json").write_text(json.dumps(options))
    weights = {name: w.contiguous() for name, w in to_huggingface(model).items()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, report = transformers.AutoModelForMaskedLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert type(loaded).__name__ == "ModernBertForMaskedLM"
    assert not report["missing_keys"] and not report["unexpected_keys"]
    expected = huggingface(model).state_dict()
    if model.config.tied:
        expected["decoder.weight"] = model.encoder.embeddings.word.weight
    assert all(torch.equal(w, expected[name]) for name, w in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("name", "millions"), [("modern_small", 5.3), ("modern_tiny", 16.9), ("modern_base", 149.7)]
)
def test_shipped_configs_have_the_parameters_of_transformers(name, millions):
    config = load_config(PretrainConfig, name)
    size = config.tokenizer.vocabulary_size
    options = huggingface_config(config.model, size, SPECIAL, False)
    assert options.pop("model_type") == "modernbert"
    with torch.device("meta"):
        ours = PretrainingModel(config.model, size, PAD, False)
        theirs = transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**options))
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    assert counts[0] == counts[1] and counts[0] / 1e6 == pytest.approx(millions, abs=0.05)


# -- config.json -----------------------------------------------------------------------------------

SHAPE = {
    "model_type": "modernbert",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
FULL, SLIDING = "full_attention", "sliding_attention"


def test_transformers_defaults_are_ours_and_all_its_fields_are_known():
    theirs = transformers.ModernBertConfig().to_dict()
    found = model_config({"model_type": "modernbert"})
    assert found == model_config(theirs)
    assert unknown_fields(theirs) == []
    assert (found.layers, found.hidden_size, found.feed_forward_size) == (22, 768, 1152)
    assert (found.attention_window, found.global_every, found.bias) == (128, 3, "decoder")
    assert (found.rope_theta, found.rope_local_theta) == (160_000.0, 10_000.0)


PUBLISHED = {
    "attention_bias": False,
    "bos_token_id": 50281,
    "classifier_pooling": "mean",
    "cls_token_id": 50281,
    "global_attn_every_n_layers": 2,
    "global_rope_theta": 1000.0,
    "hidden_activation": "gelu",
    "layer_norm_eps": 1e-05,
    "local_attention": 8,
    "local_rope_theta": 50.0,
    "position_embedding_type": "absolute",
    "reference_compile": True,
    "repad_logits_with_grad": False,
    "sparse_pred_ignore_index": -100,
}
"""fields as the first release's files have them"""


def test_files_of_the_first_release_are_read():
    content = {**SHAPE, **PUBLISHED}
    found = model_config(content)
    assert unknown_fields(content) == []
    assert (found.rope_theta, found.rope_local_theta) == (1000.0, 50.0)
    assert (found.attention_window, found.global_every) == (8, 2)
    theirs = transformers.AutoConfig.for_model(**content).to_dict()
    assert computed(model_config(theirs)) == computed(found)


REFUSED = {
    "hidden_activation": ["relu", None, 5, "gelu_new"],
    "classifier_activation": ["silu", "tanh"],
    "attention_bias": [True, "no", 1],
    "norm_bias": [True],
    "decoder_bias": [1, None],
    "layer_types": [
        "all",
        [FULL],
        [FULL, FULL, SLIDING, SLIDING],
        [SLIDING] * 4,
        [FULL, "linear_attention", FULL, FULL],
    ],
    "rope_parameters": [
        5,
        {"rope_type": "default", "rope_theta": 5.0},
        {FULL: {"rope_type": "yarn", "rope_theta": 5.0}},
        {FULL: {"rope_theta": "much"}},
        {SLIDING: {"rope_type": "default", "factor": 2.0}},
    ],
    "rope_scaling": [{"rope_type": "linear", "factor": 2.0}],
    "mlp_dropout": [0.1, 2, "0"],
    "num_hidden_layers": [0, 2.0, True],
    "local_attention": [0, "128"],
    "global_attn_every_n_layers": [0],
    "auto_map": [{"AutoModel": "modeling.Mine"}],
    "quantization_config": [{}],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, row in REFUSED.items() for v in row])
def test_what_is_not_computed_is_refused_by_name(field, value):
    assert model_config(SHAPE).layers == 4
    with pytest.raises(InputError) as error:
        model_config({**SHAPE, field: value})
    assert field in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kinds", "every"),
    [
        ([FULL] * 4, None),
        ([FULL, SLIDING, FULL, SLIDING], 2),
        ([FULL, SLIDING, SLIDING, FULL], 3),
        ([FULL, SLIDING, SLIDING, SLIDING], 4),
    ],
)
def test_layer_types_that_recur_are_read(kinds, every):
    found = model_config({**SHAPE, "layer_types": kinds})
    assert found.attention_window == (128 if every else None)
    assert not every or found.global_every == every


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"norm": "post"}, "model.norm=post"),
        ({"norm_kind": "rmsnorm"}, "model.norm_kind=rmsnorm"),
        ({"qk_norm": True}, "model.qk_norm=true"),
        ({"position": "alibi"}, "model.position=alibi"),
        ({"feed_forward": "relu2"}, "model.feed_forward=relu2"),
        ({"segment_types": 1}, "model.segment_types=1"),
    ],
)
def test_what_the_class_has_no_place_for_is_named(choice, name):
    config = tiny(**MODERN | choice)
    assert not_held(config) == [name]
    content = huggingface_config(config, VOCABULARY, SPECIAL, False)
    assert content["model_type"] == "masklab"
