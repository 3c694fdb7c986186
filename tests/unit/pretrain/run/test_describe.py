"""What a run folder says about itself."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

from configs.loader import load_run_config
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from pretrain.run.describe import fingerprints, note_verified, write_environment
from tests.unit.pretrain.run.runs import ALONE, tiny_config


def test_the_configuration_can_be_loaded_again(tmp_path):
    config = tiny_config(tmp_path)
    write_environment(tmp_path, config, ALONE, {})
    assert load_run_config(PretrainConfig, tmp_path) == config


def test_what_was_decided_stands_beside_versions_and_device(tmp_path):
    write_environment(tmp_path, tiny_config(tmp_path), ALONE, {"precision": "fp32"}, step=0)
    written = json.loads((tmp_path / "environment.json").read_text())
    assert list(written) == [
        *("precision", "code", "source", "starts", "packages", "python", "machine", "device"),
        *("world_size", "threads_per_rank", "command"),
    ]
    assert written["precision"] == "fp32" and written["world_size"] == 1
    assert {"masklab", "torch", "deepspeed"} <= written["packages"].keys()
    assert written["device"].startswith("CPU, ")


def test_what_rounds_otherwise_is_another_curve(tmp_path):
    corpus = SimpleNamespace(
        tokenizer=SimpleNamespace(vocabulary_size=9, fingerprint="t"), fingerprint="c"
    )
    known = fingerprints(tiny_config(tmp_path), corpus)
    assert [name for name in known if name.startswith("engine.")] == ["engine.residual"]


def test_each_start_is_added_to_those_before(tmp_path):
    for step in (0, 7):
        write_environment(tmp_path, tiny_config(tmp_path), ALONE, {}, step=step)
    first, second = RunFolder(tmp_path).earlier_starts()
    assert (first["step"], second["step"]) == (0, 7)
    assert first["time"] <= second["time"] and first["source"] == second["source"]


def test_a_secret_on_the_command_line_is_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pretrain.py", "data.path=https://me:pa55word@host/x"])
    write_environment(tmp_path, tiny_config(tmp_path), ALONE, {})
    written = (tmp_path / "environment.json").read_text()
    assert "pa55word" not in written and "pretrain.py" in written


def test_what_a_checkpoint_certifies_is_noted_where_data_is_verified(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_environment({"source": "a"})
    note_verified(tmp_path, step=5, verified_bytes=10)
    assert folder.read_environment() == {"source": "a"}
    folder.write_environment({"verified": {"mode": "used"}})
    note_verified(tmp_path, step=5, verified_bytes=10)
    noted = {"mode": "used", "at_step": 5, "verified_by_then": 10}
    assert folder.read_environment() == {"verified": noted}


def test_fingerprints_are_of_the_recipe_the_tokenizer_and_the_corpus(tmp_path, corpus):
    found = fingerprints(tiny_config(tmp_path), corpus)
    assert found["corpus"] == corpus.fingerprint
    assert found["tokenizer"] == corpus.tokenizer.fingerprint
    assert found["vocabulary"] == str(corpus.tokenizer.vocabulary_size)
    assert {"seed", "model.hidden_size", "optimizer.learning_rate"} <= found.keys()


def test_a_change_of_the_recipe_changes_its_fingerprint_alone(tmp_path, corpus):
    config = tiny_config(tmp_path)
    before, after = fingerprints(config, corpus), fingerprints(replace(config, seed=9), corpus)
    assert {name for name in before if before[name] != after[name]} == {"seed"}


def test_what_may_change_has_no_fingerprint(tmp_path, corpus):
    config = tiny_config(tmp_path)
    moved = replace(config, run_dir="elsewhere", log_every_steps=3)
    assert fingerprints(moved, corpus) == fingerprints(config, corpus)
