"""Ranks that would train on something else than the others are refused; none of them hangs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.ranks.local import free_port
from tests.conftest import ROOT, Command
from tests.distributed.ranks import on_ranks
from tests.distributed.training import open_engine, tiny_config, train_steps, write_random_store
from tests.finetuning import topic_rows, write_csv

pytestmark = pytest.mark.distributed
FLIP = """
import sys

sys.path[0] = {root!r}
import torch

from launch import pretrain
from launch.command import run
from pretrain.engine.loop import Loop

take = Loop.take_step


def step(loop, number, *rest):
    take(loop, number, *rest)
    if loop.world.rank == 1 and number == 4:
        weight = next(loop.engine.model.parameters())
        weight.data.view(-1).view(torch.int32)[7] ^= 1


Loop.take_step = step
run(pretrain.main)
"""


class Ranks:
    """Two ranks without a launcher, each with a command line and a folder of its own."""

    def __init__(
        self, script: str, *shared: object, own: tuple = ((), ()), cwd: tuple[Path, Path]
    ) -> None:
        port = free_port()
        self.commands = [
            Command(script, *shared, *own[rank], cwd=cwd[rank], launcher=launcher(rank, port))
            for rank in range(2)
        ]

    def finish(self) -> list[subprocess.CompletedProcess]:
        return [command.finish(timeout=240) for command in self.commands]

    def refusal(self, code: int = 2) -> str:
        """The one line that rank 0 says; all ranks have left with the same code."""
        first, second = self.finish()
        assert (first.returncode, second.returncode) == (code, code), first.stderr + second.stderr
        for trace in ("Traceback", "frame #0"):  # of Python, of torch
            assert trace not in first.stderr + second.stderr, first.stderr + second.stderr
        assert "error: " not in second.stderr, second.stderr
        (line,) = [line for line in first.stderr.splitlines() if line.startswith("error: ")]
        return line


def launcher(rank: int, port: int) -> tuple[str, ...]:
    """The words that start Python as a rank of two."""
    size = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    place = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return ("env", *(f"{name}={value}" for name, value in (size | place).items()), sys.executable)


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """A working folder for each rank."""
    folders = (tmp_path / "0", tmp_path / "1")
    for folder in folders:
        folder.mkdir()
    return folders


REFUSED = {
    "recipe": ["seed=1 on rank 1, 0 on rank 0 (also: optimizer.learning_rate)", "configuration"],
    "no configuration": ["rank 1 on ", "unknown key 'sede'"],
    "no store": ["rank 1 on ", "gone: no token store here"],
    "other tokens": ["training tokens=", "on rank 1", "let all ranks read one store"],
}
"""what rank 0 says, where rank 1 starts otherwise"""


@pytest.fixture(scope="module")
def refused(tiny, tiny_run, tmp_path_factory) -> dict[str, tuple[Ranks, Path]]:
    """Two ranks that disagree, for each of `REFUSED`, all started at once, and their folder."""
    store = read_store(tiny_run)
    copy = with_other_tokens(store, tmp_path_factory.mktemp("copy"))
    own = {
        "recipe": ("seed=1", "optimizer.learning_rate=0.1"),
        "no configuration": ("sede=1",),
        "no store": ("data.store=gone",),
        "other tokens": (f"data.store={copy}",),
    }
    shared = ("--config", tiny, f"data.store={store}")
    folders = {case: tmp_path_factory.mktemp("ranks") for case in REFUSED}
    return {
        case: (Ranks("pretrain.py", *shared, own=((), own[case]), cwd=(folder, folder)), folder)
        for case, folder in folders.items()
    }


def read_store(run_dir: Path) -> Path:
    """The token store that a run was trained from."""
    return Path(json.loads((run_dir / "environment.json").read_text())["store"])


def with_other_tokens(store: Path, folder: Path) -> Path:
    """A copy of a store whose training tokens are not what its manifest says."""
    copy = shutil.copytree(store, folder / "store")
    tokens = next(copy.rglob("train/*.tokens"))
    content = tokens.read_bytes()
    tokens.write_bytes(content[len(content) // 2 :] + content[: len(content) // 2])
    return copy


@pytest.mark.parametrize("case", REFUSED)
def test_a_rank_that_starts_otherwise_is_refused(refused, case):
    ranks, folder = refused[case]
    line = ranks.refusal()
    for word in REFUSED[case]:
        assert word in line, line
    assert not (folder / "runs/tiny").exists(), "something was written"


@pytest.mark.slow
def test_a_rank_that_sees_another_checkpoint_is_refused(tiny, tiny_run, two):
    for folder in two:
        shutil.copytree(tiny_run, folder / "runs/tiny")
    newest = sorted((two[1] / "runs/tiny/checkpoints").iterdir())[-1]
    state = newest / "state.json"
    state.write_text(state.read_text().replace('"skipped_steps": 0', '"skipped_steps": 1'))
    before = (two[0] / "runs/tiny/environment.json").read_text()
    line = Ranks("pretrain.py", "--config", tiny, cwd=two).refusal()
    assert "state.json=" in line and "on rank 1" in line and "one run folder" in line
    assert (two[0] / "runs/tiny/environment.json").read_text() == before
    shutil.rmtree(newest)
    line = Ranks("pretrain.py", "--config", tiny, cwd=two).refusal()
    assert "rank 1 on " in line and "rank 0 resumes from this checkpoint" in line


@pytest.mark.slow
def test_a_rank_with_other_examples_is_refused(tiny_task, two):
    write_csv(two[1] / "train.csv", topic_rows(seed=1), ("text", "label"))
    own = ((), (f"task.folder={two[1]}",))
    ranks = Ranks("finetune.py", "--config", tiny_task, own=own, cwd=two)
    line = ranks.refusal()
    assert "examples=" in line and "on rank 1" in line
    ranks = Ranks("finetune.py", "--config", tiny_task, own=((), ("model=naive-bayes",)), cwd=two)
    assert "model=naive-bayes on rank 1, some place on rank 0" in ranks.refusal()
    assert not [folder for folder in two if (folder / "runs/topics").exists()]


def test_a_flipped_bit_ends_the_run_before_the_next_checkpoint(tiny, tmp_path):
    script = tmp_path / "flip.py"
    script.write_text(FLIP.format(root=str(ROOT)), encoding="utf-8")
    both = (tmp_path, tmp_path)
    line = Ranks(str(script), "--config", tiny, cwd=both).refusal(code=1)
    run_dir = tmp_path / "runs/tiny"
    assert "at step 6 ranks no longer hold the same weights: encoder." in line
    assert "on rank 1" in line and "resumes from runs/tiny/checkpoints/step-00000004" in line
    assert (run_dir / "status").read_text() == "failed\n"
    saved = sorted(path.name for path in (run_dir / "checkpoints").iterdir())
    assert saved == ["step-00000002", "step-00000004"]
    agreed = json.loads((run_dir / "environment.json").read_text())["agreed"]
    groups = {"recipe", "code", "libraries", "environment", "processor", "corpus", "checkpoint"}
    assert agreed["ranks"] == 2 and set(agreed) == {"ranks", *groups}


def drift(store: str, folder: str, stages: list[int]) -> list[str]:
    """What saving says at each ZeRO stage where rank 1 has a flipped bit."""
    import torch

    from configs.errors import RunError
    from configs.schema import CheckpointConfig
    from pretrain.ranks import world as ranks
    from pretrain.run import checkpoint, checkpoint_state

    world, said = ranks.start(), []
    for stage in stages:
        overrides = [f"engine.zero_stage={stage}", "batch.micro_sequences=4"]
        engine, batches = open_engine(world, store, tiny_config(overrides))
        writer = checkpoint.Writer(Path(folder) / str(stage), CheckpointConfig())
        train_steps(engine, batches, 0, 2)
        writer.save(engine, checkpoint_state.State(2))
        if world.rank == 1:
            list(engine.model.parameters())[-1].data.view(-1).view(torch.int32)[0] ^= 1 << 20
        try:
            writer.save(engine, checkpoint_state.State(3))
        except RunError as error:
            said.append(str(error))
    ranks.stop()
    return said


@pytest.mark.slow
def test_at_every_zero_stage(tmp_path):
    store = str(write_random_store(tmp_path / "store"))
    said, others = on_ranks(drift, 2, store, str(tmp_path / "saved"), [0, 1, 2])
    assert len(said) == 3 and said == others
    for stage, line in enumerate(said):
        saved = [path.name for path in (tmp_path / "saved" / str(stage)).iterdir()]
        assert saved == ["step-00000002"]
        assert "mlm_head.norm.bias=" in line and line.endswith("step-00000002")
