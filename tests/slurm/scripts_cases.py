"""Cases of `fuzz_scripts.py`: for each field, where a value goes in and where it must come out."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
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
from configs.loader import load_config
from configs.schema import PretrainConfig
from launch.command import run
from tests.conftest import ROOT

PIECES = (
    *("$(canary)", "`canary`", ";canary;", "|canary", "&canary&", "\ncanary\n", "\ncanary #"),
    *("<(canary)", ">canary", "a[$(canary)]", "${x:-$(canary)}", "$((1/0))", "$HOME", "${HOME}"),
    *(
        "'",
        '"',
        "\\",
        "\\'",
        "''",
        "#",
        " # ",
        "%j",
        "%A",
        "%%",
        "%",
        "{a,b}",
        "*",
        "?",
        "[x]",
        "~",
    ),
    *("!x", "--wrap=canary", " --wrap=canary", "' --wrap=canary '", "\\' --wrap=canary", "--w=x"),
    *("JobState=CANCELLED", " Restarts=9 ", "EndTime=2020-01-01", "=", ":", ",", "-", "- ", ": "),
    *("é", "한", "\U0001f600", "\u202e", "\u2028", "\x85", "\x1b[2J", "\x00", "\r", "\t", "\udcff"),
    *("a", "b", "x y", "1e3", "null", "yes", "0x10", "(", ")", "^", "@", "+", ".", "a" * 90),
)
PROFILE = {"nodes": 1, "gpus_per_node": 0, "cpus_per_task": 1, "minutes": 10}
PROFILE["signal_lead_seconds"] = 60


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


def profile(folder: Path, place: Path, name: str = "profile.yaml", **fields: object) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump({**PROFILE, "python": str(place / "recorder"), **fields}))
    return path


def submission(config: str, cluster: Path, *more: str) -> list[str]:
    return [f"--config={config}", f"--cluster={cluster}", *more]


def config_of(seen: dict) -> PretrainConfig:
    """What the job's configuration says."""
    return load_config(PretrainConfig, str(Path(seen["cwd"]) / seen["argv"][4]))


def loaded(get: Callable[[PretrainConfig], object]) -> Callable:
    """A check that the job's configuration holds the value."""

    def check(case: Case, seen: dict) -> str | None:
        found = get(config_of(seen))
        return None if found == case.value else f"configuration: {found!r}"

    return check


def of_run(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    """run_dir or another field of the run, as an override with quotes."""
    value = make_value(rng)
    get = {"run_dir": lambda c: c.run_dir, "data.cache": lambda c: c.data.cache}[name]
    more = [] if name == "run_dir" else ["run_dir=run"]
    words = submission("roberta_small", profile(folder, place), f"{name}={quoted(value)}", *more)
    return Case(name, folder, value, words, folder, check=loaded(get))


def typed(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    """run_dir without quotes: YAML decides what it is; script and configuration must agree."""
    value = make_value(rng)

    def check(case: Case, seen: dict) -> str | None:
        folder = (case.cwd / config_of(seen).run_dir).absolute()
        return None if Path(seen["argv"][4]) == folder / "job.yaml" else f"in {folder}"

    words = submission("roberta_small", profile(folder, place), "--", f"run_dir={value}")
    return Case(name, folder, value, words, folder, check=check)


def config_name(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    """The name of the configuration's own file, which names the run folder as well."""
    value = file_name(make_value(rng))
    (folder / f"{value}.yaml").write_text("base: roberta_small.yaml\n")
    words = submission(f"{value}.yaml", profile(folder, place))
    return Case(name, folder, value, words, folder, check=loaded(lambda c: Path(c.run_dir).name))


def cluster_name(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    value = file_name(make_value(rng))
    cluster = profile(folder, place, f"{value}.yaml")
    return Case(name, folder, value, submission("roberta_small", cluster), folder)


def current_folder(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    value = file_name(make_value(rng))
    cwd = folder / value
    cwd.mkdir()
    words = submission("roberta_small", profile(folder, place))
    return Case(name, folder, value, words, cwd)


def of_slurm(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    """A field that becomes an option of sbatch."""
    value = make_value(rng)
    values = {name: value}
    if name == "sbatch_options":
        option = rng.choice(
            ["--comment=", "--constraint=", "--", "", "--comment=a ", "--comment='"]
        )
        values = {name: [option + value]}

    def check(case: Case, seen: dict) -> str | None:
        if not case.value or (name != "account" and not values[name][0].startswith("--comment=")):
            return None
        shown, wanted = ("%k", values[name][0][10:]) if name == "sbatch_options" else ("%a", value)
        options = ("--noheader", "--states=all", f"--jobs={case.job}", f"--format={shown}")
        done = subprocess.run(["squeue", *options], capture_output=True, text=True)
        found = done.stdout.strip()
        return None if not found or found == wanted else f"Slurm has {found!r}"

    words = submission("roberta_small", profile(folder, place, **values))
    return Case(name, folder, value, words, folder, check=check)


def of_container(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    """A field that becomes an option of srun."""
    value = make_value(rng)
    fields = {"image": value} if name == "image" else {"image": "x.sqsh", "mounts": [value]}

    def check(case: Case, seen: dict) -> str | None:
        said = (case.folder / "srun").read_bytes().split(b"\0")
        options = [os.fsdecode(word) for word in said if word.startswith(b"--container-")]
        if name == "image":
            return None if f"--container-image={value}" in options else f"srun got {options}"
        mounts = next(word for word in options if word.startswith("--container-mounts="))
        return None if mounts.split(",")[-1] == value else f"srun got {mounts}"

    words = submission("roberta_small", profile(folder, place, container=fields))
    return Case(name, folder, value, words, folder, check=check)


def interpreter(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    value = file_name(make_value(rng))
    shutil.copy(place / "recorder", folder / value)
    path = rng.choice([str(folder / value), f"./{value}"])
    words = submission("roberta_small", profile(folder, place, python=path))
    return Case(name, folder, value, words, folder)


def site(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    value = file_name(make_value(rng))
    (folder / value).write_text('export FUZZ_SITE="${BASH_SOURCE[0]}"\n')
    words = submission("roberta_small", profile(folder, place, site_environment=value))

    def check(case: Case, seen: dict) -> str | None:
        found = seen["env"].get("FUZZ_SITE")
        return None if found == str(folder / value) else f"sourced {found!r}"

    return Case(name, folder, value, words, folder, check=check)


def grid_name(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    value = file_name(make_value(rng))
    (folder / f"{value}.txt").write_text("launch/pretrain.py --config roberta_small\n")
    words = submission(f"{value}.txt", profile(folder, place), "--job=commands")
    return Case(name, folder, value, words, folder)


def grid_line(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    """run_dir in a line of a grid's file."""
    value = make_value(rng)
    word = shlex.quote(f"run_dir={quoted(value) if rng.random() < 0.7 else value}")
    text = f"launch/pretrain.py --config roberta_small {word}\n"
    (folder / "grid.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
    words = submission("grid.txt", profile(folder, place), "--job=commands")

    def check(case: Case, seen: dict) -> str | None:
        found = Path(config_of(seen).run_dir) / "job.yaml"
        return None if str(found) == seen["argv"][4] else f"in {found}"

    return Case(name, folder, value, words, folder, check=check)


def by_hand(name: str, folder: Path, place: Path, rng: random.Random) -> Case:
    """Words of a grid's file or of the command line, without launch/submit.py."""
    value = make_value(rng).replace("\0", "")
    given, script = [value, "roberta_small"], ROOT / "launch/slurm/pretrain.sbatch"
    more: list[str] = [*given[1:], f"x={value}"]
    common = ["sbatch", "--parsable", "--ntasks-per-node=1", "--gpus-per-node=0", "--mem=100"]
    common += ["--cpus-per-task=1", "--time=10", f"--output={folder}/by-hand.out"]
    if name == "by-hand grid":
        line = shlex.join(["launch/pretrain.py", "--config", *more])
        text = f"# a comment\n\nlaunch/pretrain.py --config a\n{line}\n"
        (folder / "grid.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
        script = ROOT / "launch/slurm/ablate.sbatch"
        words = [*common, "--array=2", str(script), "grid.txt"]
    else:
        words = [*common, str(script), *more]
    environment = {
        "MASKLAB_CODE": str(ROOT),
        "MASKLAB_PYTHON": str(place / "recorder"),
        "FUZZ_RUN_DIR": str(folder / "run"),
        "FUZZ_ELEMENT": "2",
    }
    case = Case(name, folder, value, words, folder, ["--config", *more], environment=environment)
    return case


FIELDS: dict[str, Callable[[str, Path, Path, random.Random], Case]] = {
    "run_dir": of_run,
    "run_dir, typed": typed,
    "data.cache": of_run,
    "config's name": config_name,
    "profile's name": cluster_name,
    "current folder": current_folder,
    "sbatch_options": of_slurm,
    **{name: of_slurm for name in ("partition", "account", "qos", "memory")},
    "image": of_container,
    "mounts": of_container,
    "python": interpreter,
    "site_environment": site,
    "grid's name": grid_name,
    "grid's run_dir": grid_line,
    "by-hand grid": by_hand,
    "by-hand words": by_hand,
}
