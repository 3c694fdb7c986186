"""A run holds as much memory late as early, whatever lengths its samples have."""

from __future__ import annotations

from configs.system.run_folder import RunFolder
from tests.conftest import Command

MORE = (
    *("input_format=doc-sentences", "schedule.max_steps=120", "log_every_steps=10"),
    *("evaluation={every_steps: 10, sequences: 16}", "checkpoint.every_steps=120"),
)


def test_resident_memory_is_flat(tiny, tmp_path):
    """Of twelve evaluations with their pictures, and of samples of many lengths, nothing stays."""
    run = Command("pretrain.py", "--config", tiny, "run_dir=run", *MORE, cwd=tmp_path).finish()
    assert run.returncode == 0, run.stderr
    records = RunFolder(tmp_path / "run").read_metrics()
    held = [r["memory_gigabytes"] for r in records if r["kind"] == "train"]
    assert len(held) == 12 and max(held[8:]) < 1.05 * max(held[:3])
