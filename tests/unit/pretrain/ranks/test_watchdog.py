"""What hangs ends, with a dump of where it stood."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

from pretrain.ranks.watchdog import Watchdog
from tests.conftest import ROOT


def test_silence_ends_the_process_and_tells_where_it_stood(tmp_path):
    script = """
        import time
        from pathlib import Path
        from configs.system.run_folder import RunFolder
        from pretrain.ranks.watchdog import Watchdog

        def wait_for_a_rank_that_is_gone():
            time.sleep(60)

        run_dir = Path({folder!r})
        RunFolder(run_dir).write_status("running")
        Watchdog(minutes=0.01, run_dir=run_dir, rank=1).beat("step 7")
        wait_for_a_rank_that_is_gone()
    """
    code = textwrap.dedent(script).format(folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 1
    assert "error: step 7 has not ended within safety.hang_minutes=0.01" in done.stderr
    assert "Traceback" not in done.stderr
    dump = (tmp_path / "dumps/hang-rank-1.txt").read_text()
    assert "step 7: no end" in dump and "wait_for_a_rank_that_is_gone" in dump
    assert (tmp_path / "status").read_text() == "failed\n"


def test_who_beats_or_is_done_lives(tmp_path):
    with Watchdog(minutes=0.02, run_dir=tmp_path, rank=0) as watchdog:
        for step in range(10):
            watchdog.beat(f"step {step}")
            time.sleep(0.2)
    time.sleep(1.5)
    assert not (tmp_path / "dumps").exists()
