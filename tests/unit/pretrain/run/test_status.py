"""The status file tells what became of a run."""

from __future__ import annotations

import errno

import pytest
import torch

from configs.errors import DiskError, InputError, RunError
from configs.system.run_folder import RunFolder
from pretrain.ranks.preemption import Preempted
from pretrain.ranks.world import World
from pretrain.run.status import is_out_of_memory, kept_status, loss_explained

ALONE = World(0, 1, torch.device("cpu"))


def after(run_dir, error: BaseException | None) -> str:
    """The word that is left where `error` ends the run."""
    try:
        with kept_status(run_dir, ALONE):
            assert RunFolder(run_dir).read_status() == "running"
            if error:
                raise error
    except BaseException as raised:
        assert error is not None
        assert raised is error or isinstance(raised, RunError)
    return RunFolder(run_dir).read_status()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (None, "completed"),
        (InputError("the disk is full"), "failed"),
        (RunError("not finite"), "failed"),
        (ValueError("a bug"), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (Preempted(7, "SIGTERM"), "preempted"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out-of-memory"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out-of-memory"),
    ],
)
def test_every_end_has_its_word(tmp_path, error, word):
    assert RunFolder(tmp_path).read_status() is None
    assert after(tmp_path / "run", error) == word


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (RuntimeError("[pair.cc:547] Connection closed by peer [10.0.0.2]:18"), "preempted"),
        (RuntimeError("Connection reset by peer"), "preempted"),
        (RuntimeError("NCCL: remote process exited or there was a network error"), "preempted"),
        (RuntimeError("shape mismatch"), "failed"),
        (RunError("Connection closed"), "failed"),
        (InputError("connection reset"), "failed"),
    ],
)
def test_in_a_job_a_broken_connection_is_for_the_script_to_judge(
    tmp_path, monkeypatch, error, word
):
    """A node may be lost, with the script on it, and the job be queued again."""
    monkeypatch.setenv("MASKLAB_EXIT_CODE", str(tmp_path / "code"))
    assert after(tmp_path / "run", error) == word
    monkeypatch.delenv("MASKLAB_EXIT_CODE")
    assert after(tmp_path / "run", error) == "failed"


def test_only_a_preempted_run_asks_for_the_queue_and_the_next_start_takes_that_back(tmp_path):
    after(tmp_path, Preempted(7, "SIGTERM"))
    assert (tmp_path / "REQUEUE").read_text() == "7 SIGTERM\n"
    after(tmp_path, None)
    assert not (tmp_path / "REQUEUE").exists()


def test_the_first_to_fail_tells_why(tmp_path):
    with pytest.raises(RuntimeError, match="connection"), kept_status(tmp_path, ALONE):
        (tmp_path / "status").write_text("out-of-memory\n")
        raise RuntimeError("connection closed by peer")
    assert RunFolder(tmp_path).read_status() == "out-of-memory"


def test_memory_that_ran_out_names_the_cure(tmp_path):
    told = r"rank 0 ran out of memory: lower batch\.micro_sequences"
    with pytest.raises(RunError, match=told), kept_status(tmp_path, ALONE):
        raise MemoryError


def test_other_runtime_errors_are_no_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_on_a_full_disk_the_checkpoint_of_a_trial_is_named_as_safe(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskError, match="nothing was trained yet"), loss_explained(tmp_path):
        raise full
    saved = tmp_path / "trials/seed=0/checkpoints/step-00005000"
    saved.mkdir(parents=True)
    with pytest.raises(DiskError, match=f"safe: {saved}"), loss_explained(tmp_path):
        raise full
