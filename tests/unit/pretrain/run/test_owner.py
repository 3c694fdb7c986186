"""A run and its folder: what its ranks may write, and what they say of a folder that is gone."""

from __future__ import annotations

import shutil

import pytest
import torch

from configs.errors import InputError, RunError
from configs.finetune_schema import FinetuneConfig
from configs.schema import PretrainConfig
from configs.system.run_folder import RunFolder
from configs.system.run_lock import claimed, find_holder, take
from finetune.training.run_trials import finetune
from pretrain.engine.skipped import write_dump
from pretrain.engine.train import pretrain
from pretrain.ranks.world import World
from pretrain.run.log import RunLog
from pretrain.run.status import kept_status, owned
from tests.helpers import contents

ALONE, SECOND = (World(rank, 1, torch.device("cpu")) for rank in (0, 1))


STARTS = {
    "pretraining": lambda folder: pretrain(PretrainConfig(run_dir=folder), ALONE),
    "fine-tuning": lambda folder: finetune(FinetuneConfig(run_dir=folder, model="x"), ALONE),
}


@pytest.mark.parametrize("kind", STARTS)
def test_a_run_is_refused_before_it_reads_or_writes_anything(tmp_path, kind):
    lock = take(tmp_path)
    (tmp_path / "status").write_text("running\n")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="another process works on it"):
        STARTS[kind](str(tmp_path))
    assert contents(tmp_path) == before
    lock.release()


def test_a_run_owns_its_folder_to_its_end(tmp_path):
    with owned(tmp_path / "run", ALONE):
        assert find_holder(tmp_path / "run")
        (tmp_path / "run" / "status").touch()
    assert find_holder(tmp_path / "run") is None


def test_a_folder_that_cannot_be_made_is_bad_input_on_all_ranks(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="name another run_dir"), owned(tmp_path / "file", ALONE):
        pass


def test_what_fails_in_a_folder_that_is_gone_fails_for_that_reason(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(RunError, match="deleted or moved"), owned(folder, ALONE):
        shutil.rmtree(folder)
        (folder / "metrics.jsonl").open("a")
    assert not folder.exists()


def test_a_rank_that_outlives_its_run_leaves_the_next_one_alone(tmp_path):
    first = take(tmp_path)
    with claimed(tmp_path, first.token):
        log = RunLog(tmp_path, is_main=True)
        with pytest.raises(RuntimeError, match="closed"), kept_status(tmp_path, SECOND):
            first.release()
            lock = take(tmp_path)
            (tmp_path / "status").write_text("running\n")
            before = contents(tmp_path)
            raise RuntimeError("connection closed by peer")
        with pytest.raises(RunError):
            write_dump(tmp_path / "dumps", 3, 1, [], [], None)
        with pytest.raises(RunError):
            log.record("train", 3, {"loss": 1.0})
        assert contents(tmp_path) == before and RunFolder(tmp_path).read_status() == "running"
        log.close()
    lock.release()
