"""Parts that go wrong stop nothing, and everything found is on the disk."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from configs.errors import InputError
from launch import selfcheck
from launch.selfchecks import frame
from launch.selfchecks.frame import Part, SelfCheck
from launch.selfchecks.parts import PARTS, choose


def part(name: str) -> Part:
    return Part(name, "", f"tests.unit.launch.selfchecks.bad_parts:{name}", 1.0)


def found(folder, *names: str, seconds: float = 60.0) -> dict[str, list[tuple[str, str, str]]]:
    check = SelfCheck(folder, [part(name) for name in names], seconds)
    return {o.name: [(f.check, f.state, f.text) for f in o.findings] for o in check.run()}


def test_what_works_is_told_and_known_to_later_parts(tmp_path):
    assert found(tmp_path, "good", "reads") == {
        "good": [
            ("one", "ok", "1 of something"),
            ("two", "skipped", "there is no such thing here"),
        ],
        "reads": [("known", "ok", "1")],
    }


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "ArithmeticError: no such number"),
        ("dies", "exit code 3: last words"),
        ("killed", "was ended by signal 9"),
    ],
)
def test_a_part_that_goes_wrong_keeps_what_it_found_and_stops_nothing(name, said, tmp_path):
    outcomes = found(tmp_path, name, "good")
    (_, before, _), (_, state, text) = outcomes[name]
    assert (before, state) == ("ok", "FAILED") and text.startswith(said)
    assert len(outcomes["good"]) == 2


def test_a_part_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(frame, "LEAST_SECONDS", 0.1)
    check = SelfCheck(tmp_path, [part("hangs")], seconds=2.0)
    (outcome,) = check.run()
    child, end = outcome.findings
    assert end.state == "FAILED" and end.text.startswith("was not done after 2 s and was ended")
    assert not is_alive(child.values["pid"]) and outcome.seconds < 10


def is_alive(pid: int) -> bool:
    for _ in range(20):  # init has to notice
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return False
        time.sleep(0.1)
    return True


def test_garbage_is_no_finding_and_hides_none(tmp_path):
    lines = found(tmp_path, "babbles")["babbles"]
    assert [state for _, state, _ in lines] == ["FAILED"] * 3 + ["ok"]
    assert lines[-1] == ("after", "ok", "fine")


def test_a_part_without_findings_has_failed(tmp_path):
    ((_, state, text),) = found(tmp_path, "nothing")["nothing"]
    assert state == "FAILED" and text.startswith("found nothing")


def test_the_results_are_whole_after_each_part(tmp_path):
    check, seen = SelfCheck(tmp_path, [part("good"), part("fails")], 60.0), []
    for _ in check.run():
        content = json.loads((tmp_path / "selfcheck.json").read_text())
        seen.append(([p["name"] for p in content["parts"]], content["failed"]))
    assert seen == [(["good"], []), (["good", "fails"], ["fails: second"])]
    assert content["asked"] == ["good", "fails"]


def test_an_interrupt_keeps_what_was_measured(tmp_path, monkeypatch):
    run_process = frame.run_process

    def interrupted(target, *words):
        run_process(target, *words)
        if target.endswith("fails"):
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(frame, "run_process", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found(tmp_path, "good", "fails", "reads")
    parts = json.loads((tmp_path / "selfcheck.json").read_text())["parts"]
    states = [[f["state"] for f in p["findings"]] for p in parts]
    assert states == [["ok", "skipped"], ["ok", "FAILED", "FAILED"]]


def test_a_text_of_the_users_reaches_the_parts(tmp_path):
    check = SelfCheck(tmp_path, [part("reads_text")], 60.0, Path("/some text"))
    (outcome,) = check.run()
    assert [finding.text for finding in outcome.findings] == ["/some text"]


def test_time_that_is_up_is_said(tmp_path):
    assert found(tmp_path, "good", seconds=1.0)["good"] == [
        ("all", "skipped", "no time is left: give more --minutes")
    ]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "thesis").touch()
    with pytest.raises(InputError, match="is no folder of a self-check: name another --output"):
        found(tmp_path, "good")
    assert (tmp_path / "good" / "thesis").exists()


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("fails", 1)])
def test_the_exit_code_tells_whether_something_failed(name, code, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(selfcheck, "choose", lambda names: [part(name)])
    monkeypatch.setattr(sys, "argv", ["selfcheck.py", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        selfcheck.main()
    assert end.value.code == code
    out = capsys.readouterr().out
    assert ("1 FAILED, 1 passed, 0 skipped: fails: second" in out) == bool(code)


def test_parts_are_chosen_by_name_in_their_own_order():
    assert [part.name for part in choose(["loss", "machine"])] == ["machine", "loss"]
    assert choose([]) == list(PARTS)
    with pytest.raises(InputError, match="--only lost: no part is called so: machine, "):
        choose(["lost"])
