"""One part of the self-check, in the process of its own that `frame.py` starts for it.

    part.py MODULE:FUNCTION FOLDER SECONDS [TEXT]

Findings go to FOLDER/findings.jsonl, a line each as soon as it is there: standard output belongs to
libraries.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

if __name__ == "__main__" and not __package__:  # its own folder would hide packages of these names
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from launch.selfchecks.bench import Bench, Check
from launch.selfchecks.finding import Finding, die_after, guarded

FINDINGS, KNOWN = "findings.jsonl", "known.json"


def main() -> None:
    """Run the check that the command line names."""
    target, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    die_after(seconds + 5)
    known = json.loads((folder / KNOWN).read_text(encoding="utf-8"))
    module, _, function = target.partition(":")
    bench = Bench(folder, seconds, known, next(map(Path, sys.argv[4:]), None))
    with (folder / FINDINGS).open("a", encoding="utf-8") as file:
        for finding in guarded("the part itself", found(module, function, bench)):
            file.write(finding.as_line() + "\n")
            file.flush()


def found(module: str, function: str, bench: Bench) -> Iterator[Finding]:
    """What a check yields; importing it may fail as well."""
    check: Check = getattr(import_module(module), function)
    yield from check(bench)


if __name__ == "__main__":
    main()
