"""Whether the launcher that started this rank still lives; without one it would train on unseen.

DeepSpeed's command starts a second process, which starts the ranks: SIGKILL to the first (a person,
or the system short of memory) reaches neither. A shell is no launcher: who logs out may want a run
to continue. Where there is no /proc, nothing is noticed.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

SECOND = "deepspeed.launcher.launch"
"""the module that DeepSpeed's command starts, on this machine or by a remote shell"""
ADOPTERS = ("systemd", "init")
"""who, besides process 1, becomes the parent of a process whose own has died"""
LAUNCHERS = ("deepspeed", "torchrun", SECOND, "torch.distributed.run")
"""scripts and modules"""


def find_launchers() -> list[int]:
    """Ids of the launchers above this process, the nearest first; 0: one that is gone already."""
    launchers: list[int] = []
    words: list[str] = []
    pid = os.getppid()
    while is_launcher(_words_of(pid)):
        launchers.append(pid)
        words, pid = _words_of(pid), _parent_of(pid)
    is_second = any(Path(word).name == SECOND for word in words)
    # The second process whose own parent has died has been adopted.
    if is_second and (pid == 1 or _name_of(pid) in ADOPTERS):
        launchers.append(0)
    return launchers


def is_launcher(words: list[str]) -> bool:
    """Whether a command line is that of a launcher in Python."""
    is_python = bool(words) and Path(words[0]).name.startswith("python")
    return is_python and any(Path(word).name in LAUNCHERS for word in words[1:5])


def is_any_gone(launchers: list[int]) -> bool:
    """Whether one of those that `find_launchers` found has died: its child has another parent."""
    chain = pairwise([os.getpid(), *launchers])
    return any(_parent_of(child) != parent for child, parent in chain)


def _words_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def _parent_of(pid: int) -> int:
    """The parent's id; 0 where the process is gone."""
    if pid == os.getpid():
        return os.getppid()
    try:
        content = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(content.rpartition(")")[2].split()[1])
