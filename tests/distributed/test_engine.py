"""What the engine makes of DeepSpeed, beyond what curves and weights show."""

from __future__ import annotations

import pytest

from tests.distributed.ranks import on_ranks
from tests.distributed.training import open_engine, tiny_config, train_steps, write_random_store

pytestmark = pytest.mark.distributed


def compiled(store: str) -> list[str]:
    """Train at two ZeRO stages; the operators that DeepSpeed compiled or asked about on the way."""
    from deepspeed.comm import comm
    from deepspeed.ops.op_builder.builder import OpBuilder
    from torch.utils import cpp_extension

    from pretrain.ranks import world as ranks

    asked = []

    def note(self, *_: object, **__: object) -> bool:
        asked.append(self.name)
        return False

    OpBuilder.is_compatible = OpBuilder.load = OpBuilder.command_exists = note
    cpp_extension.load = lambda name, *_, **__: asked.append(name)
    world = ranks.start()
    for stage in (0, 2):
        config = tiny_config([f"engine.zero_stage={stage}", "optimizer.name=adamw"])
        train_steps(*open_engine(world, store, config), 0, 2)
    assert comm.cdb.shm_comm_op is None, "DeepSpeed's backend has no operator of its own"
    ranks.stop()
    return asked


def test_nothing_is_compiled(tmp_path):
    assert on_ranks(compiled, 2, str(write_random_store(tmp_path))) == [[], []]
