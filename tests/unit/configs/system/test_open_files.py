"""Too few open files: raised where that is allowed, else one line with the cure."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import pytest

from configs.errors import InputError
from configs.system.open_files import lack_of_open_files, require_open_files
from tests.conftest import ROOT

RUN = """
import os
from launch.command import run
def main():
    print(len([os.open("/dev/null", os.O_RDONLY) for _ in range(100)]))
run(main)
"""


def start(limit: str) -> subprocess.CompletedProcess:
    command = f'ulimit {limit}; exec "$@"'
    words = ["bash", "-c", command, "-", sys.executable, "-c", RUN]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)


def test_a_soft_limit_is_raised():
    done = start("-S -n 64")
    assert (done.returncode, done.stdout) == (0, "100\n"), done.stderr


def test_a_hard_limit_is_told_in_one_line():
    done = start("-n 64")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: too many open files: at most 64 may be (`ulimit -n`")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
        RuntimeError("rv != -1. -1 vs -1. pipe: Too many open files"),
    ],
)
def test_libraries_say_it_in_their_own_words(error):
    wrapped = ValueError("no file")
    wrapped.__cause__ = error
    assert "ulimit -n" in lack_of_open_files(wrapped)
    assert lack_of_open_files(ValueError("no file")) is None


def test_ranks_need_some_each(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    require_open_files(2)
    with pytest.raises(InputError, match="8 ranks need 80"):
        require_open_files(8)
