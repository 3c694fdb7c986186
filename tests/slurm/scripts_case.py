"""One hostile value on its way to a node: what is submitted, and what must become of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import yaml

import launch.slurm.folders
import launch.submit
from launch.command import run
from tests.conftest import ROOT

PIECES = (
    *("$(canary)", "`canary`", ";canary;", "|canary", "&canary&", "\ncanary\n", "\ncanary #"),
    *("<(canary)", ">canary", "a[$(canary)]", "${x:-$(canary)}", "$((1/0))", "$HOME", "${HOME}"),
    *("'", '"', "\\", "\\'", "''", "#", " # ", "%j", "%A", "%%", "%"),
    *("{a,b}", "*", "?", "[x]", "~"),
    *("!x", "--wrap=canary", " --wrap=canary", "' --wrap=canary '", "\\' --wrap=canary", "--w=x"),
    *("JobState=CANCELLED", " Restarts=9 ", "EndTime=2020-01-01", "=", ":", ",", "-", "- ", ": "),
    *("é", "한", "\U0001f600", "\u202e", "\u2028", "\x85", "\x1b[2J", "\x00", "\r", "\t", "\udcff"),
    *("a", "b", "x y", "1e3", "null", "yes", "0x10", "(", ")", "^", "@", "+", ".", "a" * 90),
)


@dataclass
class Case:
    """One value of one field."""

    field: str
    folder: Path
    value: str
    words: list[str]
    """arguments of launch/submit.py; with sbatch in front: queued by hand"""
    cwd: Path
    argv: Optional[list[str]] = None
    """what must arrive after the launch script; None: --config and a job.yaml"""
    check: Callable[[Case, dict], Optional[str]] = lambda case, seen: None
    """what else is wrong with what the recorder has seen"""
    environment: dict[str, str] = field(default_factory=dict)
    code: int = 0
    said: str = ""
    job: str = ""
    left: list[str] = field(default_factory=list)

    @property
    def ending(self) -> str:
        return "arrived" if self.code == 0 else f"refused: {self.said.strip()!a}"

    def submit(self) -> None:
        """In a fork, where the imports are paid for."""
        before = files(self.folder)
        self.environment["FUZZ_FOLDER"] = str(self.folder)
        printed = self.folder.with_suffix(".said")
        child = os.fork()
        if child == 0:
            self._in_child(printed)
        self.code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out, _, self.said = printed.read_text("utf-8", "surrogateescape").partition("\0")
        self.left = sorted(files(self.folder) - before)
        self.job = out.split()[1] if out.startswith("job ") else out.strip()

    def _in_child(self, printed: Path) -> None:
        """Never returns."""
        try:
            os.chdir(self.cwd)
            os.environ.update(self.environment)
            errors = printed.with_suffix(".errors")
            os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT), 1)
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
            child = os.fork()
            if child == 0:
                if self.words[0] == "sbatch":
                    os.execvp("sbatch", self.words)
                sys.argv = ["submit.py", *self.words]
                run(launch.submit.main)
                sys.stdout.flush()
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(1, b"\0" + errors.read_bytes())
            os._exit(code)
        except BaseException:
            traceback.print_exc()
            os._exit(70)

    def fault(self, real: bool) -> str | None:
        """What is wrong with this way of ending; None: it is as it should be."""
        if self.code:
            return self._refusal_fault()
        record = self.folder / "record.json"
        if self._is_refused_on_the_node():
            self.code, self.said = 2, self._log()
            return None
        if not record.is_file():
            return f"job {self.job} came to nothing: {self._log()[-400:]!r}"
        seen = json.loads(record.read_text())
        words = seen["argv"][3:]
        if self.argv is None:
            if words[:1] != ["--config"] or len(words) != 2 or not (self.cwd / words[1]).is_file():
                return f"words {words}"
        elif words != self.argv:
            return f"words {words}, not {self.argv}"
        if seen["cwd"] != str(self.cwd):
            return f"in {seen['cwd']}, not in {self.cwd}"
        return self.check(self, seen) or (self._name_fault() if real else None)

    def _is_refused_on_the_node(self) -> bool:
        """Of a grid that was queued by hand: in one line, before any command is run."""
        lines = self._log().splitlines()
        return (
            self.field == "by-hand grid"
            and len(lines) == 2
            and lines[0].startswith("error: grid.txt")
            and lines[1].endswith("there is no command 2 in grid.txt")
        )

    def _refusal_fault(self) -> str | None:
        lines = self.said.splitlines()
        if self.code != 2 or len(lines) != 1 or not lines[0].startswith("error: "):
            return f"exit code {self.code}: {self.said!r}"
        if not self.said.strip().isprintable() or len(lines[0]) > 1000:
            return f"a line that cannot be shown: {lines[0]!r}"
        by_slurm = "sbatch refused" in lines[0]
        left = [name for name in self.left if not by_slurm or name.endswith(("status", "job.id"))]
        return f"left behind: {left[:3]}" if left else None

    def _name_fault(self) -> str | None:
        """Slurm's own word on the job: one with our name, and no other."""
        job = self.job.split(",")[0]
        options = ("--noheader", "--states=all", f"--jobs={job}", "--format=%j")
        done = subprocess.run(["squeue", *options], capture_output=True, text=True)
        names = done.stdout.splitlines()
        good = names and names[0].split("-")[0] in ("pretrain", "ablate", "prepare")
        return None if good else f"the job is called {names}"

    def _log(self) -> str:
        logs = [*self.folder.rglob("*.out"), *self.folder.glob("log")]
        return "".join(path.read_text(errors="replace") for path in logs)


def files(folder: Path) -> set[str]:
    """Every name below a folder."""
    return {os.fsdecode(p) for p in map(str, folder.rglob("*"))}


def make_value(rng: random.Random) -> str:
    """Some pieces, one after the other; rarely endless."""
    value = "".join(rng.choices(PIECES, k=rng.randint(1, 4)))
    value = rng.choice(["", "", "x", "runs/"]) + value
    return value * 40 if rng.random() < 0.02 else value


def file_name(value: str) -> str:
    """The value as far as a file can be called so."""
    name = value.replace("\0", "").replace("/", "")
    while len(name.encode("utf-8", "surrogateescape")) > 200:
        name = name[: len(name) // 2]
    return "x" if name in ("", ".", "..") else name


def quoted(value: str) -> str:
    """As YAML: what is meant is this text and no number."""
    return yaml.safe_dump(value, default_style='"', width=10**6).strip()


def take_over_snapshots() -> None:
    """A link in place of the copy of all code, whose files are flushed one by one."""
    launch.slurm.folders.take_snapshot = lambda folder: (
        folder.unlink(missing_ok=True),
        folder.symlink_to(ROOT),
    )
