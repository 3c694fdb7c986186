"""Whole runs of `launch/pretrain.py`, as a person starts them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from configs.loader import load_run_config
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from configs.system.run_names import WEIGHTS
from configs.system.version import ROOT
from launch.selfchecks.bench import Bench
from launch.selfchecks.finding import Finding, guarded, judged
from launch.selfchecks.material import write_prose

YAML = """
base: small.yaml
data: {{sources: [{{kind: text, path: {text}}}], heldout_fraction: 0.1, cache: {cache}}}
tokenizer: {{vocabulary_size: 512}}
max_length: 64
model: {{layers: 2, hidden_size: 64, heads: 2, feed_forward_size: 128, max_positions: 64}}
batch: {{sequences: 16, micro_sequences: 8}}
evaluation: {{every_steps: 1000, sequences: 64}}
log_every_steps: 1
"""
FILLS_A_GPU = (
    "model={layers: 12, hidden_size: 768, heads: 12, feed_forward_size: 3072, max_positions: 512}",
    *("max_length=512", "batch.sequences=256"),
)
"""more tokens at once than most devices hold: with the model above, any number fits"""
STEPS = 300
LEAVES_AFTER = 5
"""logged steps, before the signal"""
RUN = "run"
"""folder of the run that resumed, whose export the next part loads"""


def check(bench: Bench) -> Iterator[Finding]:
    """SIGTERM and resume; `batch.micro_sequences=auto`."""
    config = write_config(bench)
    words = [f"run_dir={bench.folder / RUN}", f"schedule.max_steps={STEPS}"]
    ways = {"SIGTERM": leaves, "resumes": resumes}
    for name, way in ways.items():
        yield from guarded(name, (way(bench, config, words) for _ in range(1)))
    yield fits(bench, config)


def write_config(bench: Bench) -> Path:
    """A configuration that trains in seconds, on the user's text or Python's help topics."""
    folder, path = bench.folder, bench.folder / "tiny.yaml"
    text, cache = write_prose(folder / "prose.txt", bench.text), folder / "cache"
    path.write_text(YAML.format(text=text, cache=cache), encoding="utf-8")
    return path


def leaves(bench: Bench, config: Path, words: list[str]) -> Finding:
    """A run that is told to leave saves, and leaves with code 0."""
    run, output = RunFolder(bench.folder / RUN), bench.folder / "leaves.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command("pretrain.py", "--config", config, *words),
            cwd=bench.folder,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None and len(steps_of(run)) < LEAVES_AFTER and bench.left > 0:
            sleep(0.02)
        sent, told = monotonic(), process.poll() is None
        process.send_signal(signal.SIGTERM)
        code = process.wait(max(1.0, bench.left))
    seconds, status = monotonic() - sent, run.read_status()
    good = told and code == 0 and status == "preempted"
    text = f"exit code {code} after {seconds:.1f} s, status {status}, saved step "
    text += f"{run.newest_step()}{'' if good else f': see {output}'}"
    return judged("SIGTERM", good, text, seconds=seconds, code=code)


def resumes(bench: Bench, config: Path, words: list[str]) -> Finding:
    """The same command goes on from there: each step is logged once, and the model exported."""
    run = RunFolder(bench.folder / RUN)
    before = run.newest_step()
    done = started(bench, "pretrain.py", "--config", config, *words)
    steps, status = steps_of(run), run.read_status()
    each_once = sorted(steps) == list(range(1, STEPS + 1))
    is_exported = (run.export / WEIGHTS).is_file()
    good = done.returncode == 0 and status == "completed" and each_once and is_exported
    text = f"from step {before} to {max(steps, default=0)}, status {status}"
    text += "" if each_once else ", but not every step is logged once"
    return judged("resumes", good and before > 0, text + trouble(done))


def fits(bench: Bench, config: Path) -> Finding:
    """What a rank can hold is found by trying, and steps of it then run."""
    folder = bench.folder / "fits"
    words = [f"run_dir={folder}", "schedule.max_steps=2", *(FILLS_A_GPU if bench.on_cuda else ())]
    words.append("batch.micro_sequences=auto")
    done = started(bench, "pretrain.py", "--config", config, *words)
    lines = [line for line in done.stdout.splitlines() if "batch.micro_sequences=auto" in line]
    good = done.returncode == 0 and bool(lines)
    return judged("micro_sequences=auto", good, (lines[0] if lines else "") + trouble(done))


def steps_of(run: RunFolder) -> list[int]:
    """The steps that were logged, in order; a resumed run has written them once more."""
    if not run.metrics.is_file():
        return []
    lines = run.metrics.read_text(encoding="utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    return [record["step"] for record in records if record.get("kind") == "train"]


def command(script: str, *words: object) -> list[str]:
    """A launch script's."""
    return [sys.executable, "-u", str(ROOT / "launch" / script), *map(str, words)]


def started(bench: Bench, script: str, *words: object) -> subprocess.CompletedProcess[str]:
    """A launch script, run to its end or the part's."""
    return subprocess.run(
        command(script, *words),
        cwd=bench.folder,
        capture_output=True,
        text=True,
        timeout=max(1.0, bench.left),
    )


def trouble(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed has said last."""
    if done.returncode == 0:
        return ""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["without a word"]
    return f"; exit code {done.returncode}: {lines[-1][:200]}"


def pretrained(bench: Bench) -> Path:
    """The folder of a finished run: the part's before, or a short one of this part's own."""
    run = bench.folder.parent / "runs" / RUN
    if RunFolder(run).read_status() == "completed":
        load_run_config(PretrainConfig, run)
        return run
    run, config = bench.folder / RUN, write_config(bench)
    words = [f"run_dir={run}", "schedule.max_steps=20"]
    done = started(bench, "pretrain.py", "--config", config, *words)
    if done.returncode:
        raise RuntimeError(f"no model to go on with{trouble(done)}")
    return run
