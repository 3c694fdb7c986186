"""Configurations of before a field got its name load as they were meant."""

from __future__ import annotations

import pytest

from configs.ablation_schema import AblationConfig
from configs.errors import InputError
from configs.loader import load_config
from configs.renamed import renamed
from configs.schema import PretrainConfig


@pytest.mark.parametrize(("old", "unit"), [("true", "word"), ("false", "token")])
def test_whole_word_is_a_unit_in_files_and_overrides(tmp_path, old, unit):
    path = tmp_path / "old.yaml"
    path.write_text(f"masking: {{whole_word: {old}, probability: 0.2}}")
    assert load_config(PretrainConfig, str(path)).masking.unit == unit
    assert load_config(PretrainConfig, str(path)).masking.probability == 0.2
    config = load_config(PretrainConfig, "small", [f"masking.whole_word={old}"])
    assert config.masking.unit == unit
    values = {"masking": {"whole_word": old == "true"}}
    assert load_config(PretrainConfig, "small", values=values).masking.unit == unit


def test_ablations_may_name_it_with_dots_or_nested(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(
        "fields: {masking: {whole_word: true}}\n"
        "axes: {m: {a: {masking.whole_word: false}, b: {masking: {whole_word: true}}}}"
    )
    config = load_config(AblationConfig, str(path))
    assert config.fields == {"masking.unit": "word"}
    assert config.axes["m"] == {"a": {"masking.unit": "token"}, "b": {"masking.unit": "word"}}


@pytest.mark.parametrize("fields", ["whole_word: 3", "whole_word: true, unit: span"])
def test_what_it_never_was_is_refused_in_a_line(tmp_path, fields):
    path = tmp_path / "old.yaml"
    path.write_text(f"masking: {{{fields}}}")
    with pytest.raises(InputError, match=r"masking\.unit") as error:
        load_config(PretrainConfig, str(path))
    assert "\n" not in str(error.value)


def test_everything_else_is_left_alone():
    tree = {"a": {"whole_word": True}, "masking": None, "b": [{"masking": {"unit": "span"}}, 1]}
    assert renamed(tree) == tree
