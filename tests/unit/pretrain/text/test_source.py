"""Documents of several sources, their weights, and the identity of a corpus."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.schema import DataConfig, SourceConfig
from pretrain.data import pieces
from pretrain.data.tokenise import is_heldout
from pretrain.text.source import Document, copies, source_identity, source_names

NAMES = [f"document {number}" for number in range(2000)]


def text_source(path: Path, **options) -> SourceConfig:
    return SourceConfig(kind="text", path=str(path), **options)


def documents(*sources: SourceConfig) -> list[Document]:
    data = DataConfig(sources=list(sources))
    return [document for source in sources for document in pieces.documents(data, source)]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_sources_follow_one_another_and_files_never_join(tmp_path: Path) -> None:
    write(tmp_path / "a" / "2.txt", "third")
    write(tmp_path / "a" / "1.txt", "first\nstill first\n\nsecond")
    rows = write(tmp_path / "b.jsonl", '{"body": "fourth"}\n{"body": "  "}\n')
    sources = [
        text_source(tmp_path / "a"),
        SourceConfig(kind="jsonl", path=str(rows), column="body"),
    ]
    texts = ["first\nstill first", "second", "third", "fourth"]
    assert documents(*sources) == [Document(text) for text in texts]


def test_installed_docs_say_themselves_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [("a", True), ("b", False)]
    monkeypatch.setattr(pieces, "installed_documents", lambda fraction: iter(pairs))
    expected = [Document("a", True), Document("b", False)]
    assert documents(SourceConfig()) == expected


@pytest.mark.parametrize(
    ("weight", "counts", "total"),
    [(1.0, {1}, 2000), (2.0, {2}, 4000), (0.5, {1}, 1000), (1.5, {1, 2}, 3000)],
)
def test_weights(tmp_path: Path, weight: float, counts: set[int], total: int) -> None:
    path = write(tmp_path / "a.txt", "\n".join(NAMES))
    source = text_source(path, documents="line", weight=weight)
    used = Counter(document.text for document in documents(source))
    assert set(used.values()) == counts
    assert sum(used.values()) == pytest.approx(total, rel=0.05)


def test_a_weight_does_not_move_the_heldout_share() -> None:
    kept = [name for name in NAMES if copies(name, 0.5)]
    heldout = sum(is_heldout(Document(name), 0.1) for name in kept)
    assert heldout / len(kept) == pytest.approx(0.1, abs=0.03)


def test_a_larger_weight_keeps_what_a_smaller_one_kept() -> None:
    assert all(copies(name, 0.4) <= copies(name, 0.7) for name in NAMES)


def test_a_source_without_text_is_refused(tmp_path: Path) -> None:
    full, empty = write(tmp_path / "a.txt", "a"), write(tmp_path / "b.txt", " \n\n")
    with pytest.raises(InputError, match=r"b\.txt holds no text"):
        documents(text_source(full), text_source(empty))


def test_identity_is_that_of_the_content(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        write(tmp_path / folder / "a.txt", "a")
        write(tmp_path / folder / "sub" / "b.txt", "b")
    here = source_identity(text_source(tmp_path / "here"))
    assert here == source_identity(text_source(tmp_path / "there")), "the place does not matter"
    write(tmp_path / "there" / "sub" / "b.txt", "c")
    assert here != source_identity(text_source(tmp_path / "there"))
    assert json.loads(json.dumps(here)) == here


@pytest.mark.parametrize("change", [{"documents": "line"}, {"weight": 2.0}])
def test_identity_tells_how_the_text_is_read(tmp_path: Path, change: dict) -> None:
    path = write(tmp_path / "a.txt", "a")
    assert source_identity(text_source(path)) != source_identity(text_source(path, **change))


def test_identity_of_a_hub_data_set_is_its_name() -> None:
    source = SourceConfig(kind="hub", path="owner/name@v1", subset="en")
    other = SourceConfig(kind="hub", path="owner/name@v2", subset="en")
    assert source_identity(source)["subset"] == "en"
    assert source_identity(source) != source_identity(other)


def test_identity_of_the_installation_names_its_distributions() -> None:
    identity = source_identity(SourceConfig())
    assert any(name.startswith("datasets==") for name in identity["distributions"])
    assert identity["python"].startswith("3.")


def test_sources_are_called_as_they_say_or_as_their_path_ends():
    paths = ["/data/wiki.jsonl.gz", "books/*.txt", "books/", "*.txt", "a/wiki.txt"]
    sources = [text_source(Path(path)) for path in paths]
    hub = SourceConfig(kind="hub", path="wikimedia/wikipedia@1a2b")
    own = text_source(Path("x.txt"), name="wiki-2")
    assert source_names([*sources, hub, own, SourceConfig()]) == (
        *("wiki", "books", "books-2", "text", "wiki-3"),
        *("wikipedia", "wiki-2", "installed-docs"),
    )


def test_a_name_is_no_part_of_the_text(tmp_path):
    path = write(tmp_path / "a.txt", "text")
    named = source_identity(text_source(path, name="mine"))
    assert named == source_identity(text_source(path))
