"""Cases of `fuzz_scripts.py`: for each field, where a value goes in and where it must come out."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from configs.loader import load_config
from configs.schema import PretrainConfig
from tests.conftest import ROOT
from tests.slurm.scripts_case import Case, file_name, make_value, quoted

PROFILE = {"nodes": 1, "gpus_per_node": 0, "cpus_per_task": 1, "minutes": 10}
PROFILE["signal_lead_seconds"] = 60


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
