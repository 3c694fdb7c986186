"""A phase of longer sequences and slower rotations: its border can be crossed by a resume."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from configs.system.run_folder import RunFolder
from pretrain.run.saved_run import open_run
from tests.forked import run_script

pytestmark = pytest.mark.distributed
BORDER, END, THETA = 4, 8, 500.0
EXTENDED = (
    "model.position=rope",
    "model.norm=pre",
    "model.attention_window=8",
    "model.global_every=2",
    "document_attention=true",
    f"phases=[{{from_steps: {BORDER}, max_length: 96, rope_theta: {THETA}}}]",
    f"schedule.max_steps={END}",
    "checkpoint.keep=9",
    "evaluation.every_steps=2",
)


def run(config: Path, folder: Path) -> Path:
    done = run_script("pretrain.py", "--config", config, *EXTENDED, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "tiny"


def measured(run_dir: Path) -> list[float]:
    """Losses of training and of held-out text, in order."""
    records = RunFolder(run_dir).read_metrics()
    return [record["mlm_loss"] for record in records if "mlm_loss" in record]


@pytest.fixture(scope="module")
def extended(tiny, tmp_path_factory) -> Path:
    """The folder of an undisturbed run, longer in its second phase than its `max_positions`."""
    return run(tiny, tmp_path_factory.mktemp("extended"))


@pytest.mark.parametrize("reached", [BORDER - 2, BORDER])
def test_a_resume_on_either_side_of_the_border_ends_with_the_same_bits(
    extended, tiny, tmp_path, reached
):
    mine = tmp_path / "runs" / "tiny"
    shutil.copytree(extended, mine)
    for checkpoint in (mine / "checkpoints").iterdir():
        if int(checkpoint.name.rpartition("-")[2]) > reached:
            shutil.rmtree(checkpoint)
    run(tiny, tmp_path)
    assert measured(mine) == measured(extended)
    expected, found = (
        load_file(folder / "checkpoints" / f"step-{END:08d}" / "model.safetensors")
        for folder in (extended, mine)
    )
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, err_msg=name)


def test_a_checkpoint_knows_the_base_of_its_rotations(extended):
    assert open_run(extended, up_to_step=BORDER).config.model.rope_theta == 10_000.0
    last = open_run(extended)
    assert last.config.model.rope_theta == THETA
    assert last.started.model.rope_theta == 10_000.0
    assert last.model().encoder.rope_theta == THETA
