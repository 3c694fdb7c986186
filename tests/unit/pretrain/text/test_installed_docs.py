"""The embedded corpus: harvested without running code, whole packages held out."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.errors import InputError
from pretrain.text import distributions, installed_docs
from pretrain.text.installed_docs import heldout_packages, installation, installed_documents

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
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(installed_docs.sysconfig, "get_path", lambda name: str(library))
    monkeypatch.setattr(distributions, "LISTED", ())
    monkeypatch.syspath_prepend(tmp_path / "site")
    installed_docs.harvest.cache_clear()
    yield
    installed_docs.harvest.cache_clear()


def recorded(path: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a distribution's files and its RECORD, and put its name on the list."""

    def write(
        name: str, files: dict[str, str | bytes], version: str = "1.0", listed: bool = True
    ) -> Path:
        info = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        record = ""
        for path, content in {f"{info}/METADATA": metadata, **files}.items():
            target = tmp_path / "site" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
            record += recorded(path, target.read_bytes())
        (tmp_path / "site" / info / "RECORD").write_text(record)
        if listed:
            names = {*distributions.LISTED, name.lower().replace("_", "-")}
            monkeypatch.setattr(distributions, "LISTED", tuple(sorted(names)))
        importlib.invalidate_caches()
        installed_docs.harvest.cache_clear()
        return tmp_path / "site" / info

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
    fields = f"Name: thing\nVersion: 1.0\n{summary}"
    install("thing", {"thing-1.0.dist-info/METADATA": f"{fields}\n{TEXT}"})
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


def test_broken_files_do_no_harm(install) -> None:
    install(
        "thing",
        {
            "syntax.py": '"""a"""\ndef (',
            "null.py": b'"""a\0"""',
            "encoding.py": b'# coding: nonsense\n"""a"""',
            "deep.py": '"""a"""\nx = ' + "-" * 5000 + "1",
            "huge.py": f'"""{TEXT}"""' + "#" * installed_docs.LARGEST_FILE,
            "odd.md": b"\xff\xfe " + TEXT.encode(),
        },
    )
    assert len(texts_of("thing")) == 1, "only odd.md has text"


def test_whole_packages_are_held_out(install) -> None:
    for name in (f"package{number}" for number in range(60)):
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


def test_no_package_is_most_of_the_held_out_text() -> None:
    sizes = {f"p{n}": 10 for n in range(90)} | {f"large-{n}": 90 for n in range(10)}
    assert max(sizes[name] for name in heldout_packages(sizes, 0.1)) == 10


def test_no_text_has_no_held_out_package() -> None:
    assert heldout_packages({"a": 0}, 0.1) == set()


def test_identity_tells_versions_and_ignores_the_order_of_discovery(install) -> None:
    before = installation()
    install("b_thing", {}, version="2.0")
    install("A", {})
    assert installation()["distributions"] == ["a==1.0", "b-thing==2.0"]
    assert installation() != before


def test_what_is_not_listed_changes_neither_text_nor_identity(install, tmp_path: Path) -> None:
    install("thing", {"thing/a.md": TEXT})
    before, identity = list(installed_documents(0.1)), installation()
    install("developer_tool", {"tool/a.md": TEXT.replace("package", "tool")}, listed=False)
    by_hand = tmp_path / "site" / "thing" / "notes.md"
    by_hand.write_text(TEXT.replace("package", "note"))
    assert (list(installed_documents(0.1)), installation()) == (before, identity)


def test_what_others_put_into_the_standard_library_is_not_read(tmp_path: Path) -> None:
    library = tmp_path / "library"
    for path in ("sitecustomize.py", "tkinter/__init__.py", "site-packages/numpy.py"):
        (library / path).parent.mkdir(exist_ok=True)
        (library / path).write_text(f'"""{TEXT.replace("package", path)}"""')
    assert len(texts_of("python")) == 1, "os.py"


@pytest.mark.parametrize("kind", ["absent", "editable", "unrecorded"])
def test_missing_distributions_are_told_in_one_note(
    install, monkeypatch: pytest.MonkeyPatch, console: pytest.CaptureFixture[str], kind: str
) -> None:
    install("thing", {"thing/a.md": TEXT})
    other = install("other", {"other/a.md": TEXT}, listed=kind != "absent")
    if kind == "absent":
        monkeypatch.setattr(distributions, "LISTED", ("gone", "thing"))
    elif kind == "editable":
        (other / "direct_url.json").write_text(json.dumps({"dir_info": {"editable": True}}))
    else:
        (other / "RECORD").unlink()
    name = "gone" if kind == "absent" else "other"
    assert installation()["missing"] == [name]
    assert sorted(installed_docs.harvest()) == ["python", "thing"]
    assert console.readouterr().err.splitlines() == [
        f"installed-docs: 1 of 2 distributions are missing: {name}: "
        "without their text it is another corpus"
    ]


def test_changed_files_are_left_out_and_counted(
    install, tmp_path: Path, console: pytest.CaptureFixture[str]
) -> None:
    install("thing", {f"thing/{n}.md": TEXT.replace("package", f"p{n}") for n in range(200)})
    before = texts_of("thing")
    (tmp_path / "site" / "thing" / "0.md").write_text(TEXT.replace("package", "other"))
    installed_docs.harvest.cache_clear()
    assert texts_of("thing") == before[1:]
    told = "1 of 202 files are missing or were changed since they were installed, of thing"
    assert told in console.readouterr().err


def test_many_changed_files_are_refused(install, tmp_path: Path) -> None:
    install("thing", {f"thing/{n}.md": TEXT.replace("package", f"p{n}") for n in range(50)})
    (tmp_path / "site" / "thing" / "0.md").unlink()
    with pytest.raises(InputError, match=r"1 of 52 files .*0\.md: pip install .* thing$"):
        texts_of("thing")


def test_of_two_versions_in_one_folder_the_order_of_its_names_does_not_choose(install) -> None:
    for version in ("1.0", "2.0"):
        install("first", {}, version=version)
    for version in ("2.0", "1.0"):
        install("second", {}, version=version)
    assert installation()["distributions"] == ["first==2.0", "second==2.0"]


def test_this_installation_has_much_prose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(distributions, "LISTED", ())
    texts = [text for text, _ in installed_documents(0.02)]
    assert sum(map(len, texts)) > 900_000, "the standard library alone"
    assert min(map(len, texts)) >= installed_docs.SHORTEST_DOCUMENT
