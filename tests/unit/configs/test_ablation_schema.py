"""Ablations: every shipped one, and that their fields explain themselves."""

from __future__ import annotations

import re

import pytest

from configs.ablation_metrics import METRICS
from configs.ablation_schema import AblationConfig, slug
from configs.described import describe
from configs.errors import InputError
from configs.loader import dump_config, load_config, shipped_configs


@pytest.mark.parametrize("name", shipped_configs("ablations"))
def test_every_shipped_ablation_loads_and_dumps_to_the_same(name, tmp_path):
    ablation = load_config(AblationConfig, f"ablations/{name}")
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(ablation), encoding="utf-8")
    assert load_config(AblationConfig, str(copy)) == ablation


def test_a_scale_sets_what_it_names_and_inherits_the_rest():
    ablation = load_config(AblationConfig, "ablations/masking")
    paper = ablation.at("paper")
    assert (paper.recipe, paper.seeds, paper.scale) == ("bert_base.yaml", [0, 1, 2], "paper")
    assert ablation.at().recipe == "small.yaml"
    assert ablation.at(seeds=2).seeds == [0, 1]


@pytest.mark.parametrize(
    ("within", "said"),
    [
        ({"perplexty": 1}, "no metric is called perplexty: choose from mlm_loss"),
        ({"perplexity": 0}, "same_within.perplexity=0 is no difference: write a number above 0"),
        ({"perplexity": -1.0}, "perplexity=-1.0 is no difference"),
        ({"tasks": "1.2.3"}, "same_within.tasks=1.2.3 is no"),
        ({"tasks": True}, "same_within.tasks=True is no"),
        ({"tasks": float("inf")}, "same_within.tasks=inf is no"),
    ],
)
def test_margins_are_numbers_of_known_metrics(within, said):
    with pytest.raises(InputError, match=said):
        AblationConfig(same_within=within)


def test_margins_may_be_shares_of_single_tasks_or_taken_away():
    AblationConfig(same_within={"sst2": {"accuracy": 1e-05}, "perplexity": "0.5 %", "tasks": None})


def test_help_names_every_metric():
    (text,) = (f.meaning for f in describe(AblationConfig) if f.name == "metrics")
    assert [name for name in METRICS if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("+ no NSP", "no-nsp"),
        ("16 (256)", "16-256"),
        ("SEGMENT-PAIR+NSP", "segment-pair-nsp"),
        ("learning_rate=0.001", "learning_rate=0.001"),
        ("한국어", "한국어"),
    ],
)
def test_names_become_folders(name, folder):
    assert slug(name) == folder
