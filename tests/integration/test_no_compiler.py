"""Starts where nothing can be compiled, behind the lock of a compilation that was killed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.conftest import Command, deepspeed

pytestmark = pytest.mark.distributed
COMPILER = re.compile(r"(.*-)?(c\+\+|g\+\+|cc|gcc|c89|c99|clang(\+\+)?|cpp|nvcc|ninja)(-[\d.]+)?")
OPERATOR = "deepspeed_shm_comm"
"""what DeepSpeed compiles for processors"""


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """A machine without compilers, where a start was killed while it compiled; the folder of
    PyTorch's extensions."""
    tools, extensions = tmp_path / "bin", tmp_path / "extensions"
    tools.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for tool in folder.iterdir() if folder.is_dir() else ():
            if not COMPILER.fullmatch(tool.name) and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    (extensions / OPERATOR).mkdir(parents=True)
    (extensions / OPERATOR / "lock").touch()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(extensions))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return extensions


def check(done, extensions: Path) -> None:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    names = [path.name for path in extensions.rglob("*") if path.is_file()]
    assert names == ["lock"], "nothing was compiled"


def test_pretraining_on_two_ranks(bare, tiny, tmp_path):
    words = ("pretrain.py", "--config", tiny, "schedule.max_steps=2")
    check(Command(*words, cwd=tmp_path, launcher=deepspeed(2)).finish(60), bare)


def test_the_doctor(bare, tiny, tmp_path):
    check(Command("doctor.py", "--config", tiny, cwd=tmp_path).finish(60), bare)


@pytest.mark.slow
def test_fine_tuning(bare, tiny_task, tmp_path):
    check(Command("finetune.py", "--config", tiny_task, cwd=tmp_path).finish(120), bare)
