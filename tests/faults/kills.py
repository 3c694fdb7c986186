"""Kill a run again and again; does it end with the same bits?

    python tests/faults/kills.py [--kills 50] [--ranks 2] [--asynchronous]

trains once undisturbed, then the same under SIGKILL to the launcher and all ranks at random
moments, every second one in the middle of writing a checkpoint, and compares sha256 of the final
weights and moments.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.conftest import OF_A_RANK, ROOT, TINY_YAML, deepspeed, write_topics

PATIENCE = 300
"""seconds that a start may take to its first step"""


class Run:
    """A pretraining run in a process group of its own."""

    def __init__(self, folder: Path, config: Path, ranks: int, overrides: list[str]) -> None:
        script = ROOT / "launch" / "pretrain.py"
        command = [*deepspeed(ranks), str(script), "--config", str(config), *overrides]
        environment = {k: v for k, v in os.environ.items() if k not in OF_A_RANK}
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, f"run_dir={folder}"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def step(self) -> int:
        """The last step that was logged."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        steps = [json.loads(line)["step"] for line in lines if line.endswith("}")]
        return max(steps, default=0)

    def is_saving(self) -> bool:
        """Whether a checkpoint is half-written."""
        return any((self.folder / "checkpoints").glob(".step-*"))

    def kill(self) -> None:
        """SIGKILL to the launcher and all ranks."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> None:
        """Wait for the end, which must be a good one."""
        _, errors = self.process.communicate()
        if self.process.returncode:
            raise SystemExit(f"the run failed:\n{errors}")


def kill_once(run: Run, chance: random.Random, in_a_save: bool) -> str | None:
    """Kill a run after it has taken a step or more; returns where, None if it was done before."""
    started, before = time.monotonic(), run.step()
    while run.step() <= before and run.process.poll() is None:
        if time.monotonic() - started > PATIENCE:
            raise SystemExit("no step was taken")
        time.sleep(0.005)
    pause = chance.uniform(0, 1.0)
    moment = time.monotonic() + pause
    while time.monotonic() < moment or (in_a_save and not run.is_saving()):
        if run.process.poll() is not None:
            return None
        time.sleep(0.0005)
    saving = run.is_saving()
    run.kill()
    torn = any((run.folder / "checkpoints").glob(".step-*"))
    return f"step {run.step()}" + (", inside a save" if saving and torn else "")


def hashes(run_dir: Path) -> dict[str, str]:
    """sha256 of weights and moments of the last checkpoint."""
    newest = sorted((run_dir / "checkpoints").glob("step-*"))[-1]
    manifest = json.loads((newest / "manifest.json").read_text())
    return {name: manifest[name] for name in ("model.safetensors", "optimizer.safetensors")}


def main() -> None:
    """Run undisturbed and disturbed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--asynchronous", action="store_true", help="write checkpoints in a thread")
    arguments = parser.parse_args()
    folder, chance = Path(tempfile.mkdtemp()), random.Random(arguments.seed)
    config = folder / "tiny.yaml"
    text = write_topics(folder / "topics.txt")
    config.write_text(TINY_YAML.format(text=text, cache=folder / "cache"), encoding="utf-8")
    overrides = [
        f"schedule.max_steps={40 * arguments.kills + 40}",
        "evaluation.every_steps=1000000",
        f"checkpoint.asynchronous={str(arguments.asynchronous).lower()}",
    ]

    def start(name: str) -> Run:
        return Run(folder / name, config, arguments.ranks, overrides)

    start("calm").finish()
    done, inside = 0, 0
    while done < arguments.kills:
        where = kill_once(start("killed"), chance, in_a_save=done % 2 == 0)
        if where is None:
            break
        done, inside = done + 1, inside + ("inside" in where)
        print(f"kill {done:>3}: {where}", flush=True)
    start("killed").finish()
    same = hashes(folder / "calm") == hashes(folder / "killed")
    print(
        f"{done} kills, {inside} of them inside a save: final weights and moments are "
        f"{'bit for bit the same' if same else 'NOT THE SAME'}"
    )
    raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
