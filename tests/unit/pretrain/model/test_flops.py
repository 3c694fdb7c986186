"""Counts against Hugging Face's classes, FLOPs against torch's own counter."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from configs.loader import load_config
from configs.schema import ModelConfig, PretrainConfig
from pretrain.model import flops
from pretrain.model.flops import flops_per_step, matmul_peak, training_flops
from pretrain.model.pretraining import PretrainingModel
from tests.unit.pretrain.model.examples import (
    VOCABULARY,
    random_batch,
    random_model,
    tiny,
)

BASE = {"layers": 12, "hidden_size": 768, "heads": 12, "feed_forward_size": 3072}
LARGE = {"layers": 24, "hidden_size": 1024, "heads": 16, "feed_forward_size": 4096}
BERT = {"architecture": "bert", "segment_types": 2}
KOBERT_WITH_POOLER = 92_186_880


def parameter_count(
    config: ModelConfig, vocabulary_size: int, pad_id: int, next_sentence: bool
) -> int:
    with torch.device("meta"):
        model = PretrainingModel(config, vocabulary_size, pad_id, next_sentence)
    return sum(parameter.numel() for parameter in model.parameters())


def huggingface_count(config: ModelConfig, vocabulary_size: int, next_sentence: bool) -> int:
    transformers = pytest.importorskip("transformers")
    is_bert = config.architecture == "bert"
    options = transformers.BertConfig if is_bert else transformers.RobertaConfig
    names = ("BertForMaskedLM", "BertForPreTraining") if is_bert else ("RobertaForMaskedLM",)
    with torch.device("meta"):
        model = getattr(transformers, names[next_sentence])(
            options(
                vocab_size=vocabulary_size,
                hidden_size=config.hidden_size,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.feed_forward_size,
                max_position_embeddings=512 if is_bert else 514,
                type_vocab_size=config.segment_types,
            )
        )
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("shape", [BASE, LARGE], ids=["base", "large"])
@pytest.mark.parametrize(
    ("kind", "vocabulary_size", "pad_id", "next_sentence"),
    [(BERT, 30522, 0, True), (BERT, 30522, 0, False), ({}, 50265, 1, False)],
    ids=["bert", "bert-mlm", "roberta"],
)
def test_parameters_are_those_of_hugging_face(shape, kind, vocabulary_size, pad_id, next_sentence):
    config = ModelConfig(**shape, **kind)
    ours = parameter_count(config, vocabulary_size, pad_id, next_sentence)
    assert ours == huggingface_count(config, vocabulary_size, next_sentence)


@pytest.mark.parametrize(
    ("name", "pad_id"),
    [
        ("bert_base", 0),
        ("bert_large", 0),
        ("roberta_base", 1),
        ("roberta_large", 1),
        ("kobert_base", 1),
    ],
)
def test_shipped_configs_have_the_parameters_of_hugging_face(name, pad_id):
    config = load_config(PretrainConfig, name)
    size, pairs = config.tokenizer.vocabulary_size, config.next_sentence_prediction
    ours = parameter_count(config.model, size, pad_id, pairs)
    assert ours == huggingface_count(config.model, size, pairs)


def test_kobert_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = PretrainingModel(ModelConfig(**BASE, **BERT), 8002, 1, next_sentence=True)
    parts = (model.encoder, model.nsp_head.pooler)
    count = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert count == KOBERT_WITH_POOLER


@pytest.mark.parametrize("next_sentence", [False, True])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"norm": "pre", "position": "rope", "feed_forward": "geglu", "bias": "none"},
        {"feed_forward": "swiglu", "qk_norm": True, "norm_kind": "rmsnorm", "tied": False},
        {"feed_forward": "relu2", "position": "none", "bias": "decoder"},
    ],
    ids=str,
)
def test_flops_are_those_torch_counts(next_sentence, chosen):
    config = tiny(architecture="bert", segment_types=2, attention="eager", **chosen)
    model, batch = random_model(config, next_sentence), random_batch((8, 8, 8))
    with FlopCounterMode(display=False) as counter:
        sums = model(batch)
        (sums.mlm_loss_sum + sums.nsp_loss_sum).backward()
    assert training_flops(model, batch) == counter.get_total_flops()


def test_flops_follow_real_tokens():
    lengths = ([20, 1], [11, 10], [10, 10])
    flops = [flops_per_step(tiny(), VOCABULARY, n, predicted=4) for n in lengths]
    assert flops[0] > flops[1] > flops[2]


@pytest.mark.parametrize("window", [None, 4])
def test_flops_are_of_pairs_that_see_each_other(window):
    lengths, documents = [12, 9], [5, 7, 9]
    config = tiny(layers=5, attention_window=window, global_every=2)
    pairs = {True: 0, False: 0}
    for n in documents:
        i, j = np.indices((n, n))
        pairs[True] += n * n
        pairs[False] += int((abs(i - j) <= (n if window is None else window // 2)).sum())
    attended = 3 * pairs[True] + 2 * pairs[False]
    ours = flops_per_step(config, VOCABULARY, lengths, 4, documents=documents)
    none = flops_per_step(config, VOCABULARY, np.zeros(21, int) + 1, 4)  # each sees itself
    assert ours - none == 3 * 4 * config.hidden_size * (attended - 5 * 21)


def test_a_type_that_is_only_emulated_is_measured_on_few_rows(monkeypatch):
    rows = set()

    def a_second(a, b, repeats):
        rows.add(len(a))
        return 1.0

    monkeypatch.setattr(flops, "seconds_per_product", a_second)
    assert matmul_peak(torch.device("cpu"), "bf16", seconds=0.01) == 2 * 64 * 1024**2
    assert rows == {64}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_peak_is_plausible(precision):
    assert 1e8 < matmul_peak(torch.device("cpu"), precision) < 1e15
