"""Who is asked to leave says so, and lives."""

from __future__ import annotations

import os
import signal
import time

import pytest

from pretrain.ranks.leaving import Leaving
from pretrain.ranks.preemption import SIGNALS, PreemptionNotice


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_the_handler_given_back(number, capfd):
    before = signal.getsignal(number)
    with PreemptionNotice().listening() as notice:
        assert not notice.is_given()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert notice.is_given() and notice.reason == signal.Signals(number).name
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err.count("leaving after this step") == 1


def test_the_first_reason_stays():
    with PreemptionNotice().listening() as notice:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)
    assert notice.reason == "SIGUSR2"


def test_time_is_over_after_its_minutes(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    notice = PreemptionNotice(minutes=2)
    clock[0] = 219.9
    assert not notice.is_given()
    clock[0] = 220.0
    assert notice.is_given() and notice.reason == "safety.stop_after_minutes=2 are over"


def test_without_a_limit_time_is_never_over(monkeypatch):
    notice = PreemptionNotice()
    monkeypatch.setattr("time.monotonic", lambda: 1e12)
    assert not notice.is_given()


def test_only_a_preparation_that_outlives_its_time_is_asked_to_leave(monkeypatch):
    asked = []
    monkeypatch.setattr("pretrain.ranks.preemption.LEAVING.ask", asked.append)
    with PreemptionNotice().preparing(), PreemptionNotice(minutes=1).preparing():
        pass
    with PreemptionNotice(minutes=0.0005).preparing():
        time.sleep(0.5)
    assert asked == ["safety.stop_after_minutes=0.0005 are over"]


def test_without_a_launch_script_nothing_is_sent_to_the_process():
    Leaving().ask("a reason")  # SIGTERM would end the tests
