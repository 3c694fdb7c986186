"""A run folder: where its files lie, and what programs and people ask it first.

`run_names.py` tells what each of them holds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configs.errors import DiskError, InputError, RunError
from configs.system import run_names as names
from configs.system.files import make_folder, overwrite, write_text
from configs.system.json_files import recall_json

logger = logging.getLogger(__name__)

WORDS = (
    *("pending", "running", "completed", "preempted", "interrupted", "out-of-memory"),
    "failed",
)
"""that a status may be"""
Record = dict[str, Any]
"""one line of metrics.jsonl: its kind, step and time, and what was measured"""


class _Place:
    """Where something of a run lies: an attribute of its folder."""

    def __init__(self, *names_below: str) -> None:
        self.names_below = names_below

    def __get__(self, folder: RunFolder, _kind: type) -> Path:
        return folder.path.joinpath(*self.names_below)


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, or of one trial in it."""

    path: Path

    config = _Place(names.CONFIG)
    environment = _Place(names.ENVIRONMENT)
    status = _Place(names.STATUS)
    requeue = _Place(names.REQUEUE)
    metrics = _Place(names.METRICS)
    tensorboard = _Place(names.TENSORBOARD)
    curves = _Place(names.PLOTS, names.CURVES)
    dumps = _Place(names.DUMPS)
    tokenizer = _Place(names.TOKENIZER)
    checkpoints = _Place(names.CHECKPOINTS)
    export = _Place(names.EXPORT)
    adapt = _Place(names.ADAPT)
    best = _Place(names.CHECKPOINTS, names.BEST)
    predictions = _Place(names.PREDICTIONS)
    report = _Place(names.REPORT)
    result = _Place(names.RESULT)

    def newest_step(self) -> int:
        """The step of the newest checkpoint, whole or not; 0 where there is none."""
        numbers = (path.name[len(names.STEP) :] for path in self.checkpoints.glob(f"{names.STEP}*"))
        return max(map(int, filter(str.isdigit, numbers)), default=0)

    def trial(self, name: str) -> RunFolder:
        """The folder of one trial of a fine-tuning."""
        return RunFolder(self.path / names.TRIALS / name)

    def trials(self) -> list[RunFolder]:
        """Of fine-tuning: the folders of trials that were begun, by name."""
        return [RunFolder(path) for path in sorted((self.path / names.TRIALS).glob("*"))]

    def finished_trials(self) -> int:
        """How many trials have their result."""
        return len(list(self.path.glob(f"{names.TRIALS}/*/{names.RESULT}")))

    # -- its status -------------------------------------------------------------------------------

    def write_status(self, word: str) -> None:
        """Replace the word by another of `WORDS`; on a full disk, where it lies.

        Raises:
            RunError: the folder is that of this process's run, which has lost it.
            DiskError: there is no room and no word yet.
        """
        make_folder(self.path)
        line = f"{word}\n"
        try:
            write_text(self.status, line)
        except DiskError:
            if not self.status.exists():
                raise
            overwrite(self.status, line)

    def settle_status(self, word: str) -> None:
        """The same at a run's end, where nothing may hide why it ends: what fails is only told."""
        try:
            self.write_status(word)
        except (InputError, RunError, OSError) as error:
            logger.warning(f"the status '{word}' could not be written: {error}")

    def read_status(self) -> str | None:
        """The word, or None where there is none, or a power cut has left something else."""
        try:
            word = self.status.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None
        return word if word in WORDS else None

    def write_requeue(self, step: int, reason: str | None) -> None:
        """Ask the job script to queue the run again, which has done `step` steps."""
        write_text(self.requeue, f"{step} {reason}\n")

    # -- its environment --------------------------------------------------------------------------

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Replace what environment.json says."""
        write_text(self.environment, json.dumps(environment, indent=1) + "\n")

    def read_environment(self) -> dict[str, Any]:
        """What environment.json says; empty where it is not there or damaged."""
        return recall_json(self.environment)

    def recorded_precision(self) -> Literal["fp32", "tf32", "bf16"] | None:
        """What `engine.precision=auto` became in the run; None where nothing tells."""
        precision = self.read_environment().get("precision")
        return precision if precision in ("fp32", "tf32", "bf16") else None

    def recorded_compile(self) -> bool | None:
        """What `engine.compile=auto` became in the run; None where nothing tells."""
        compiles = self.read_environment().get("compile")
        return compiles if isinstance(compiles, bool) else None

    def earlier_starts(self) -> list[dict[str, Any]]:
        """What environment.json says of the run's starts so far, those of them that are whole."""
        starts = self.read_environment().get("starts")
        return [s for s in starts if isinstance(s, dict)] if isinstance(starts, list) else []

    # -- its metrics ------------------------------------------------------------------------------

    def write_metrics(self, records: Iterable[Record]) -> None:
        """Replace all records."""
        write_text(self.metrics, "".join(json.dumps(record) + "\n" for record in records))

    def read_metrics(self) -> list[Record]:
        """All records; what a crash or a power cut tore is left out and counted."""
        return self._read_lines()[0]

    def last_record(self, kind: str) -> Record:
        """The last record of this kind; empty where there is none."""
        records = [record for record in self.read_metrics() if record["kind"] == kind]
        return records[-1] if records else {}

    def drop_metrics_after(self, step: int) -> None:
        """Forget what was recorded after the checkpoint that a run resumes from, and torn lines."""
        records, torn = self._read_lines()
        kept = [record for record in records if record["step"] <= step] if step else []
        if torn or len(kept) < len(records):
            self.write_metrics(kept)

    def _read_lines(self) -> tuple[list[Record], int]:
        """(records, number of lines that are none: told)."""
        if not self.metrics.is_file():
            return [], 0
        lines = self.metrics.read_bytes().split(b"\n")
        records = [record for line in lines if (record := _record(line))]
        torn = sum(map(bool, lines)) - len(records)
        if torn:
            logger.warning(f"{self.metrics}: torn lines, or none of a run's: {torn:,} left out")
        return records, torn


def _record(line: bytes) -> Record | None:
    """The record in a line, if it is one that a run's log writes."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    known = isinstance(record, dict) and isinstance(record.get("kind"), str)
    return record if known and type(record.get("step")) is int else None
