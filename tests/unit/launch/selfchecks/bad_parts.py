"""Parts that go wrong, each in its own way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from launch.selfchecks.finding import judged, skipped, told
from launch.selfchecks.part import FINDINGS


def good(bench):
    yield told("one", "1 of something", number=1)
    yield skipped("two", "there is no such thing here")


def reads(bench):
    yield told("known", f"{bench.number('good/one', 'number'):g}")


def reads_text(bench):
    yield told("text", str(bench.text))


def fails(bench):
    yield told("first", "fine")
    yield judged("second", False, "off by 1")


def hangs(bench):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield told("child", str(child.pid), pid=child.pid)
    time.sleep(60)


def raises(bench):
    yield told("before", "fine")
    raise ArithmeticError("no such number\nand more")


def dies(bench):
    yield told("before", "fine")
    print("last words", flush=True)
    os._exit(3)


def killed(bench):
    yield told("before", "fine")
    os.kill(os.getpid(), signal.SIGKILL)


def babbles(bench):
    print('{"check": "printed", "state": "ok", "text": ""}\n\x00garbage', flush=True)
    with (bench.folder / FINDINGS).open("ab") as file:
        file.write(b'\xff\x00 nonsense\n[1]\n{"check": "x", "state": "good", "text": ""}\n')
    yield told("after", "fine")


def nothing(bench):
    yield from ()
