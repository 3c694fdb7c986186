"""The end of a run tidies up what a kill between the last save and its tidying left."""

from __future__ import annotations

from types import SimpleNamespace

from configs.schema import CheckpointConfig
from pretrain.engine.trainer import Trainer
from pretrain.run.checkpoint import Writer


def test_a_run_that_has_nothing_left_to_save_still_drops_what_is_old(tmp_path):
    for name in ("step-00000004", "step-00000006", "step-00000008", ".step-00000008.0123abcd"):
        (tmp_path / name).mkdir()
    writer = Writer(tmp_path, CheckpointConfig(keep=2))
    world = SimpleNamespace(is_main=True)
    done = SimpleNamespace(evaluated_step=8, saved_step=8, writer=writer, world=world)
    Trainer._finish(done, 8, window=[])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000006", "step-00000008"]
