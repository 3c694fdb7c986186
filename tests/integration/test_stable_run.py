"""One run at the peak rate, and decays of their own from its checkpoints."""

from __future__ import annotations

import pytest

from configs.system.run_folder import RunFolder
from tests.forked import run_script
from tests.integration.test_bad_input import assert_one_line

pytestmark = pytest.mark.distributed
WSD = (
    *("optimizer.name=muon", "schedule.decay=wsd"),
    *("schedule.warmup_fraction=0", "schedule.warmup_steps=2"),
)
SHORT = (
    *WSD,
    "schedule.max_steps=6",
    "schedule.decay_fraction=0.33",
    "schedule.decay_shape=1-sqrt",
)


def test_a_decay_of_its_own_has_the_bits_of_a_run_that_planned_it(tiny, tmp_path):
    """Steps 1 to 4 by a run of 8 and the decay of steps 4 to 6 from there, or all 6 at once."""

    def run(name: str, *more: str):
        return run_script("pretrain.py", "--config", tiny, f"run_dir={name}", *more, cwd=tmp_path)

    stable = (*WSD, "schedule.decay_fraction=0.3", "checkpoint.keep_every_steps=2")
    assert run("stable", *stable).returncode == 0
    branched, decayed = (tmp_path / f"stable/checkpoints/step-0000000{step}" for step in (4, 8))
    resumed = run("branch", *SHORT, f"checkpoint.resume={branched}")
    assert resumed.returncode == 0, resumed.stderr
    assert "1-sqrt decay over the last 33%" in resumed.stdout
    assert run("straight", *SHORT).returncode == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        files = [tmp_path / r / "checkpoints/step-00000006" / name for r in ("branch", "straight")]
        assert files[0].read_bytes() == files[1].read_bytes()
    records = RunFolder(tmp_path / "branch").read_metrics()
    rates = {r["learning_rate"] for r in records if r["kind"] == "train"}
    assert len(rates) == 2, "the rate has decayed in steps 5 and 6"
    assert branched.is_dir(), "further decays can begin there"
    refused = run("late", *WSD, "schedule.max_steps=20", f"checkpoint.resume={decayed}")
    assert_one_line(refused, "resume from a checkpoint of the stable part")
