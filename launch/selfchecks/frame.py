"""Parts one after the other, each in a process with a time limit; nothing stops the others.

The folder of results holds `selfcheck.json`, everything found so far, replaced as a whole after
each part, and a folder for each part: its findings.jsonl, its output.txt and what else it makes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, strftime
from typing import Any

from configs.checks import require
from configs.system.files import write_text
from configs.system.version import code_version
from launch.selfchecks.advice import advice
from launch.selfchecks.finding import FAILED, SKIPPED, Finding
from launch.selfchecks.part import FINDINGS, KNOWN

RESULTS, OUTPUT = "selfcheck.json", "output.txt"
RUNNER = Path(__file__).with_name("part.py")
LEAST_SECONDS = 3.0
"""with less a part is not begun"""


@dataclass(frozen=True)
class Part:
    """A subject that is checked."""

    name: str
    purpose: str
    target: str
    """module:function, see `bench.Check`"""
    share: float
    """of the time, beside the other parts' shares"""


@dataclass
class Outcome:
    """What a part came to."""

    name: str
    limit: float
    """seconds"""
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that did not pass."""
        return [f"{self.name}: {f.check}" for f in self.findings if f.state == FAILED]


@dataclass
class SelfCheck:
    """All parts that were asked for, and what is known so far."""

    folder: Path
    parts: Sequence[Part]
    seconds: float
    """for all of them"""
    text: Path | None = None
    """that runs learn from"""
    outcomes: list[Outcome] = field(default_factory=list)
    began: str = field(default_factory=lambda: strftime("%Y-%m-%d %H:%M:%S"))

    def run(self) -> Iterator[Outcome]:
        """Each part's outcome, once it is in the file; whatever ends this keeps what was found."""
        end = monotonic() + self.seconds
        for number, part in enumerate(self.parts):
            # What a part leaves of its time goes to those after it.
            shares = sum(later.share for later in self.parts[number:])
            limit = max(0.0, end - monotonic()) * part.share / shares
            outcome = Outcome(part.name, limit)
            self.outcomes.append(outcome)
            try:
                self._run_part(part, outcome)
            finally:
                self.write()
            yield outcome

    def _run_part(self, part: Part, outcome: Outcome) -> None:
        if outcome.limit < LEAST_SECONDS:
            outcome.findings = [Finding("all", SKIPPED, "no time is left: give more --minutes")]
            return
        folder = fresh(self.folder / part.name)
        (folder / KNOWN).write_text(json.dumps(self.known), encoding="utf-8")
        started = monotonic()
        trouble = "interrupted"
        try:
            trouble = run_process(part.target, folder, outcome.limit, self.text)
        finally:
            outcome.seconds = monotonic() - started
            outcome.findings = read_findings(folder, trouble)

    @property
    def known(self) -> dict[str, Any]:
        """The values of all findings so far, by `part/check`."""
        return {
            f"{outcome.name}/{finding.check}": dict(finding.values)
            for outcome in self.outcomes
            for finding in outcome.findings
        }

    @property
    def failed(self) -> list[str]:
        """Of all parts."""
        return [name for outcome in self.outcomes for name in outcome.failed]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "code": code_version(),
            "began": self.began,
            "asked": [part.name for part in self.parts],
            "parts": [asdict(outcome) for outcome in self.outcomes],
            "advice": advice(self.known),
            "failed": self.failed,
        }

    def write(self) -> None:
        """Replace the results on the disk."""
        write_text(self.folder / RESULTS, json.dumps(self.as_json(), indent=1) + "\n")


def run_process(target: str, folder: Path, limit: float, text: Path | None = None) -> str:
    """Run a part to its end, and kill it and its children after `limit` seconds.

    Returns:
        What went wrong with the process; empty: nothing.
    """
    words = [sys.executable, str(RUNNER), target, str(folder.absolute()), f"{limit:.1f}"]
    words += [str(text)] if text else []
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        return f"was not done after {limit:.0f} s and was ended"
    finally:
        # Also where the part has ended: its children may live on.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code < 0:
        return f"was ended by signal {-code}: {last_line(folder / OUTPUT)}"
    return f"exit code {code}: {last_line(folder / OUTPUT)}" if code else ""


def read_findings(folder: Path, trouble: str) -> list[Finding]:
    """What a part has written, with a line for each thing that is wrong with it."""
    path, findings = folder / FINDINGS, []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    for line in lines:
        try:
            findings.append(Finding.of_line(line))
        except ValueError:
            text = f"wrote what is no finding: {line[:80]}"
            findings.append(Finding("the part itself", FAILED, text))
    if trouble:
        findings.append(Finding("the part itself", FAILED, f"{trouble} (see {folder / OUTPUT})"))
    elif not findings:
        text = f"found nothing (see {folder / OUTPUT})"
        findings.append(Finding("the part itself", FAILED, text))
    return findings


def last_line(path: Path) -> str:
    """Of a process's output."""
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "without a word"


def fresh(folder: Path) -> Path:
    """An empty folder in the place of an earlier self-check's; `InputError` for another's."""
    if folder.exists():
        ours = (folder / KNOWN).is_file()
        require(ours, f"{folder} is no folder of a self-check: name another --output")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
