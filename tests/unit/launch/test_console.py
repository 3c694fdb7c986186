"""What people see of the logs: the course of a run on one stream, remarks on the other."""

from __future__ import annotations

import ast
import errno
import io
import logging
import subprocess
import sys

import pytest

from configs.system.notes import EVERY_RANK, PROGRESS
from configs.system.version import PACKAGES
from launch.command import show_logs
from tests.conftest import ROOT

LOGGER = logging.getLogger("pretrain.somewhere")


@pytest.fixture(autouse=True)
def rank_0(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)


def test_each_level_has_its_stream_and_form(console):
    LOGGER.debug("for nobody")
    LOGGER.info("step 1\nstep 2")
    LOGGER.log(PROGRESS, "waiting for\x1b[31m a lock")
    LOGGER.warning("first line\n\x1b[31msecond")
    out, err = console.readouterr()
    assert out == "step 1\nstep 2\n"
    assert err == "waiting for\\x1b[31m a lock\nnote: first line \\x1b[31msecond\n"


def test_progress_replaces_its_line(console):
    LOGGER.log(PROGRESS, "1 %", extra={"begin": "\r", "end": ""})
    LOGGER.log(PROGRESS, "2 %", extra={"begin": "\r"})
    assert console.readouterr().err == "\r1 %\r2 %\n"


def test_rank_0_tells_the_course_and_each_rank_its_remarks(console, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    LOGGER.info("step 1")
    LOGGER.info("bigru on rank 1", extra=EVERY_RANK)
    LOGGER.warning("damaged here")
    assert console.readouterr() == ("bigru on rank 1\n", "note: damaged here\n")


def test_a_line_is_shown_once_although_a_library_shows_all_logs(console, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(sys.stdout)])
    show_logs()
    LOGGER.info("once")
    assert console.readouterr().out == "once\n"


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_console_on_a_full_disk_ends_nothing(console, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Full())
    LOGGER.info("one")
    LOGGER.info("two")
    assert console.readouterr().err.count("standard output cannot be written") == 1
    monkeypatch.setattr(sys, "stderr", Full())
    LOGGER.warning("three")


PREPARE = """
import logging, sys
from configs.loader import load_config
from configs.schema import PretrainConfig
from configs.system.notes import optional
if sys.argv[2:]:
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stdout)
from pretrain.data.corpus import prepare_store
prepare_store(load_config(PretrainConfig, sys.argv[1], []))
with optional("a plot"):
    raise ValueError
"""


@pytest.mark.parametrize("asked", [False, True])
def test_an_importer_hears_what_it_asks_for(tiny, tmp_path, asked):
    config = tmp_path / "own.yaml"
    config.write_text(f"base: {tiny}\ndata: {{cache: {tmp_path / 'cache'}}}\n")
    words = [sys.executable, "-c", PREPARE, str(config), *["asked"] * asked]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    if not asked:
        assert done.stdout == ""
        return
    assert "pretrain.data.corpus: training a byte-bpe tokenizer, 512 entries" in done.stdout
    assert "configs.system.notes: a plot could not be made (ValueError)" in done.stdout


SPEAK = {
    "launch/command.py",
    # Threads, which must not wait for a lock of the thread that hangs or leaves.
    "pretrain/ranks/leaving.py",
    "pretrain/ranks/watchdog.py",
}


def test_packages_log_and_only_scripts_print():
    """What a script prints is what its command was asked for."""
    packages = (path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    printing = {
        path.relative_to(ROOT).as_posix()
        for path in packages
        if any(_is_print(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }
    scripts = {name for name in printing if name.count("/") == 1 and name.startswith("launch/")}
    assert printing - scripts == SPEAK - scripts


def _is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
