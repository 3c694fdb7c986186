"""A kill at any moment of a write leaves the old or the new, and nothing after the next write."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.system import aside
from configs.system.files import write_text, written_aside, written_file
from tests.helpers import tree


def killed_at(event: int, work: Callable[[Path], None], path: Path) -> bool:
    """Run `work(path)` in a process that dies before its n-th call of the system; whether it did.

    Python announces such calls: opening, renaming, removing, locking, calling a library.
    """
    child = os.fork()
    if child == 0:
        left = event

        def count(*_) -> None:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work(path)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def new_folder(path: Path) -> None:
    with written_aside(path) as new:
        (new / "it").write_text("new")


def new_file(path: Path) -> None:
    with written_file(path) as new:
        new.write_text("new")


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("write", [new_folder, new_file])
def test_a_kill_at_any_moment_loses_nothing_and_leaves_nothing(
    write, can_exchange, tmp_path, monkeypatch
):
    if not can_exchange:
        monkeypatch.setattr(aside, "_exchange", lambda one, other: False)
    place, whole = tmp_path / "place", ({"it": "old"}, {"it": "new"})
    event, seen, found = 1, [], {}
    while True:
        shutil.rmtree(tmp_path)
        place.mkdir(parents=True)
        (place / "it").write_text("old")
        target = place if write is new_folder else place / "it"
        if not killed_at(event, write, target):
            break
        found = tree(place) if place.exists() else {}
        seen.append({name: text for name, text in found.items() if not name.startswith(".")})
        write(target)
        assert tree(tmp_path) == {"place/it": "new"}
        event += 1
    assert event > 8
    missing = [content for content in seen if content not in whole]
    assert missing == ([] if can_exchange or write is new_file else [{}] * len(missing))


def test_what_was_moved_away_comes_back_before_anything_else(tmp_path):
    (tmp_path / ".it.0123abcd").mkdir()
    (tmp_path / ".it.0123abcd.old").mkdir()
    (tmp_path / ".it.0123abcd.old" / "old").write_text("old")
    with pytest.raises(RuntimeError), written_aside(tmp_path / "it"):
        assert tree(tmp_path) == {"it/old": "old"}
        raise RuntimeError
    assert tree(tmp_path) == {"it/old": "old"}


def test_what_another_writes_now_stays(tmp_path):
    with written_aside(tmp_path / "it") as first, written_aside(tmp_path / "it") as second:
        assert first.is_dir() and second.is_dir()
        (first / "file").write_text("first")
    assert tree(tmp_path) == {"it/file": "first"}
    with written_file(tmp_path / "a") as first:
        write_text(tmp_path / "a", "second")
        first.write_text("first")
    assert (tmp_path / "a").read_text() == "first"


def test_a_long_name_and_a_link(tmp_path):
    name = 80 * "\u314b"
    write_text(tmp_path / name, "text")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "kept").write_text("kept")
    (tmp_path / "link").symlink_to("linked")
    with written_aside(tmp_path / "link") as new:
        (new / "file").write_text("new")
    assert tree(tmp_path) == {name: "text", "linked/kept": "kept", "link/file": "new"}
