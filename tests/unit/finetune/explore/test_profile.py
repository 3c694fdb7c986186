"""Columns, lengths and cleaning steps, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.task_schema import PreprocessConfig
from finetune.data.preprocess import steps_of
from finetune.data.tables import TableFile, read_table
from finetune.explore.task_data import Column, clean_by_steps, profile_columns, summarize
from tests.conftest import DATA

CORONA = DATA / "corona_nlp" / "Corona_NLP_train.csv.xz"


def test_columns():
    cells = [("1", "London"), ("2", ""), ("3", " "), ("4", "London")]
    rows = [{"id": number, "place": place} for number, place in cells]
    table = TableFile(Path("t.csv"), ["id", "place"], rows, [1, 2, 3, 4], ["1"] * 4, {})
    assert profile_columns(table) == [
        Column("id", present=4, missing=0, blank=0, distinct=4, example="1"),
        Column("place", present=3, missing=1, blank=1, distinct=2, example="London"),
    ]


def test_lengths_are_lengths_that_occur():
    found = summarize([*range(1, 101)])
    assert (found.texts, found.mean, found.longest) == (100, 50.5, 100)
    assert found.quantiles == (50, 90, 95, 99)


def test_every_step_of_cleaning():
    texts = ["The store https://a.b is EMPTY", "panic"]
    config = PreprocessConfig(steps=["links", "lowercase", "stop-words"])
    steps, cleaned = clean_by_steps(texts, steps_of(config))
    assert [(step.words, step.changed) for step in steps] == [(6, 0), (5, 1), (5, 1), (3, 1)]
    assert cleaned == ["store empty", "panic"]


@pytest.mark.skipif(not CORONA.is_file(), reason="needs the data set corona_nlp")
def test_the_columns_of_the_tweets():
    columns = {column.name: column for column in profile_columns(read_table(CORONA))}
    names = ["UserName", "ScreenName", "Location", "TweetAt", "OriginalTweet", "Sentiment"]
    assert list(columns) == names
    assert all(column.present + column.missing == 41157 for column in columns.values())
    assert [name for name in names if columns[name].missing] == ["Location"]
    assert columns["Location"].missing == 8590
    assert columns["OriginalTweet"].distinct == 41157
    assert columns["Sentiment"].distinct == 5
