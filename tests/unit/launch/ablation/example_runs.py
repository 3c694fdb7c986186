"""Grids of tiny recipes, and run folders as a finished training leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs.ablation_schema import AblationConfig
from configs.loader import dump_config, load_config
from configs.system.files import write_text
from finetune.report.method_table import MethodScores, TrialScores
from launch.ablation.grid import Grid, GridRun

MASKING = {"masking": {"static": {"mask_epochs": 10}, "dynamic": {}}}
ENVIRONMENT = {
    "source": "a1",
    "code": "c0ffee",
    "precision": "fp32",
    "tokenizer": "t1",
    "corpus": "corpus1",
    "parameters": 1000,
    "device": "CPU",
    "packages": {"torch": "2.13"},
}
TOKENS = 4096.0


def make_grid(folder: Path, **fields: Any) -> Grid:
    """An ablation of static and dynamic masking, unless `fields` say otherwise."""
    values = {
        "run_dir": str(folder / "grid"),
        "fields": {"schedule.max_steps": 8},
        "scales": {"tiny": {}},
        "seeds": [0, 1],
        "axes": MASKING,
        "metrics": ["perplexity", "parameters"],
        **fields,
    }
    path = folder / "mine.yaml"
    write_text(path, "title: Mine\n")  # at once: launchers that share a grid do so together
    return Grid(load_config(AblationConfig, str(path), values=values).at())


def finish(run: GridRun, perplexity: float = 100.0, tokens: float = TOKENS, **facts: Any) -> None:
    """What a completed pretraining run of this run leaves; `facts` go to environment.json."""
    folder = run.run_dir
    write_environment(run, **facts)
    records = [
        {"kind": "train", "step": 8, "time": 2.0, "tokens": tokens},
        {
            "kind": "heldout",
            "step": 8,
            "time": 3.0,
            "perplexity": perplexity,
            "mlm_loss": perplexity,
        },
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")
    (folder / "status").write_text("completed\n")


def finish_task(run: GridRun, accuracy: float = 0.5, split: str = "s1", **facts: Any) -> None:
    """What a completed fine-tuning leaves: two trials, `accuracy` and a bit more."""
    write_environment(run, **facts)
    trials = [
        TrialScores(f"seed={seed}", seed, {"accuracy": accuracy + seed / 100}, None, 60.0)
        for seed in (0, 1)
    ]
    scores = MethodScores(run.row, run.task, "accuracy", ["a", "b"], split, trials)
    scores.write(run.status_folder.path / (run.method or ""))
    run.status_folder.status.write_text("completed\n")


def write_environment(run: GridRun, **facts: Any) -> None:
    """config.yaml as the run asks for, and environment.json."""
    folder = run.status_folder
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.config.write_text(dump_config(run.config), encoding="utf-8")
    environment = {**ENVIRONMENT, "starts": [{"step": 0, "source": "a1", "time": 1.0}], **facts}
    folder.environment.write_text(json.dumps(environment), encoding="utf-8")


def change_config(run: GridRun, old: str, new: str) -> None:
    """Replace a line of what the run says it was configured with."""
    path = run.status_folder.config
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")


def find(grid: Grid, row: str, seed: int = 0, task: str | None = None) -> GridRun:
    """The first run of this description."""
    return next(c for c in grid.runs() if (c.row, c.seed, c.task) == (row, seed, task))
