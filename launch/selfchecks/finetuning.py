"""A trained encoder beside transformers, fine-tuned, and asked for answers."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from configs.system.run_folder import RunFolder
from configs.system.version import package_version
from launch.selfchecks.batches import bounds
from launch.selfchecks.bench import Bench
from launch.selfchecks.errors import relative_error
from launch.selfchecks.finding import Finding, judged, skipped
from launch.selfchecks.runs import pretrained, started, trouble
from pretrain.batch import MicroBatch
from pretrain.run.saved_run import open_run

LENGTHS = (60, 7, 1, 33)
ERRORS = {"fp32": 1e-4, "bf16": 3e-2}
"""of logits: absolute in fp32, relative to their norm in bf16, in which both sides round"""
TOPICS = {
    "file": ["open", "close", "read", "write", "path", "folder"],
    "loop": ["while", "break", "continue", "iterate", "next", "range"],
    "number": ["integer", "float", "sum", "add", "divide", "decimal"],
}
ROWS = 150
YAML = """
model: {model}
max_length: 32
task: {{name: topics, folder: {folder}, dev_fraction: 0.2}}
batch: {{sequences: 16, micro_sequences: 8}}
optimizer: {{learning_rate: 5.0e-3, beta2: 0.999}}
schedule: {{max_epochs: 5, warmup_fraction: 0.1}}
run_dir: {folder}/finetuned
"""
LEAST_RIGHT = 0.6
"""of answers about three topics"""


def check(bench: Bench) -> Iterator[Finding]:
    """Logits of the exported model, then a task learnt and answered."""
    run = pretrained(bench)
    if package_version("transformers") == "not installed":
        yield skipped("logits beside transformers", "transformers is not installed")
    else:
        yield from beside_transformers(bench, run)
    rows = topic_rows()
    path = write_task(bench.folder, run, rows)
    done = started(bench, "finetune.py", "--config", path)
    text = "a task of three topics is learnt" if done.returncode == 0 else "no"
    yield judged("finetune.py", done.returncode == 0, text + trouble(done))
    if done.returncode == 0:
        yield answers(bench, rows)


def beside_transformers(bench: Bench, run: Path) -> Iterator[Finding]:
    """The run's own model against what `transformers` makes of its export, on this device."""
    from transformers import AutoModelForMaskedLM

    device = bench.device
    ours = open_run(run).model().eval().to(device)
    theirs = AutoModelForMaskedLM.from_pretrained(RunFolder(run).export).eval().to(device)
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(5, 500, (n,), generator=generator) for n in LENGTHS]
    for precision in bench.precisions:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, precision == "bf16"):
            batch = predicting(sequences).to(device)
            hidden_TD = ours.encode(batch)
            found = ours.mlm_head(hidden_TD, ours.encoder.embeddings.word.weight)
            logits = [theirs(ids[None].to(device)).logits[0] for ids in sequences]
        expected: Tensor = torch.cat(logits)
        error = relative_error(found, expected)
        if precision == "fp32":
            error = float((found - expected).abs().max())
        bound = ERRORS[precision]
        text = f"logits off by {error:.1e} (at most {bound:.0e})"
        name = f"beside transformers, {precision}"
        yield judged(name, error <= bound, text, error=error)


def predicting(sequences: Sequence[Tensor]) -> MicroBatch:
    """Sequences end to end, all of whose tokens are predicted."""
    lengths = [len(ids) for ids in sequences]
    tokens_T = torch.cat(list(sequences))
    return MicroBatch(
        tokens_T=tokens_T,
        positions_T=torch.cat([torch.arange(length) for length in lengths]),
        segments_T=torch.zeros_like(tokens_T),
        boundaries=bounds(lengths),
        longest=max(lengths),
        predicted_M=torch.arange(len(tokens_T)),
        labels_M=tokens_T,
        next_sentence_B=torch.full((len(lengths),), -100),
    )


def topic_rows() -> list[tuple[str, str]]:
    """(text, label) pairs; most words of a text tell its label."""
    rng = random.Random(0)
    labels = [list(TOPICS)[number % len(TOPICS)] for number in range(ROWS)]
    return [(" ".join(rng.choices([*TOPICS[label], "the", "of"], k=8)), label) for label in labels]


def write_task(folder: Path, run: Path, rows: list[tuple[str, str]]) -> Path:
    """The configuration of the task, whose table lies beside it."""
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    (folder / "new.txt").write_text("".join(f"{text}\n" for text, _ in rows), encoding="utf-8")
    path = folder / "topics.yaml"
    path.write_text(YAML.format(model=run, folder=folder), encoding="utf-8")
    return path


def answers(bench: Bench, rows: list[tuple[str, str]]) -> Finding:
    """What the fine-tuned model says of the texts that it has learnt from, by `predict.py`."""
    output = bench.folder / "answers.csv"
    words = ["--model", bench.folder / "finetuned", "--input", bench.folder / "new.txt"]
    done = started(bench, "predict.py", *words, "--output", output)
    if done.returncode:
        return judged("predict.py", False, f"no answers{trouble(done)}")
    with output.open(encoding="utf-8", newline="") as file:
        given = [" ".join(row) for row in list(csv.reader(file))[1:]]
    right = sum(label in answer.split() for answer, (_, label) in zip(given, rows))
    good = len(given) == len(rows) and right >= LEAST_RIGHT * len(rows)
    text = f"{len(given)} answers for {len(rows)} texts, {right} of them right"
    return judged("predict.py", good, text, right=right)
