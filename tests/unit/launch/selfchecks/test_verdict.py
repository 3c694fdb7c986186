"""The last lines follow from the figures."""

from __future__ import annotations

from launch.selfchecks.finding import FAILED, Finding, skipped, told
from launch.selfchecks.verdict import summary


def step(backend: str, mfu: float, **more: object) -> dict[str, object]:
    common = {"auto": "flash", "micro_sequences": 32, "length": 512}
    return {"backend": backend, "mfu": mfu, **common, **more}


KNOWN = {
    "machine/precision": {"precision": "bf16"},
    "steps/a": step("flash", 0.41, data_sheet=["h100", 0.3]),
    "steps/b": step("sdpa", 0.2),
    "steps/c": {},
}


def test_the_fastest_is_advised():
    lines = summary(KNOWN, [], [told("", ""), skipped("", "")]).splitlines()
    assert lines == [
        "fastest here: model.attention=flash (as auto chooses), engine.compile=false, "
        "batch.micro_sequences=32 of 512 tokens",
        "engine.precision=auto is bf16 here",
        "for doctor.py: --mfu 0.41, of the measured peak",
        "for doctor.py: --gpu h100 --mfu 0.3, of the data sheet's peak",
        "nothing failed: 1 passed, 1 skipped",
    ]


def test_a_choice_of_auto_that_is_slower_is_told():
    known = {"steps/a": step("sdpa", 0.5), "steps/b": step("flash", 0.4)}
    assert "model.attention=sdpa (not flash, as auto chooses)" in summary(known, [], [])


def test_failures_are_named_last():
    findings = [Finding("x", FAILED, ""), Finding("y", FAILED, ""), told("z", "")]
    said = "2 FAILED, 1 passed, 0 skipped: loss: x; steps: y"
    assert summary({}, ["loss: x", "steps: y"], findings) == said
