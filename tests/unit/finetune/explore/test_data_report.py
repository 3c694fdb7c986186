"""The data report on tables small enough to count by hand."""

from __future__ import annotations

import csv
import lzma
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config
from configs.task_schema import TaskConfig
from finetune.data.example import TextExample
from finetune.explore.data_plots import by_period
from finetune.explore.data_report import columns_part, dates_part, labels_part, write_data_report
from finetune.explore.task_data import (
    TaskData,
    clean_by_steps,
    count_tokens,
    open_tokenizers,
    read_task,
    texts_of,
)
from finetune.explore.terms import term_steps
from finetune.explore.text_parts import (
    cleaning_part,
    examples_part,
    lengths_part,
    words_part,
)
from finetune.report.markdown_tables import Gallery
from tests.conftest import DATA
from tokenizer.wordpiece import WordPiece

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", ".", "dog"]
HEADER = ["UserName", "Location", "TweetAt", "OriginalTweet", "Sentiment"]
TRAIN = [
    ["1", "London", "16-03-2020", "Panic buying in the store", "Negative"],
    ["2", "", "17-03-2020", "Stay safe all of you", "Positive"],
    ["3", "Paris", "02-04-2020", "Panic | crisis", "Extremely Negative"],
    ["4", "", "02-04-2020", "The store is open at nine", "Neutral"],
]
DEV = [["5", "Rome", "03-04-2020", "More panic", "Negative"]]
MERGE = {"Extremely Negative": "Negative"}
LABELS = ["Negative", "Neutral", "Positive"]


def write(path: Path, rows: list[list[str]], header: list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def data(tmp_path: Path) -> TaskData:
    write(tmp_path / "train.csv", TRAIN, HEADER)
    write(tmp_path / "dev.csv", DEV, HEADER)
    columns = {"text": "OriginalTweet", "label": "Sentiment"}
    files = {"folder": str(tmp_path), "train": "train.csv", "dev": "dev.csv"}
    return read_task(TaskConfig(name="tweets", labels=LABELS, merge=MERGE, **columns, **files))


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery(tmp_path / "report")


@pytest.fixture
def tokenizer() -> WordPiece:
    return WordPiece(PIECES, lowercase=True)


def lines(parts: list[str]) -> list[str]:
    return "\n".join(parts).splitlines()


def test_all_labels_are_read_and_merged(data):
    assert data.splits.labels == ("Extremely Negative", "Negative", "Neutral", "Positive")
    assert data.task.shown_labels == tuple(LABELS) and data.task.places == [0, 0, 1, 2]


def test_columns_of_every_file(data, gallery):
    found = lines(columns_part(data, gallery))
    assert "| Location | 2 | 2 | 50.0 | 2 | London |" in found
    assert "| Location | 1 | 0 | 0.0 | 1 | Rome |" in found
    assert (gallery.folder / "plots/columns.png").is_file()


def test_dates(data, gallery):
    found = lines(dates_part(data, gallery))
    assert "TweetAt: 2020-03-16 to 2020-04-02, 3 different days." in found
    assert any(line.startswith("| DD-MM-YYYY | 4 | 2 | rows of the same") for line in found)


def test_balance_of_all_labels_and_merged(data, gallery):
    found = lines(labels_part(data, gallery))
    assert "| Extremely Negative | 1 | 1 | 25.0 | 0 | 0.0 |" in found
    assert "| Negative | 2 | 1 | 25.0 | 1 | 100.0 |" in found
    assert "| Negative | 3 | 2 | 50.0 | 1 | 100.0 |" in found


def test_lengths_by_label(data, gallery, tokenizer):
    counts = count_tokens("toy", tokenizer, data.splits.train)
    found = lines(lengths_part(data, counts, gallery))
    assert "| Neutral | 1 | 6.0 | 6 | 6 | 6 | 6 | 6 |" in found
    assert "| all | 4 | 4.8 | 5 | 6 | 6 | 6 | 6 |" in found
    assert "| all | 4 | 6.8 | 7 | 8 | 8 | 8 | 8 |" in found  # [CLS] and [SEP] more


def test_tokens_of_pairs(tokenizer):
    # [CLS] the cat ##s [SEP] dog . [SEP]    and    [CLS] [UNK] [SEP] the [SEP]
    pairs = [("the cats", "dog."), ("bird", "the")]
    examples = [TextExample("", "", text, pair, 0) for text, pair in pairs]
    counts = count_tokens("toy", tokenizer, examples)
    assert counts.lengths.tolist() == [8, 5]
    assert counts.tokens_per_word == pytest.approx(7 / 5)
    assert counts.unknown == pytest.approx(1 / 7)


def test_tokenizers_get_different_names(tmp_path, tokenizer):
    for place in ("a/tokenizer", "b/a", "run/tokenizer"):
        tokenizer.save(tmp_path / place)
    paths = [tmp_path / "a/tokenizer", tmp_path / "b/a", tmp_path / "run"]
    assert list(open_tokenizers(paths)) == ["a", str(tmp_path / "b/a"), "run"]


def test_the_kind_of_a_bare_vocabulary_is_found():
    path = DATA / "fixtures" / "bert-base-uncased-vocab.txt"
    if not path.is_file():
        pytest.skip("needs the published file bert-base-uncased-vocab.txt")
    (tokenizer,) = open_tokenizers([path]).values()
    assert tokenizer.encode_batch(["The"]) == tokenizer.encode_batch(["the"])


def test_cleaning_and_examples(data):
    assert len(cleaning_part(data, [])) == 2  # the task takes no steps
    assert "- `Panic | crisis`" in lines(examples_part(data))


CORONA = DATA / "corona_nlp" / "Corona_NLP_train.csv.xz"


def test_the_terms_of_small_texts(data, gallery):
    terms = ["#a panic covid 19", "hand sanitizer hand sanitizer #a", "panic", "covid 19"]
    found = lines(words_part(data, terms, gallery))
    assert "| `#a` | 2 | 50.0 |" in found and "| covid 19 | 2 | 50.0 |" in found
    assert "| sanitizer hand sanitizer | 1 | 25.0 |" in found
    assert "| the | 2 | 50.0 |" not in found and "| The | 1 | 25.0 |" in found, "raw tokens"
    titles = [line for line in found if line.startswith("### Frequent")]
    units = ["hashtags", "raw tokens", "words", "bigrams", "trigrams"]
    assert titles == [f"### Frequent {unit}" for unit in units]


@pytest.mark.skipif(not CORONA.is_file(), reason="needs the data set corona_nlp")
def test_what_the_tweets_talk_about_is_in_the_report(gallery, tmp_path):
    """The hashtag, the number and the pair of words that every account of these tweets shows."""
    with lzma.open(CORONA, "rb") as file:
        content = file.read(1_200_000)
    *_, last = re.finditer(rb"\r\n\d+,\d+,", content)  # tweets hold line ends as well
    (tmp_path / "train.csv").write_bytes(content[: last.start()])
    config = load_config(FinetuneConfig, "finetune/tweets").task
    files = {"folder": str(tmp_path), "train": "train.csv", "most_bad_rows": 0.1}
    data = read_task(replace(config, **files))
    _, terms = clean_by_steps(texts_of(data.splits.train, raw=True), term_steps("nltk"))
    found = lines(words_part(data, terms, gallery))
    for label in ("Negative", "Neutral", "Positive"):
        rows = [line for line in found if line.startswith(f"| {label} |")]
        hashtags, raw, words, bigrams, trigrams = rows[1::2]
        assert hashtags.startswith(f"| {label} | `#coronavirus` (")
        assert " the (" in raw and " `#coronavirus` (" in raw
        assert " `#coronavirus` (" in words and " 19 (" in words and " the (" not in words
        assert bigrams.startswith(f"| {label} | covid 19 (") and " grocery store (" in bigrams
        assert trigrams.count("covid 19") >= 2
    assert any("hand sanitizer (" in line for line in found)


def test_a_pair_without_dates_in_korean(tmp_path, tokenizer):
    """No column of dates, no merging, labels without a font, a dollar: nothing breaks."""
    rows = [[f"좋은 영화 {n}", f"정말 $1 {n} $2", "긍정" if n % 2 else "부정 $"] for n in range(8)]
    write(tmp_path / "train.csv", rows, ["first", "second", "label"])
    write(tmp_path / "dev.csv", rows[:2], ["first", "second", "label"])
    files = {"folder": str(tmp_path), "dev": "dev.csv"}
    data = read_task(TaskConfig(text="first", text_pair="second", **files))
    write_data_report(data, {"toy": tokenizer}, 8, tmp_path / "report")
    report = (tmp_path / "report/report.md").read_text(encoding="utf-8")
    assert "## Dates" not in report and "Merged" not in report
    assert "- `좋은 영화 0 / 정말 $1 0 $2`" in report


def test_days_are_counted_in_periods():
    starts, heights, width = by_period({date(2020, 3, 16): 5, date(2020, 3, 18): 2})
    assert (width, heights.tolist()) == (1, [5, 0, 2])
    assert starts[2] == date(2020, 3, 18)
    _, heights, width = by_period({date(2010, 1, 1): 1, date(2020, 1, 1): 1})
    assert width == 365 and heights.sum() == 2 and np.flatnonzero(heights).tolist() == [0, 10]
