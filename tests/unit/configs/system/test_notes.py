"""What may fail does so in one line."""

from __future__ import annotations

import logging

import pytest

from configs.system.notes import LONGEST, optional, warn_once


def test_a_report_that_fails_is_told_in_one_line(console):
    with optional("plots/curves.png"):
        raise ValueError("first line\n\x1b[31msecond")
    assert console.readouterr().err == (
        "note: plots/curves.png could not be made (first line \\x1b[31msecond); everything else "
        "continues\n"
    )
    with optional("report.md"):
        raise ValueError("endless" * 1000)
    with optional("page.html"):
        raise ValueError
    long, nameless = console.readouterr().err.splitlines()
    assert len(long) < LONGEST + 100
    assert "(ValueError)" in nameless


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_leave_is_no_failure_of_a_report(end):
    with pytest.raises(end), optional("report.md"):
        raise end


def test_once_is_once(console):
    for _ in range(3):
        warn_once("it stays")
    for _ in range(2):
        logging.getLogger("configs").warning("again")
    assert console.readouterr().err == "note: it stays\nnote: again\nnote: again\n"
