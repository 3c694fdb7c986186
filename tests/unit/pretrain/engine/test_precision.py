"""`engine.precision: auto` follows what the machine multiplies faster, and remembers it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from configs.errors import InputError
from pretrain.engine import machine, precision
from pretrain.engine.machine import Remembered
from pretrain.engine.precision import choose_precision, race
from pretrain.model import flops
from pretrain.ranks.world import World

HERE, ON_GPU = (World(0, 1, torch.device(kind)) for kind in ("cpu", "cuda"))


class Track:
    """A clock, and turns that take an eighth of a second and reach the given speeds."""

    def __init__(self, fp32: list[float], bf16: list[float]) -> None:
        self.speeds = {"fp32": fp32, "bf16": bf16}
        self.turns = {"fp32": 0, "bf16": 0}
        self.now = 100.0

    def speed(self, name: str) -> float:
        self.now += 0.125
        own = self.speeds[name]
        self.turns[name] += 1
        return own[(self.turns[name] - 1) % len(own)]

    def race(self) -> float:
        return race(self.speed, lambda: self.now)


def test_a_clear_race_is_short():
    track = Track([1.0], [4.0])
    assert track.race() == 4.0 and track.turns == {"fp32": 5, "bf16": 5}
    assert Track([1.0], [0.5]).race() == 0.5


def test_a_race_in_doubt_goes_on_and_ends_after_two_seconds():
    track = Track([1.0], [1.55])
    assert track.race() == 1.55
    assert track.turns == {"fp32": 8, "bf16": 8} and track.now == 102.0


@pytest.mark.parametrize("shift", range(7))
@pytest.mark.parametrize(("bf16", "ratio"), [(1.0, 1.0), (2.4, 2.4), (0.4, 0.4), (4.0, 4.0)])
def test_other_work_on_the_machine_decides_nothing(shift, bf16, ratio):
    """Two of three turns are 2 to 5 times slower, of each in other rounds."""
    slow = [5.0, 1.0, 3.0, 2.0, 1.0, 4.0, 2.5]
    fp32 = [1 / slow[(n + shift) % 7] for n in range(7)]
    fast = [bf16 / slow[(3 * n + 2 * shift) % 7] for n in range(7)]
    found = Track(fp32, fast).race()
    assert (found > 1.5) == (ratio > 1.5)


@pytest.fixture
def fake(monkeypatch) -> Callable:
    """Sets how many times as fast bf16 is; returns a list that grows with each race."""
    races: list[float] = []

    def build(ratio: float, can_bf16: bool = True) -> list[float]:
        def run(speed: Callable[[str], float]) -> float:
            races.append(ratio)
            return ratio

        monkeypatch.setattr(precision, "race", run)
        monkeypatch.setattr(precision, "can_multiply_bf16", lambda device: can_bf16)
        return races

    return build


@pytest.mark.parametrize("ratio, chosen", [(4.0, "bf16"), (1.2, "fp32"), (0.5, "fp32")])
def test_bf16_must_be_clearly_faster(fake, tmp_path, ratio, chosen):
    fake(ratio)
    found = choose_precision("auto", HERE, tmp_path)
    assert found.name == chosen and f"{ratio:.2f} times" in found.reason
    assert found.source.startswith("measured now")


def test_a_choice_is_remembered(fake, tmp_path):
    """Twelve starts of one command: one race, one precision, whatever a later race would say."""
    races = fake(4.0)
    choose_precision("auto", HERE, tmp_path)
    fake(0.5)
    found = [choose_precision("auto", HERE, tmp_path) for _ in range(11)]
    assert {choice.name for choice in found} == {"bf16"} and races == [4.0]
    assert "4.00 times" in found[0].reason
    assert found[0].source.startswith(f"remembered in {tmp_path}/machines/")
    assert set(found[0].facts) == {"precision", "precision_reason", "precision_source"}


def test_another_machine_build_or_number_of_threads_chooses_anew(fake, tmp_path, monkeypatch):
    races = fake(4.0)
    choose_precision("auto", HERE, tmp_path)
    own = machine.identity(HERE.device)
    others = [
        {"torch": "9.9.9"},
        {"threads": own["threads"] + 1},
        {"processor": "another"},
        {"flags": "0" * 16},
        {"cores": own["cores"] + 1},
    ]
    for change in others:
        monkeypatch.setattr(machine, "identity", lambda device, change=change: {**own, **change})
        choose_precision("auto", HERE, tmp_path)
    assert len(races) == 1 + len(others)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"machine": {}, "precision": "fp32", "ratio": 1, "measured": "", "peaks": {}}',
        {"precision": "fp16"},
        {"precision": ["fp32"]},
        {"ratio": "4"},
        {"ratio": float("nan")},
        {"ratio": -1},
        {"measured": None},
        {"peaks": {"bf16": "fast"}},
        {"peaks": {"bf16": 1e30}},
        {"peaks": []},
        {"precision": "fp32", "further": 1},
    ],
)
def test_a_damaged_or_foreign_file_is_made_anew_in_words(fake, tmp_path, console, content):
    races = fake(4.0)
    choose_precision("auto", HERE, tmp_path)
    path = Remembered(HERE.device, tmp_path).path
    good = path.read_bytes()
    if isinstance(content, dict):
        content = json.dumps({**json.loads(good), **content}).encode()
    path.write_bytes(content)
    assert choose_precision("auto", HERE, tmp_path).name == "bf16"
    said = console.readouterr().err
    assert f"note: {path} is damaged or of another machine: measuring anew" in said
    assert len(races) == 2
    assert choose_precision("auto", HERE, tmp_path).source.startswith("remembered")


def test_a_folder_that_cannot_be_written_is_told(fake, tmp_path, console):
    fake(4.0)
    (tmp_path / "file").write_text("")
    assert choose_precision("auto", HERE, tmp_path / "file").name == "bf16"
    assert "is not kept" in console.readouterr().err


def test_a_processor_without_bf16_is_not_asked(fake, tmp_path):
    races = fake(9.0, can_bf16=False)
    found = choose_precision("auto", HERE, tmp_path)
    assert found.name == "fp32" and "no instructions" in found.reason and not races


def test_what_was_chosen_stays(fake, tmp_path):
    races = fake(0.01)
    assert choose_precision("bf16", HERE, tmp_path).name == "bf16"
    assert choose_precision("auto", HERE, tmp_path, before="bf16").name == "bf16"
    kept = choose_precision("bf16", HERE, tmp_path, before="fp32")
    assert kept.name == "fp32" and "engine.precision=bf16" in kept.reason
    assert not races


@pytest.mark.parametrize("before", [None, "tf32"])
def test_tf32_needs_tensor_cores_that_have_it(monkeypatch, before):
    asked = "auto" if before else "tf32"
    with pytest.raises(InputError, match="tf32 needs an NVIDIA GPU"):
        choose_precision(asked, HERE, before=before)
    for capability in ((7, 5), (9, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        if capability < (8, 0):
            with pytest.raises(InputError):
                choose_precision(asked, ON_GPU, before=before)
        else:
            assert choose_precision(asked, ON_GPU, before=before).name == "tf32"
    assert choose_precision("tf32", HERE, before="fp32").name == "fp32", "what it began with"


def test_exact_products_on_a_gpu_are_said_to_be_slow():
    assert "tensor cores" in choose_precision("fp32", ON_GPU).reason
    assert "tensor cores" not in choose_precision("fp32", HERE).reason


def test_the_peak_of_tf32_is_measured_in_tf32(monkeypatch):
    during = []

    def seconds(*_: object, **__: object) -> float:
        during.append(torch.get_float32_matmul_precision())
        return 1.0

    monkeypatch.setattr(flops, "seconds_per_product", seconds)
    for name, mode in (("tf32", "high"), ("fp32", "highest")):
        flops.matmul_peak(HERE.device, name, seconds=1e-3)
        assert set(during) == {mode} and torch.get_float32_matmul_precision() == "highest"
        during.clear()
