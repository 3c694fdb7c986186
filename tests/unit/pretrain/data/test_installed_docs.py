"""The embedded corpus: harvested without running code, whole packages held out."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from pretrain.data import installed_docs
from pretrain.data.installed_docs import heldout_packages, installation, installed_documents

SENTENCES = [
    f"The {thing} of this package is what the reader will find on the {page} page."
    for thing in ("first", "second", "third", "fourth")
    for page in ("front", "last")
]
TEXT = "\n\n".join(SENTENCES)


@pytest.fixture(autouse=True)
def empty_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A standard library of one module and no distributions; `install` adds some."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "os.py").write_text(f'"""{TEXT.replace("package", "library")}"""')
    monkeypatch.setattr(installed_docs.sysconfig, "get_path", lambda name: str(library))
    monkeypatch.setattr(installed_docs, "distributions", lambda: [])
    installed_docs.harvest.cache_clear()
    yield
    installed_docs.harvest.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a distribution's files and its RECORD, and make it known."""
    known: list[PathDistribution] = []
    monkeypatch.setattr(installed_docs, "distributions", lambda: known)

    def write(name: str, files: dict[str, str | bytes], version: str = "1.0") -> None:
        info = f"{name}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        contents = {f"{info}/METADATA": metadata, **files}
        for path, content in contents.items():
            target = tmp_path / "site" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        record = "".join(f"{path},,\n" for path in contents)
        (tmp_path / "site" / info / "RECORD").write_text(record)
        known.append(PathDistribution(tmp_path / "site" / info))

    return write


def texts_of(package: str) -> list[str]:
    return installed_docs.harvest()[package]


def test_docstrings_of_a_module_are_one_document_in_their_order(install) -> None:
    first, second, third, *rest = SENTENCES
    module = (
        f'"""{first}"""\nclass A:\n    """{second}"""\n    def f(self):\n        """{third}"""\n'
        f"add_docstring(A.f, '''{rest[0]}''')\nraise SystemExit('this code must not run')\n"
    )
    install("thing", {"thing/a.py": module, "README.md": "\n\n".join(rest[1:])})
    assert texts_of("thing") == ["\n".join(rest[1:]), "\n".join([first, second, third, rest[0]])]


def test_the_description_of_the_metadata_is_read_and_its_fields_are_not(install) -> None:
    summary = "Summary: The summary of the fields that are not to be read.\n"
    install("thing", {"thing.dist-info/METADATA": f"Name: thing\nVersion: 1\n{summary}\n{TEXT}"})
    assert texts_of("thing") == ["\n".join(SENTENCES)]


def test_topics_are_documents_of_their_own(tmp_path: Path) -> None:
    topics = {"b": TEXT.replace("package", "topic"), "a": TEXT.replace("package", "subject")}
    folder = tmp_path / "library" / "pydoc_data"
    folder.mkdir()
    (folder / "topics.py").write_text(f"# generated\ntopics = {topics!r}\n'''end'''\n")
    assert [text.split()[4] for text in texts_of("python")] == ["library", "subject", "topic"]


def test_a_paragraph_that_was_seen_before_is_dropped(install) -> None:
    install("one", {"one/a.md": TEXT})
    install("two", {"two/a.md": TEXT.replace("reader", "READER"), "two/b.md": TEXT})
    assert (len(texts_of("one")), texts_of("two")) == (1, [])


@pytest.mark.parametrize(
    "path",
    [
        "thing/tests/a.py",
        "thing/_vendor/b/a.md",
        "thing/LICENSE.txt",
        "../bin/a.md",
        "thing/a.json",
    ],
)
def test_files_that_are_not_documentation_are_left_out(install, path: str) -> None:
    install("thing", {path: TEXT if not path.endswith(".py") else f'"""{TEXT}"""'})
    assert texts_of("thing") == []


def test_broken_files_do_no_harm(install, tmp_path: Path) -> None:
    install(
        "thing",
        {
            "syntax.py": '"""a"""\ndef (',
            "null.py": b'"""a\0"""',
            "encoding.py": b'# coding: nonsense\n"""a"""',
            "deep.py": '"""a"""\nx = ' + "-" * 5000 + "1",
            "huge.py": f'"""{TEXT}"""' + "#" * installed_docs.LARGEST_FILE,
            "odd.md": b"\xff\xfe " + TEXT.encode(),
            "gone.md": TEXT,
        },
    )
    (tmp_path / "site" / "gone.md").unlink()
    assert len(texts_of("thing")) == 1, "only odd.md has text"


def test_whole_packages_are_held_out(install) -> None:
    for name in (f"package{number}" for number in range(30)):
        install(name, {f"{name}/a.md": TEXT.replace("package", name)})
    documents = list(installed_documents(0.2))
    heldout = sum(len(text) for text, is_heldout in documents if is_heldout)
    assert 0.1 < heldout / sum(len(text) for text, _ in documents) <= 0.2
    assert documents == list(installed_documents(0.2))


def test_packages_are_held_out_until_the_fraction_is_reached() -> None:
    sizes = {f"small-{n}": 10 for n in range(50)} | {"large": 500, "empty": 0}
    chosen = heldout_packages(sizes, 0.1)
    assert sum(sizes[name] for name in chosen) == 100
    assert not chosen & {"large", "empty"}
    assert chosen < heldout_packages(sizes, 0.2), "a larger share extends a smaller one"


def test_the_smallest_package_is_held_out_where_all_are_too_large() -> None:
    assert heldout_packages({"a": 70, "b": 30, "none": 0}, 0.1) == {"b"}


def test_identity_tells_versions_and_ignores_the_order_of_discovery(install) -> None:
    before = installation()
    install("b_thing", {}, version="2.0")
    install("A", {})
    assert installation()["distributions"] == ["a==1.0", "b-thing==2.0"]
    assert installation() != before


def test_this_installation_has_much_prose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(installed_docs, "distributions", lambda: [])
    texts = [text for text, _ in installed_documents(0.02)]
    assert sum(map(len, texts)) > 1_000_000, "the standard library alone"
    assert min(map(len, texts)) >= installed_docs.SHORTEST_DOCUMENT
