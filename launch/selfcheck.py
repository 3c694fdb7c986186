"""Does it work here, and how fast: `python launch/selfcheck.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from launch.as_script import begin

    begin()

from configs.checks import require
from launch.command import run
from launch.selfchecks.frame import RESULTS, SelfCheck
from launch.selfchecks.parts import PARTS, choose
from launch.selfchecks.verdict import head, summary, table

PURPOSE = (
    "Check on this machine whether everything computes what it should, and how fast: a table, and "
    "the same as JSON. Exit code 0: all that ran has passed; 1: something failed."
)


def main() -> None:
    """Run the parts that the command line names, and tell what they found."""
    arguments = parse()
    if arguments.list:
        print("\n".join(f"{part.name:<10}  {part.purpose}" for part in PARTS))
        return
    minutes, folder = arguments.minutes, arguments.output.absolute()
    require(0 < minutes < float("inf"), f"--minutes {minutes:g} must be above 0")
    parts, text = choose(arguments.only), arguments.text
    require(not text or text.is_file(), f"--text {text}: no such file")
    folder.mkdir(parents=True, exist_ok=True)
    check = SelfCheck(folder, parts, 60 * minutes, text and text.absolute())
    print(head(), flush=True)
    for outcome in check.run():
        print(table(outcome), flush=True)
    findings = [finding for outcome in check.outcomes for finding in outcome.findings]
    print(f"\n{summary(check.known, check.failed, findings)}\neverything: {folder / RESULTS}")
    sys.stdout.flush()
    sys.exit(1 if check.failed else 0)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="selfcheck.py", description=PURPOSE)
    add = parser.add_argument
    add("--minutes", type=float, default=8, help="that it takes at most; default: 8")
    text = "where results go; default: runs/selfcheck"
    add("--output", type=Path, default=Path("runs/selfcheck"), metavar="FOLDER", help=text)
    add("--only", nargs="+", default=(), metavar="PART", help="parts; default: all")
    text = "to learn from: UTF-8, a blank line between documents; default: Python's help topics"
    add("--text", type=Path, metavar="FILE", help=text)
    add("--list", action="store_true", help="name the parts and stop")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
