"""What a person watches and a program reads: console, metrics.jsonl, TensorBoard."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from itertools import count
from pathlib import Path

from configs.system.files import append_text, make_folder
from configs.system.notes import optional
from configs.system.run_folder import RunFolder
from configs.system.run_lock import require_ours
from configs.system.safe_text import visible
from configs.system.secrets import hide

logger = logging.getLogger(__name__)

_number = count()
FLUSH_SECONDS = 10
"""between two moments at which TensorBoard sees what is new"""


class Events:
    """One file of TensorBoard's events in `folder`, which is made; raises `OSError` as any file.

    The library's writer has a thread of its own, which a full disk ends with a traceback; what it
    had taken is lost, and a later call raises.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """Events of `purge_step` and later, in files before this one, are to be forgotten."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        make_folder(folder)
        place = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._records = RecordWriter((folder / f"events.out.tfevents.{place}").open("wb"))
        self.write(file_version="brain.Event:2", step=purge_step)
        if purge_step is not None:
            self.write(session_log=SessionLog(status=SessionLog.START), step=purge_step)

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None:
        """A point of the curve called `tag`."""
        from torch.utils.tensorboard.summary import scalar

        self.write(summary=scalar(visible(tag), value), step=step)

    def flush(self) -> None:
        """Let readers see what there is."""
        self._records.flush()

    def close(self) -> None:
        """End the file."""
        self._records.close()

    def write(self, **content: object) -> None:
        """An event with these fields of its protocol buffer, as of now."""
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())


class RunLog:
    """The log of one run, kept by rank 0; on other ranks every call does nothing."""

    def __init__(
        self, run_dir: Path, is_main: bool, resumed_step: int = 0, tensorboard: Path | None = None
    ) -> None:
        """`tensorboard` is where its events go; None: into `run_dir`."""
        folder = RunFolder(run_dir)
        self.path = folder.metrics
        self.is_main = is_main
        self._events: Events | None = None
        self._flushed = -math.inf
        if is_main:
            make_folder(run_dir)
            folder.drop_metrics_after(resumed_step)
            with optional("TensorBoard's file"):
                purged = resumed_step + 1 if resumed_step else 0  # 0: all that a kill left
                self._events = Events(tensorboard or folder.tensorboard, purged)

    def record(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One line of metrics.jsonl, and a scalar `kind/name` for each value; raises `DiskError`:
        the line cannot be written; none of it is. TensorBoard's file is given up."""
        if not self.is_main:
            return
        require_ours(self.path)
        line = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        append_text(self.path, json.dumps(line) + "\n")
        events, self._events = self._events, None
        if events:
            with optional("TensorBoard's further events"):
                for name, value in values.items():
                    events.add_scalar(f"{kind}/{name}", value, step)
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self._flushed = time.monotonic()
                    events.flush()
                self._events = events

    def flush(self) -> None:
        """Let what was recorded outlive this process, before a checkpoint says that it is done."""
        if self._events:
            with optional("TensorBoard's latest events"):
                self._events.flush()

    def close(self) -> None:
        """End TensorBoard's file; metrics.jsonl is closed after each line."""
        events, self._events = self._events, None
        if events:
            with optional("TensorBoard's last events"):
                events.close()


def write_hparams(folder: Path, settings: dict[str, object], metrics: dict[str, float]) -> None:
    """One entry of TensorBoard's HParams page, in a new folder of its own."""
    from torch.utils.tensorboard.summary import hparams

    plain = {
        k: v if isinstance(v, (bool, int, float)) else visible(hide(str(v)))
        for k, v in settings.items()
    }
    events = Events(folder)
    for summary in hparams(plain, metrics):
        events.write(summary=summary)
    for name, value in metrics.items():
        events.add_scalar(name, value)
    events.close()


def duration(seconds: float) -> str:
    """1:05 or 2:03:10."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
