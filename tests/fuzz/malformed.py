"""Feed malformed input to the launch scripts: `python tests/fuzz/malformed.py --count 200`.

Each case must end in one line on standard error that begins with `error:`, with exit code 2, and
leave nothing behind; odd input that is legal may end in the right value as well. The heavy imports
are paid once: every case runs in a fork.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.fuzz.case import Case, Outcome
from tests.fuzz.kinds import KINDS
from tests.fuzz.materials import Materials, find_materials

SCRIPTS = ("pretrain", "prepare", "finetune", "export", "predict")


def main() -> None:
    """Make the cases, run them, count; exit code 1 if one ended in another way."""
    parser = argparse.ArgumentParser(prog="malformed.py", description=__doc__)
    parser.add_argument("--count", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(KINDS), help="cases of this kind")
    parser.add_argument(
        "--materials", type=Path, metavar="FOLDER", help="keep, and find, what is damaged here"
    )
    parser.add_argument("--verbose", action="store_true", help="show every line of error")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        materials = find_materials(arguments.materials or place / "materials")
        load_scripts()
        counts: Counter[str] = Counter()
        faults = 0
        for number, kind in enumerate(kinds(arguments.count, arguments.seed, arguments.only)):
            case_folder = place / f"{number:04d}"
            case_folder.mkdir()
            rng = random.Random(f"{arguments.seed} {number}")
            case = KINDS[kind][0](rng, case_folder, materials)
            outcome = run_case(case, case_folder, materials)
            counts[kind] += 1
            fault = case.fault(outcome)
            faults += fault is not None
            tell(number, kind, case, outcome, fault, arguments.verbose)
    print(", ".join(f"{kind} {count}" for kind, count in counts.items()))
    print(f"{sum(counts.values())} cases, {faults} faults")
    raise SystemExit(1 if faults else 0)


def kinds(count: int, seed: int, only: str | None) -> Iterator[str]:
    """The kind of each case: every kind is there before any comes twice, then by its share."""
    row = [kind for kind, (_, share) in KINDS.items() for _ in range(share)]
    rest = random.Random(seed).choices(row, k=count)
    return iter([only] * count if only else [*KINDS, *rest][:count])


def load_scripts() -> None:
    """Import all that the scripts import, before anything starts a thread."""
    for name in (*(f"launch.{script}" for script in SCRIPTS), "pretrain.data.corpus_report"):
        importlib.import_module(name)
    for name in (
        "pretrain.engine.train",
        "finetune.training.run_trials",
        "finetune.model.prediction",
        "finetune.model.task_export",
    ):
        importlib.import_module(name)
    importlib.import_module("finetune.baselines.rivals")
    importlib.import_module("torch").set_num_threads(1)  # see `workers`
    os.waitpid(os.fork() or os._exit(0), 0)  # OpenBLAS ends its threads as it forks


def run_case(case: Case, folder: Path, materials: Materials, timeout: float = 120) -> Outcome:
    """Run a case's command in a fork, in `folder`."""
    places = (folder, materials.config.parent)
    assert not workers(), f"a fork of a process with threads may hang: {workers()}"
    before, started = snapshot(*places), time.monotonic()
    printed, errors = folder.with_suffix(".stdout"), folder.with_suffix(".stderr")
    child = os.fork()
    if child == 0:
        _in_child(case, folder, printed, errors)
    code = _wait(child, timeout)
    seconds = time.monotonic() - started
    after = snapshot(*places)
    left = [path for path in sorted(before | after) if before.get(path) != after.get(path)]
    said = (path.read_text("utf-8", errors="replace") for path in (printed, errors))
    return Outcome(code, *said, seconds, left)


def workers() -> list[str]:
    """Threads beside the first, by their names; the allocator's own (jemalloc's) mends itself.

    A fork after one parallel loop of PyTorch waits for ever for OpenMP's threads, which it lacks.
    """
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    return sorted(name for name in names if not name.startswith("jemalloc"))[1:]


def snapshot(*folders: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file but locks, and what is known of verified stores.

    A store may be verified in the background before a start is refused: that stays true.
    """
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            is_lock = (path.suffix or path.name) in (".lock", "lock")
            if path.is_file() and not is_lock and path.parent.name != "verified":
                status = path.stat()
                found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def _in_child(case: Case, folder: Path, printed: Path, errors: Path) -> None:
    """Become the launch script; never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        for stream, path in ((1, printed), (2, errors)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
        script, *words = case.words
        sys.argv = [script, *words]
        from launch.command import run

        run(importlib.import_module(f"launch.{script.removesuffix('.py')}").main)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, timeout: float) -> int:
    """The exit code of a child, which is killed where it takes too long."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def tell(
    number: int, kind: str, case: Case, outcome: Outcome, fault: str | None, verbose: bool
) -> None:
    """A line for a person; the whole of standard error for a fault."""
    if fault:
        words = " ".join(word[:200] for word in case.words)
        print(f"FAULT {number} {kind}: {case.what}: {fault}\n  {words}\n{outcome.errors[-3000:]}")
    elif verbose:
        line = outcome.errors.strip().splitlines()[-1:] or [f"exit code {outcome.code}"]
        print(f"{number} {kind}: {case.what} ({outcome.seconds:.1f} s)\n  {line[0]}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
