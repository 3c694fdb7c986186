"""The last lines follow from the figures."""

from __future__ import annotations

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
    lines = summary(KNOWN, [], 7).splitlines()
    assert lines == [
        "fastest here: model.attention=flash (as auto chooses), batch.micro_sequences=32 of "
        "512 tokens",
        "engine.precision=auto is bf16 here",
        "for doctor.py: --mfu 0.41, of the measured peak",
        "for doctor.py: --gpu h100 --mfu 0.3, of the data sheet's peak",
        "nothing failed, of 7 checks",
    ]


def test_a_choice_of_auto_that_is_slower_is_told():
    known = {"steps/a": step("sdpa", 0.5), "steps/b": step("flash", 0.4)}
    assert "model.attention=sdpa (not flash, as auto chooses)" in summary(known, [], 1)


def test_failures_are_named_last():
    assert summary({}, ["loss: x", "steps: y"], 5) == "FAILED, 2 of 5: loss: x; steps: y"
