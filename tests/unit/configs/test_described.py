"""Names, types, defaults and meanings of fields, as `--help` and the reference show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

import pytest

from configs.ablation_schema import AblationConfig
from configs.cluster_schema import ClusterConfig
from configs.described import FieldText, describe, sections
from configs.finetune_schema import FinetuneConfig
from configs.schema import PretrainConfig


@dataclass
class Inner:
    """What lies inside."""

    size: Optional[int] = 3
    """how large"""


@dataclass
class Outer:
    """What lies around."""

    kind: Literal["a", "b"] = "a"
    """which of
    two"""
    inner: Inner = field(default_factory=lambda: Inner(size=4))
    several: list[Inner] = field(default_factory=list)
    """some more"""
    numbers: list[int] = field(default_factory=lambda: [1, 2])
    open: dict[str, str] = field(default_factory=dict)
    flag: bool = False


def test_own_fields_first_then_those_of_each_section():
    outer, inner, several = sections(Outer)
    assert outer.fields == [
        FieldText("kind", "a | b", "a", "which of two"),
        FieldText("numbers", "list of int", "[1, 2]", ""),
        FieldText("open", "mapping", "{}", ""),
        FieldText("flag", "bool", "false", ""),
    ]
    assert (inner.name, inner.purpose) == ("inner", "What lies inside.")
    assert (several.name, several.purpose) == ("several.0", "some more")


def test_a_default_is_that_of_the_schema_around():
    _, inner, several = sections(Outer)
    assert inner.fields == [FieldText("inner.size", "int | null", "4", "how large")]
    assert several.fields == [FieldText("several.0.size", "int | null", "3", "how large")]
    rate = {f.name: f.default for f in describe(FinetuneConfig)}["optimizer.learning_rate"]
    assert rate == "5e-05"


@pytest.mark.parametrize("schema", [PretrainConfig, FinetuneConfig, AblationConfig, ClusterConfig])
def test_every_field_has_one_meaning(schema):
    described = describe(schema)
    assert len({f.name for f in described}) == len(described)
    assert [f.name for f in described if not f.meaning] == []
    assert all(section.purpose for section in sections(schema))


def test_fields_of_lists_and_mappings_have_names():
    assert {"data.sources.0.path", "mask_epochs"} <= {f.name for f in describe(PretrainConfig)}
    names = {f.name for f in describe(AblationConfig)}
    assert {"axes", "scales.NAME.axes", "tasks.0.metrics"} <= names
