"""A folder and a pattern name the same files: every real one once, and no leftovers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.schema import SourceConfig
from pretrain.text.find_files import SourceFiles, source_files
from pretrain.text.source import notes

TREE = ("a.txt", "b.TXT", "sub/c.txt", "sub/deep/d.txt", "notes.md", "sub/table.csv")
LEFTOVERS = (
    *(".a.txt", ".ipynb_checkpoints/a.txt", "sub/.git/x.txt", "a.txt~", "#a.txt#", ".b.txt.swp"),
    *(
        "half.txt.part",
        "__MACOSX/a.txt",
        "._a.txt",
        "~$a.txt",
        "sub/x.tmp",
        "sub/__pycache__/y.txt",
    ),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Six files, what editors leave, links to files and folders, and loops of links."""
    for name in (*TREE, *LEFTOVERS):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    tree = tmp_path / "tree"
    (tree / "loop").symlink_to(tree)
    (tree / "sub" / "up").symlink_to("..")
    (tree / "sub" / "again").symlink_to("deep")
    (tree / "linked.txt").symlink_to("sub/c.txt")
    os.link(tree / "a.txt", tree / "sub" / "hard.txt")
    return tree


def files_of(path: Path) -> SourceFiles:
    return source_files(SourceConfig(kind="text", path=str(path)))


def names(tree: Path, pattern: str = "") -> list[str]:
    return [path.relative_to(tree).as_posix() for path in files_of(tree / pattern).files]


def walked(tree: Path, fits: Callable[[str], bool]) -> set[tuple[int, int]]:
    """The identities of fitting files, by the standard library's walk without links."""
    left = (".", "~", "#", "__")
    reached = set()
    for folder, folders, files in os.walk(tree):
        folders[:] = [name for name in folders if not name.startswith(left)]
        for name in files:
            if (
                not name.startswith(left)
                and not name.endswith(("~", ".part", ".tmp"))
                and fits(name)
            ):
                status = os.stat(os.path.join(folder, name))
                reached.add((status.st_dev, status.st_ino))
    return reached


def identities(files: list[Path]) -> list[tuple[int, int]]:
    return [(path.stat().st_dev, path.stat().st_ino) for path in files]


def test_a_folder_holds_each_real_file_once(tree: Path) -> None:
    assert names(tree) == ["a.txt", "b.TXT", "linked.txt", "sub/deep/d.txt"]
    real = identities(files_of(tree).files)
    assert set(real) == walked(tree, lambda name: name.lower().endswith(".txt"))
    assert len(real) == 4


@pytest.mark.parametrize("pattern", ["**/*.txt", "**/**/*.[t]xt"])
def test_a_pattern_agrees_with_the_folder(tree: Path, pattern: str) -> None:
    assert names(tree, pattern) == [name for name in names(tree) if name != "b.TXT"]
    assert set(identities(files_of(tree / pattern).files)) == walked(
        tree, lambda name: name.endswith(".txt")
    )


@pytest.mark.parametrize("pattern", ["**", "**/*", "**/**"])
def test_a_pattern_names_other_kinds_too(tree: Path, pattern: str) -> None:
    assert set(identities(files_of(tree / pattern).files)) == walked(tree, lambda name: True)


def test_many_links_cost_no_time(tmp_path: Path) -> None:
    """Two links to the next folder at each of forty: 2^40 ways to one file."""
    for number in range(40):
        (tmp_path / f"{number}").mkdir()
        for link in "ab":
            (tmp_path / f"{number}" / link).symlink_to(tmp_path / f"{number + 1}")
    (tmp_path / "40").mkdir()
    (tmp_path / "40" / "x.txt").write_text("x")
    assert len(files_of(tmp_path / "0" / "**" / "*.txt").files) == 1


def test_what_a_pattern_names_by_itself_is_meant(tree: Path) -> None:
    assert names(tree, "*.part") == ["half.txt.part"]
    assert names(tree, ".ipynb*/*.txt") == [".ipynb_checkpoints/a.txt"]
    assert files_of(tree / ".a.txt").files == [tree / ".a.txt"]


def test_what_is_left_out_is_told(tree: Path) -> None:
    said = files_of(tree).left_out()
    assert said.startswith("left out: 2 of other kinds (notes.md, table.csv); ")
    assert "12 hidden or an editor's (#a.txt#, " in said
    assert "reached twice, by links (" in said
    assert "other kinds" not in files_of(tree / "**" / "*.txt").left_out()
    (tree.parent / "plain").mkdir()
    (tree.parent / "plain" / "x.txt").write_text("x")
    assert files_of(tree.parent / "plain").left_out() == ""


def test_a_folder_of_other_things_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x")
    (tmp_path / ".b.txt").write_text("x")
    with pytest.raises(InputError, match=r"no text file .*1 of other kinds \(a.md\); 1 hidden"):
        files_of(tmp_path)


@pytest.mark.parametrize("pattern", ["", "*", "**/*.txt", "x.txt"])
def test_what_is_no_file_is_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "x.txt").symlink_to("gone")
    with pytest.raises(InputError, match=r"x.txt: a link to gone, where nothing is"):
        files_of(tmp_path / pattern)
    (tmp_path / "x.txt").unlink()
    (tmp_path / "x.txt").symlink_to("x.txt")
    with pytest.raises(InputError, match=r"x.txt: a link to x.txt, where nothing is"):
        files_of(tmp_path / pattern)
    (tmp_path / "x.txt").unlink()
    os.mkfifo(tmp_path / "x.txt")
    with pytest.raises(InputError, match=r"x.txt: a pipe \(FIFO\), not a file"):
        files_of(tmp_path / pattern)


def test_devices_are_refused() -> None:
    with pytest.raises(InputError, match="/dev/null: a device, not a file"):
        files_of(Path("/dev/null"))


@pytest.mark.parametrize("pattern", ["", "*", "x.txt"])
def test_unreadable_files_are_refused(tmp_path: Path, monkeypatch, pattern: str) -> None:
    (tmp_path / "x.txt").write_text("x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"x.txt: cannot be read .permission denied"):
        files_of(tmp_path / pattern)


def test_unreadable_folders_are_refused(tmp_path: Path, monkeypatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be listed .Permission denied"):
        files_of(tmp_path)


def test_sources_that_share_files_are_told(tree: Path) -> None:
    sources = [
        SourceConfig(kind="text", path=str(tree / "sub")),
        SourceConfig(kind="text", path=str(tree / "*.txt")),
    ]
    said = notes(sources)
    both = "data.sources.0 and data.sources.1 both hold"
    assert [line for line in said if line.startswith(both)] == [
        f"{both} {tree / 'a.txt'} and 1 files more: each document of theirs counts twice"
    ]
    assert notes([SourceConfig()]) == []
