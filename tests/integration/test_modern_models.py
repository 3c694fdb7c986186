"""What no class of transformers holds goes all the way: trained, exported, fine-tuned, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.finetuning import write_task
from tests.forked import run_script

MODEL = (
    "model={norm: pre, norm_kind: rmsnorm, qk_norm: true, position: alibi, feed_forward: relu2, "
    "bias: none, tied: false, attention_window: 8, global_every: 2, segment_types: 0}"
)
NAMED = "RobertaForMaskedLM has no place for model.norm=pre, model.norm_kind=rmsnorm"


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory) -> tuple[Path, str]:
    """(run folder, what was said on standard error) of a short run."""
    folder = tmp_path_factory.mktemp("modern")
    words = ("--config", tiny, MODEL, "document_attention=true", "schedule.max_steps=2")
    done = run_script("pretrain.py", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "tiny", done.stderr


def test_it_is_told_first_and_kept_in_our_own_layout(run, launch, tmp_path):
    folder, told = run
    assert NAMED in told
    content = json.loads((folder / "export" / "config.json").read_text())
    assert content["model_type"] == "masklab" and content["model"]["position"] == "alibi"
    words = ("export.py", "--model", folder, "--output", tmp_path / "out")
    refused = launch(*words)
    assert refused.returncode == 2 and "take --format onnx" in refused.stderr
    done = launch(*words, "--format", "onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "mlm.onnx").is_file()


def test_it_is_fine_tuned_from_its_export_and_predicts(run, launch, tmp_path):
    task = write_task(tmp_path, run[0] / "export")
    done = launch("finetune.py", "--config", task, "run_dir=tuned", "schedule.max_epochs=1")
    assert done.returncode == 0, done.stderr
    text = tmp_path / "texts.txt"
    text.write_text("open the file\nwhile in a loop\n")
    answers = launch("predict.py", "--model", "tuned", "--input", text)
    assert answers.returncode == 0 and len(answers.stdout.splitlines()) >= 2, answers.stderr
    words = ("export.py", "--model", "tuned", "--output", "out")
    refused = launch(*words)
    assert refused.returncode == 2 and "no class of transformers has a place for" in refused.stderr
    done = launch(*words, "--format", "onnx")
    assert done.returncode == 0, done.stderr


def test_it_is_trained_on_and_nothing_else_starts_from_it(run, tiny, launch):
    folder = run[0] / "export"
    words = ("pretrain.py", "--config", tiny, f"initial_model={folder}", f"tokenizer.path={folder}")
    done = launch(*words, MODEL, "schedule.max_steps=1")
    assert done.returncode == 0, done.stderr
    refused = launch(*words, "run_dir=other")
    assert refused.returncode == 2 and "has model.norm=pre" in refused.stderr
