"""Results without training: four rows, three seeds, run folders with curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from configs.ablation_metrics import Metric
from configs.loader import dump_config
from configs.schema import PretrainConfig, ScheduleConfig
from launch.ablation.measurements import Measurement, Results, Row

SEEDS, TRIALS = (0, 1, 2), (0, 1, 2, 3, 4)
EFFECTS = {"static (10 masks)": 0.0, "dynamic": -0.12, "static (1 mask)": 0.2, "static (40)": 0.01}
PERPLEXITY = Metric("perplexity", "Perplexity", higher_is_better=False)
ACCURACY = Metric("mlm_accuracy", "Masked accuracy (%)", higher_is_better=True, digits=1, scale=100)
BITS = Metric("bits_per_byte", "Bits per byte", higher_is_better=False, digits=3)
TWEETS = Metric("tweets_macro_f1", "Tweets, macro F1", higher_is_better=True, digits=1, scale=100)
METRICS = (PERPLEXITY, ACCURACY, BITS, TWEETS)


def make_results(folder: Path, **changes: Any) -> Results:
    """The results, their run folders below `folder`; `changes` replace their fields."""
    runs = {(row, s): write_run(folder, n, s) for n, row in enumerate(EFFECTS) for s in SEEDS}
    measurements = [m for (row, seed), path in runs.items() for m in measured(row, seed, path)]
    fields: dict[str, Any] = dict(
        name="masking",
        title="Static against dynamic masking",
        question="Does it help to mask a sequence anew each time it is seen?",
        source="RoBERTa, table 1",
        scale="tiny",
        baseline="static (10 masks)",
        rows=(
            Row("dynamic", {"mask_epochs": None}, {"tweets_macro_f1": 84.0, "SQuAD F1": 78.7}),
            Row("static (10 masks)", {"mask_epochs": 10}, {"tweets_macro_f1": 84.3}),
            Row(
                "static (1 mask)",
                {"mask_epochs": 1},
                marks=("seed 2: undertrained (80 % of the tokens)",),
                chosen={"optimizer.learning_rate": 0.004},
            ),
            Row("static (40)", {"mask_epochs": 40}),
        ),
        metrics=METRICS,
        measurements=tuple(measurements),
        pretraining_runs=runs,
        folder=folder / "tables" / "masking",
        same_within={"bits_per_byte": 0.05},
        notes=("3,200,000 training tokens a run", "code version 1234567"),
    )
    return Results(**{**fields, **changes})


def measured(row: str, seed: int, run_dir: Path) -> list[Measurement]:
    """What the runs of a row and seed measure: pairs share the noise of their seed."""
    loss = final_loss(row, seed)
    values = {
        PERPLEXITY: np.exp(loss),
        ACCURACY: 0.9 - loss / 5,
        BITS: loss / 1.6,
    }
    own = [Measurement(row, metric, seed, float(v), run_dir) for metric, v in values.items()]
    noise = np.random.default_rng([seed, len(row)]).normal(0, 0.01, len(TRIALS))
    task = [
        Measurement(
            row,
            TWEETS,
            seed,
            float(0.7 - 0.05 * EFFECTS[row] + noise[trial]),
            run_dir / "tweets" / "trials" / f"seed{trial}",
            finetuning_seed=trial,
        )
        for trial in TRIALS
    ]
    return own + task


def final_loss(row: str, seed: int) -> float:
    """Nats; a noise of the seed that all rows share, and a small one of the run's own."""
    shared = np.random.default_rng(seed).normal(0, 0.05)
    return 2.5 + EFFECTS[row] + shared + np.random.default_rng([seed, len(row)]).normal(0, 0.004)


def write_run(folder: Path, row: int, seed: int) -> Path:
    """A run folder with its config and 20 evaluations of 32 sequences x 128 tokens a step."""
    run_dir = folder / "runs" / f"row{row}" / f"seed{seed}"
    run_dir.mkdir(parents=True)
    config = PretrainConfig(run_dir=str(run_dir), seed=seed, schedule=ScheduleConfig(max_steps=800))
    (run_dir / "config.yaml").write_text(dump_config(config))
    end, lines = final_loss(list(EFFECTS)[row], seed), []
    for step in range(0, 801, 40):
        loss = end + (9.0 - end) * float(np.exp(-step / 90)) + 0.4 * (1 - step / 800)
        speed = 20_000.0 + 500 * seed + 2_000 * row
        if step:
            seen = {"tokens": step * 32 * 128, "tokens_per_second": speed}
            lines.append(dict(kind="train", step=step, mlm_loss=loss, **seen))
        lines.append(dict(kind="heldout", step=step, mlm_loss=loss, bits_per_byte=loss / 1.6))
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_dir
