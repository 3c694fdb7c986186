"""`engine.compile: auto` compiles where that was tried and worked, on all ranks or on none."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch

from configs.errors import InputError
from configs.schema import EngineConfig, PretrainConfig
from configs.system.run_folder import RunFolder
from pretrain.engine import compiling
from pretrain.engine.compiling import choose_compiling, failure
from pretrain.engine.trainer import Trainer
from pretrain.ranks.world import World
from tests.unit.pretrain.model.examples import tiny

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Ranks(World):
    """Two of them, the other of which finds what it is told to."""

    found: str | None = None

    def gather(self, own):
        return [own, self.found]

    def from_main(self, own):
        return own


@pytest.fixture
def ranks(monkeypatch) -> Ranks:
    """On GPUs where a trial works."""
    monkeypatch.setattr(compiling, "failure", lambda device: None)
    return Ranks(0, 2, CUDA)


@pytest.mark.parametrize("asked", ["auto", True])
def test_what_works_is_compiled(ranks, asked):
    found = choose_compiling(asked, tiny(), "bf16", ranks)
    assert found.facts == {
        "compile": True,
        "compile_reason": f"engine.compile={str(asked).lower()}, and a trial worked",
    }


def test_one_rank_that_cannot_compile_keeps_all_from_it(ranks, caplog):
    ranks.found = "torch's compiler fails: RuntimeError: Failed to find C compiler."
    with caplog.at_level("INFO"):
        assert choose_compiling("auto", tiny(), "bf16", ranks).facts == {
            "compile": False,
            "compile_reason": ranks.found,
        }
    assert caplog.messages == [f"engine.compile=auto: layers are not compiled: {ranks.found}"]
    with pytest.raises(InputError, match=r"engine.compile=true: .* C compiler.: set engine.comp"):
        choose_compiling(True, tiny(), "bf16", ranks)


@pytest.mark.parametrize(
    ("changed", "precision", "backend"),
    [
        ({}, "fp32", "sdpa"),
        ({"position": "alibi"}, "bf16", "sdpa"),
        ({"attention": "eager"}, "bf16", "eager"),
    ],
)
def test_attention_other_than_flash_is_not_compiled(ranks, changed, precision, backend):
    why = f"attention={backend} cannot be compiled, only flash"
    assert choose_compiling("auto", tiny(**changed), precision, ranks).reason.startswith(why)
    with pytest.raises(InputError, match=f"engine.compile=true: {why}"):
        choose_compiling(True, tiny(**changed), precision, ranks)


def test_a_cpu_is_told_only_if_it_asks(caplog):
    world = World(0, 1, CPU)
    with caplog.at_level("INFO"):
        assert not choose_compiling("auto", tiny(), "bf16", world).is_on
    assert not caplog.messages
    with pytest.raises(InputError, match="attention=eager cannot be compiled"):
        choose_compiling(True, tiny(), "bf16", world)


@pytest.mark.parametrize(
    ("asked", "before", "is_on"),
    [("auto", False, False), ("auto", True, True), (True, False, True), (False, True, False)],
)
def test_a_resumed_run_goes_on_as_it_began_unless_told(ranks, asked, before, is_on):
    assert choose_compiling(asked, tiny(), "bf16", ranks, before).is_on is is_on


@pytest.mark.parametrize(("left", "is_on"), [({}, True), ({"compile": False}, False)])
def test_a_resume_reads_how_the_run_began(ranks, tmp_path, left, is_on):
    RunFolder(tmp_path).write_environment(left)
    config = PretrainConfig(engine=EngineConfig(compile="auto"))
    own = {"config": config, "world": ranks, "run_dir": tmp_path}
    trainer = SimpleNamespace(**own, precision=SimpleNamespace(name="bf16"))
    assert Trainer._choose_compiling(trainer, tmp_path).is_on is is_on
    assert Trainer._choose_compiling(trainer, None).is_on, "another run"


def test_a_compiler_that_fails_is_named(monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("backend='inductor' raised:\n\nRuntimeError: Cannot find Triton\n\nSet")

    monkeypatch.setattr(torch, "compile", broken)
    assert failure(CPU) == "torch's compiler fails: RuntimeError: Cannot find Triton"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs one of C++ here")
def test_a_compiler_that_works_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    assert failure(CPU) is None


def test_the_default_compiles_nothing():
    """Nobody has measured it on a GPU yet."""
    assert EngineConfig().compile is False
