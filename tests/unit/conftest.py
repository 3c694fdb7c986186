"""Run folders as training leaves them, made without it: unit tests are about what reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config
from configs.schema import CheckpointConfig, PretrainConfig
from configs.system.run_folder import RunFolder
from finetune.model.model_folder import ModelCard, make_task_model, save_finetuned
from pretrain.model.pretraining import make_model
from pretrain.run.checkpoint import Writer
from pretrain.run.checkpoint_state import State
from pretrain.run.describe import write_environment
from pretrain.run.export_run import export_run
from pretrain.run.pretrained import load_pretrained
from tests.finetuning import TOPICS, write_task
from tests.unit.pretrain.model.combinations import random_weights
from tests.unit.pretrain.run.runs import ALONE, FakeEngine
from tokenizer.training import train_tokenizer


@pytest.fixture(scope="session")
def tiny_run(tiny, prose, tmp_path_factory) -> Path:
    """A pretraining run of `tiny` after one step, its weights random."""
    run_dir = tmp_path_factory.mktemp("pretrained") / "runs" / "tiny"
    config = load_config(PretrainConfig, str(tiny), [f"run_dir={run_dir}"])
    lines = prose.read_text(encoding="utf-8").splitlines()
    tokenizer = train_tokenizer(config.tokenizer, lines[:2000])
    write_environment(run_dir, config, ALONE, {"parameters": 1}, step=0)
    folder = RunFolder(run_dir)
    tokenizer.save(folder.tokenizer)
    engine = FakeEngine(random_weights(make_model(config, tokenizer)))
    writer = Writer(folder.checkpoints, CheckpointConfig(asynchronous=False))
    writer.save(engine, State(1, fingerprints={"tokenizer": tokenizer.fingerprint}))
    export_run(run_dir, folder.export)
    return run_dir


@pytest.fixture(scope="session")
def tiny_task(tiny_run, tmp_path_factory) -> Path:
    """The path of a configuration that fine-tunes `tiny_run` on three topics."""
    return write_task(tmp_path_factory.mktemp("topics"), tiny_run)


@pytest.fixture(scope="session")
def tiny_finetuned(tiny_run, tiny_task, tmp_path_factory) -> Path:
    """A run of `tiny_task` whose best model knows nothing of its topics."""
    config, encoder = load_config(FinetuneConfig, str(tiny_task)), load_pretrained(str(tiny_run))
    labels = tuple(sorted(TOPICS))
    card = ModelCard(config.task, encoder.model, config.head, labels, config.max_length, {}, {})
    model = make_task_model(card, encoder.tokenizer.special.pad, encoder.vocabulary_size)
    random_weights(model)
    run_dir = tmp_path_factory.mktemp("finetuned") / "run"
    save_finetuned(RunFolder(run_dir).best, card, encoder.tokenizer, model.state_dict())
    return run_dir
