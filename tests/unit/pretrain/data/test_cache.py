"""Whoever looks for a store finds the one that was made, under any setting, and makes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.loader import load_config
from configs.schema import PretrainConfig
from launch.diagnosis import examine
from launch.diagnosis.dry_run import find_corpus
from pretrain.data.corpus import prepare_store
from pretrain.text.sentences import word_set

WORDS = sorted(word_set("the first reader of this page found what a second one had written on it"))
DOCUMENTS = [
    "\n".join(
        f"{WORDS[i % 14].title()} {WORDS[j % 14]} {WORDS[(i * j) % 14]}. So it went."
        for j in range(3)
    )
    for i in range(120)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Text in two formats, and the store of the plainest configuration."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_text("\n\n".join(DOCUMENTS))
    lines = "".join(f'{{"body": "{document.splitlines()[0]}"}}\n' for document in DOCUMENTS)
    (folder / "b.jsonl").write_text(lines)
    prepare_store(config_of(folder))
    return folder


def config_of(folder: Path, *overrides: str) -> PretrainConfig:
    sources = f"data.sources=[{{kind: text, path: {folder}/a.txt}}]"
    small = ["tokenizer.vocabulary_size=280", "data.heldout_fraction=0.2"]
    cache = f"data.cache={folder}/cache"
    overrides = [override.format(folder=folder) for override in overrides]
    return load_config(PretrainConfig, "small", [sources, cache, *small, *overrides])


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "override",
    [
        "data.piece_megabytes=0.002",
        "data.language=ko",
        "data.heldout_fraction=0.3",
        "data.sources.0.weight=0.5",
        "data.sources.0.documents=line",
        "data.sources=[{{kind: jsonl, path: '{folder}/*.jsonl', column: body}}]",
        "data.sources=[{{kind: text, path: {folder}/a.txt}}, "
        "{{kind: jsonl, path: {folder}/b.jsonl, column: body}}]",
        "tokenizer.vocabulary_size=281",
        "tokenizer={{kind: wordpiece, vocabulary_size: 64, lowercase: true}}",
    ],
)
def test_the_store_of_each_setting_is_found(folder: Path, override: str) -> None:
    plain, other = config_of(folder), config_of(folder, override)
    assert find_corpus(other) is None, "the plain one is there, but it is another"
    made = prepare_store(other)
    before = files_of(folder)
    assert find_corpus(other).folder == made
    assert find_corpus(plain).folder == prepare_store(plain) != made
    assert files_of(folder) == before, "looking writes nothing"


def test_settings_that_lead_to_the_same_ids_share_a_store(folder: Path) -> None:
    other = config_of(folder, "tokenizer.training_megabytes=1")
    assert find_corpus(other) is None, "the tokenizer is another until it is trained"
    assert prepare_store(other) == find_corpus(other).folder == prepare_store(config_of(folder))


def test_the_store_of_older_sentence_rules_is_not_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pretrain.data import cache

    config = config_of(folder)
    before = find_corpus(config).folder
    monkeypatch.setattr(cache, "RULES_VERSION", -1)
    assert find_corpus(config) is None
    assert prepare_store(config) == find_corpus(config).folder != before


def test_nothing_is_made_where_nothing_is(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, f"data.cache={tmp_path}/empty")
    assert find_corpus(config) is None and not any(tmp_path.iterdir())


def test_a_store_that_is_not_looked_for_is_said_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(folder)
    corpus, (check,) = examine.look_for_corpus(config, makes=False)
    assert check.state == "ok" and corpus.folder == find_corpus(config).folder
    monkeypatch.setattr(examine, "LARGEST_TO_HASH", 100)
    corpus, (check,) = examine.look_for_corpus(config, makes=False)
    assert corpus is None and check.text.startswith("not looked for")


def test_hashes_that_a_preparation_kept_are_used_and_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from configs.system import file_hashes

    monkeypatch.setattr(file_hashes, "LARGE", 1)
    monkeypatch.setattr(file_hashes, "SETTLED_SECONDS", -1)
    config = config_of(folder, f"data.cache={tmp_path}/cache")
    assert examine.bytes_to_hash(config) == (folder / "a.txt").stat().st_size
    assert find_corpus(config) is None and not any(tmp_path.iterdir())
    made = prepare_store(config)
    assert examine.bytes_to_hash(config) == 0
    before = files_of(tmp_path)
    assert find_corpus(config).folder == made
    assert files_of(tmp_path) == before
