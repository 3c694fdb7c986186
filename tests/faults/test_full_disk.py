"""Commands on a disk that fills: a few levels of room; `full_disk.py` has them all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.small_disk import small_disk


@pytest.mark.slow
@pytest.mark.distributed
def test_every_command_ends_in_one_line_at_every_level_of_room(tmp_path):
    with small_disk(tmp_path / "disk", 1):
        pass  # where nobody may mount one, this skips the test
    words = [sys.executable, str(ROOT / "tests/faults/full_disk.py"), "--levels", "8"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
