"""Bad input to fine-tuning: one clear line, exit code 2, and no run folder left behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.finetuning import topic_rows, write_csv
from tests.helpers import Payload
from tests.integration.test_bad_input import assert_one_line

HEADER = ("text", "label")
ROWS = topic_rows(rows=60)


@dataclass
class Place:
    """Where a case writes its files."""

    folder: Path
    encoder: Path

    def table(self, name: str, rows: list[tuple], header: tuple[str, ...] = HEADER) -> Path:
        return write_csv(self.folder / name, rows, header)

    def copied_encoder(self) -> Path:
        """Without hashes, as a folder from elsewhere: what it is changed to is read."""
        folder = Path(shutil.copytree(self.encoder / "export", self.folder / "encoder"))
        (folder / "SHA256SUMS").unlink()
        return folder


def no_model(place: Place):
    return ["model=null"], ["model is missing"]


def model_that_is_no_folder(place: Place):
    return [f"model={place.folder}/nowhere"], [f"model={place.folder}/nowhere", "no such folder"]


def model_without_anything_in_it(place: Place):
    return [f"model={place.folder}"], [str(place.folder), "neither a run folder"]


def missing_column(place: Place):
    path = place.table("train.csv", ROWS, ("tweet", "label"))
    return [], [f"{path}: no column 'text'", "task.text", "tweet, label"]


def unknown_label(place: Place):
    path = place.table("train.csv", [*ROWS, ("a text", "flie")])
    return ["task.labels=[file,loop,number]"], [f"{path}, row 61: unknown label 'flie'"]


def empty_text(place: Place):
    path = place.table("train.csv", [*ROWS[:6], ("  ", "file"), *ROWS[6:]])
    return [], [f"{path}, row 7: empty text"]


def label_in_dev_only(place: Place):
    place.table("train.csv", ROWS)
    path = place.table("dev.csv", [*ROWS[:5], ("new", "other")])
    return ["task.dev=dev.csv"], [f"{path}, row 6: ", "'other'"]


def tokenizer_of_another_encoder(place: Place):
    folder = place.copied_encoder()
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary |= {f"more{n}": len(vocabulary) + n for n in range(3)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer.json").unlink()
    return [f"model={folder}"], [f"{folder}: the tokenizer has 515 entries, the encoder 512"]


def tokenizer_of_two_minds(place: Place):
    overrides, _ = tokenizer_of_another_encoder(place)
    folder = place.folder / "encoder"
    shutil.copy(place.encoder / "export" / "tokenizer.json", folder)
    words = [f"{folder}/tokenizer.json has 512 pieces, unlike vocab.json with its 515"]
    return overrides, words


def malicious_weights(place: Place):
    folder = place.copied_encoder()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "more": Payload(place.folder / "trace")}, folder / "pytorch_model.bin")
    return [f"model={folder}"], [f"{folder}/pytorch_model.bin: refused"]


def answer_outside_its_context(place: Place):
    answer = {"text": "close", "answer_start": 3}
    question = {"id": "q7", "question": "what?", "answers": [answer]}
    paragraph = {"context": "open and close", "qas": [question]}
    path = place.folder / "train.json"
    path.write_text(json.dumps({"data": [{"title": "Files", "paragraphs": [paragraph]}]}))
    words = [f"{path}, article Files, paragraph 1, question q7", "'close'", "answer_start"]
    return ["task.kind=span", "task.train=train.json"], words


def context_without_room(place: Place):
    question = {"question": " ".join(["why"] * 40), "answers": [{"text": "a", "answer_start": 0}]}
    paragraphs = [[{"context": "a b", "qas": [question | {"id": str(n)}]}] for n in range(8)]
    articles = [{"title": str(n), "paragraphs": p} for n, p in enumerate(paragraphs)]
    (place.folder / "train.json").write_text(json.dumps({"data": articles}))
    return ["task.kind=span", "task.train=train.json"], ["max_length=32", "no room"]


def label_that_is_not_bio(place: Place):
    path = place.folder / "train.txt"
    path.write_text("Anna\tB-person\nruns\tO\n\nto\tO\nParis\tCITY\n")
    return ["task.kind=tagging", "task.train=train.txt"], [f"{path}, line 5: ", "'CITY'", "BIO"]


def grid_over_an_unknown_field(place: Place):
    grid = "grid={optimizer.learning_rat: [0.1, 0.2]}"
    return [grid], ["grid", "optimizer.learning_rat"]


def length_beyond_the_positions(place: Place):
    return ["max_length=65"], ["max_length=65", "64 positions"]


def metric_that_the_task_has_not(place: Place):
    return ["task.metric=acuracy"], ["task.metric=acuracy", "accuracy"]


CASES = (
    no_model,
    model_that_is_no_folder,
    model_without_anything_in_it,
    missing_column,
    unknown_label,
    empty_text,
    label_in_dev_only,
    tokenizer_of_another_encoder,
    tokenizer_of_two_minds,
    malicious_weights,
    answer_outside_its_context,
    context_without_room,
    label_that_is_not_bio,
    grid_over_an_unknown_field,
    length_beyond_the_positions,
    metric_that_the_task_has_not,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_nothing_is_left_behind(launch, tiny_run, tiny_task, tmp_path, case):
    place = Place(tmp_path / "files", tiny_run)
    place.folder.mkdir()
    place.table("train.csv", ROWS)
    overrides, words = case(place)
    before = sorted(tmp_path.rglob("*"))
    settings = (f"task.folder={place.folder}", "run_dir=run")
    done = launch("finetune.py", "--config", tiny_task, *settings, *overrides)
    assert_one_line(done, *words)
    assert sorted(tmp_path.rglob("*")) == before  # no run folder, and no trace of a payload


def test_a_run_of_another_configuration_is_left_as_it_was(launch, tiny_task, tiny_finetuned):
    before = contents(tiny_finetuned)
    change = ("optimizer.learning_rate=1.0e-3", f"run_dir={tiny_finetuned}")
    done = launch("finetune.py", "--config", tiny_task, *change)
    assert_one_line(done, f"{tiny_finetuned}/trials/seed=0/result.json", "another run_dir")
    assert contents(tiny_finetuned) == before


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file but the lock, which says who had it last."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return {path: path.read_bytes() for path in files}
