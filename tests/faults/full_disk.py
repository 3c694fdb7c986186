"""Let commands write on a disk that fills up at every moment: `python tests/faults/full_disk.py`.

Each must end in one line, or well; nothing is half-written, no run stays `running`; and with room
the same command resumes to the bits of an undisturbed one. Needs the rights to mount a disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.conftest import TINY_YAML, write_topics
from tests.finetuning import write_task
from tests.fuzz.case import Case, Outcome
from tests.fuzz.malformed import load_scripts, run_case
from tests.small_disk import SmallDisk, small_disk

RESULTS = {
    "prepare": ["cache/stores/*/manifest.json"],
    "pretrain": ["run/checkpoints/step-00000008/*.safetensors", "run/export/*.safetensors"],
    "finetune": ["run/checkpoints/best/model.safetensors", "run/predictions.csv"],
    "adapt": ["run/adapt/export/*.safetensors", "run/predictions.csv"],
    "predict": ["out.csv"],
    "export": ["out/*.safetensors"],
    "onnx": ["out/*.onnx"],
}
"""what has the same bits however often the disk was full, by command"""
MARGIN = 1.2
"""of room above what is left in the end: half-written things lie beside the whole ones"""


@dataclass(frozen=True)
class Place:
    """A disk that fills, and what lies on another."""

    home: Path
    disk: SmallDisk

    def words(self, name: str) -> list[str]:
        """The command called `name`, which writes on the disk."""
        home, disk = self.home, self.disk.folder
        tune = ["finetune.py", "--config", f"{home}/topics.yaml", f"run_dir={disk}/run"]
        tune += ["schedule.max_epochs=2", "seeds=[0, 1]"]
        export = ["export.py", "--model", f"{home}/pretrained", "--output", f"{disk}/out"]
        pretrain = ["--config", f"{home}/tiny.yaml"]
        return {
            "prepare": ["prepare.py", *pretrain, f"data.cache={disk}/cache"],
            "pretrain": ["pretrain.py", *pretrain, f"run_dir={disk}/run"],
            "finetune": tune,
            "adapt": [*tune, "adapt.epochs=1", "adapt.sequences=8", f"adapt.cache={disk}/cache"],
            "predict": [
                *("predict.py", "--model", f"{home}/finetuned", "--input", f"{home}/train.csv"),
                *("--output", f"{disk}/out.csv"),
            ],
            "export": export,
            "onnx": [*export, "--format", "onnx"],
        }[name]

    def run(self, words: list[str]) -> Outcome:
        """Run a command in a fork, away from the disk."""
        folder = self.home / "work"
        folder.mkdir(exist_ok=True)
        return run_case(Case("", words), folder, SimpleNamespace(config=self.home / "none/x"), 600)

    def results(self, name: str) -> dict[str, str]:
        """sha256 of what a command is for."""
        found = [p for pattern in RESULTS[name] for p in sorted(self.disk.folder.glob(pattern))]
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@contextmanager
def place(megabytes: int = 24) -> Iterator[Place]:
    """A disk, and a run and a fine-tuned model beside it."""
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "d", megabytes) as disk:
        home = Path(folder)
        text = write_topics(home / "topics.txt")
        config = TINY_YAML.format(text=text, cache=home / "cache")
        (home / "tiny.yaml").write_text(config, encoding="utf-8")
        write_task(home, home / "pretrained")
        made = Place(home, disk)
        for words in (
            ["pretrain.py", "--config", f"{home}/tiny.yaml", f"run_dir={home}/pretrained"],
            ["finetune.py", "--config", f"{home}/topics.yaml", f"run_dir={home}/finetuned"],
        ):
            done = made.run(words)
            assert done.code == 0, done.errors
        yield made


def faults(here: Place, name: str, levels: int) -> Iterator[tuple[int, str]]:
    """(bytes of room, what went wrong) at every level of a command; "" where nothing did."""
    words, disk = here.words(name), here.disk
    disk.wipe()
    done = here.run(words)
    assert done.code == 0, done.errors
    expected, need = here.results(name), MARGIN * disk.used
    for level in range(levels):
        disk.wipe()
        room = int(need * level / (levels - 1))
        disk.leave(room)
        done = here.run(words)
        problems = [*ending_faults(done), *half_written(disk.folder)]
        disk.empty()
        if done.code:
            again = here.run(words)
            problems += [f"again: {again.code}\n{again.errors[-2000:]}"] if again.code else []
        if not problems and here.results(name) != expected:
            problems = ["other bits"]
        yield room, "; ".join(problems) + (f"\n{done.errors[-3000:]}" if problems else "")


def ending_faults(done: Outcome) -> Iterator[str]:
    """What is wrong with how a command ended."""
    if "Traceback" in done.errors or "Exception ignored" in done.errors:
        yield "a traceback"
    if done.code not in (0, 1, 2):
        yield f"exit code {done.code}"
    errors = [line for line in done.errors.splitlines() if line.startswith("error: ")]
    if done.code and (len(errors) != 1 or "the disk is full" not in errors[0]):
        yield f"{len(errors)} lines of error"
    if not done.code and errors:
        yield "an error, and exit code 0"


def half_written(folder: Path) -> Iterable[str]:
    """What a command left that is not whole."""
    for path in folder.rglob("*"):
        if path.suffix == ".png" and not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
            yield f"{path}: half a picture"
        if path.suffix in (".csv", ".md", ".yaml", ".json") and not path.stat().st_size:
            yield f"{path}: empty"
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        if path.suffix == ".jsonl":
            list(map(json.loads, path.read_text().splitlines()))
        if path.name == "status" and path.read_text() == "running\n":
            yield f"{path}: running"


def main() -> None:
    """Every command at every level; exit code 1 if one ended in another way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--levels", type=int, default=25, metavar="N")
    parser.add_argument("--only", choices=list(RESULTS), action="append")
    arguments = parser.parse_args()
    load_scripts()
    wrong = 0
    with place() as here:
        for name in arguments.only or RESULTS:
            for room, fault in faults(here, name, arguments.levels):
                wrong += bool(fault)
                print(f"{name}  {room:>9,} bytes  {fault or 'as it should be'}", flush=True)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
