"""The last lines: what `auto` should choose on this machine, and what to tell doctor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launch.selfchecks.advice import advice
from launch.selfchecks.finding import SKIPPED, Finding
from launch.selfchecks.frame import Outcome

WIDTHS = (10, 36, 8)


def head() -> str:
    """Above the table."""
    return row("part", "check", "", "figures")


def table(outcome: Outcome) -> str:
    """The lines of a part."""
    return "\n".join(row(outcome.name, f.check, f.state, f.text) for f in outcome.findings)


def row(part: str, check: str, state: str, text: str) -> str:
    """One line."""
    columns = (part, check, state)
    padded = "  ".join(f"{word:<{width}}" for word, width in zip(columns, WIDTHS))
    return f"{padded}  {text}".rstrip()


def summary(known: Mapping[str, Any], failed: list[str], findings: Sequence[Finding]) -> str:
    """The last lines."""
    left_out = sum(finding.state == SKIPPED for finding in findings)
    rest = f"{len(findings) - len(failed) - left_out} passed, {left_out} skipped"
    found = advice(known)
    lines = []
    if "model.attention" in found:
        chosen = found["model.attention=auto chooses"]
        agrees = "as" if chosen == found["model.attention"] else f"not {chosen}, as"
        lines.append(
            f"fastest here: model.attention={found['model.attention']} ({agrees} auto chooses), "
            f"engine.compile={str(found['engine.compile']).lower()}, "
            f"batch.micro_sequences={found['batch.micro_sequences']} of {found['length']} tokens"
        )
    if "engine.precision" in found:
        lines.append(f"engine.precision=auto is {found['engine.precision']} here")
    for name in (name for name in found if name.startswith("doctor")):
        of = "the data sheet's" if "--gpu" in name else "the measured"
        lines.append(f"for doctor.py: {name.removeprefix('doctor ')} {found[name]:g}, of {of} peak")
    if failed:
        lines.append(f"{len(failed)} FAILED, {rest}: {'; '.join(failed)}")
    else:
        lines.append(f"nothing failed: {rest}")
    return "\n".join(lines)
