"""Who holds a lock, as its file tells people; and, where the system keeps no locks, programs."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from configs.system.safe_text import visible
from configs.system.secrets import hide

SILENT_MINUTES = 5.0
"""after which a holder on another host counts as dead, where only its heartbeat can tell"""


@dataclass(frozen=True)
class Holder:
    """The process that took a lock last; it may be gone."""

    host: str
    pid: int
    born: str
    """when the process began, in the system's own count: a later one may get the same pid"""
    since: str
    """when it took the lock"""
    command: list[str] = field(default_factory=list)
    token: str = ""
    """of this taking alone"""
    ended: str | None = None
    """when it let go; None: not yet, or it was killed"""

    @classmethod
    def here(cls) -> Holder:
        """This process, as of now."""
        pid = os.getpid()
        command = list(map(hide, sys.argv))
        return cls(socket.gethostname(), pid, born(pid), _now(), command, uuid.uuid4().hex)

    @classmethod
    def read(cls, file: Path) -> Holder | None:
        """Who stands in a lock's file; None where it is missing or says nothing."""
        try:
            holder = cls(**json.loads(file.read_bytes()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None
        sound = isinstance(holder.pid, int) and isinstance(holder.token, str)
        return holder if sound and isinstance(holder.host, str) else None

    def write(self, descriptor: int) -> None:
        """Put this into a lock's file, at once where a reader on another node looks for it."""
        content = f"{json.dumps(asdict(self), indent=1)}\n".encode()
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)

    def at_end(self) -> Holder:
        """The same, having let go."""
        return replace(self, ended=_now())

    def death(self, file: Path) -> str | None:
        """How it is known, without the system's lock, that the holder is gone; None: it is not.

        On this host its process tells, on another the time since its last `beat`.
        """
        if self.ended:
            return f"let go at {self.ended}"
        if self.host == socket.gethostname():
            return None if born(self.pid) == self.born else "that process is gone"
        silent = (time.time() - file.stat().st_mtime) / 60
        return f"silent for {silent:.0f} minutes" if silent > SILENT_MINUTES else None

    def __str__(self) -> str:
        return visible(f"process {self.pid} on {self.host}, since {self.since}")


def born(pid: int) -> str:
    """When a process began, in the system's own count; empty where there is none that lives."""
    if Path("/proc/self/stat").exists():
        state, *values = proc_stat(pid) or ["X"]
        return "" if state in "ZX" else values[18]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"


def proc_stat(pid: int) -> list[str]:
    """What Linux tells of a process, from its state on (proc_pid_stat(5), field 3); empty: gone."""
    try:
        # The name before, in brackets, may hold spaces and brackets of its own.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
