"""TensorBoard's event files, written by the run itself.

The library's writer has a thread of its own, which a full disk ends with a traceback; what it had
taken is lost, and a later call raises.
"""

from __future__ import annotations

import os
import socket
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from configs.system.files import make_folder
from configs.system.safe_text import visible

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

_number = count()


class Events:
    """One event file in `folder`, which is made; raises `OSError` as any file does."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """Events of `purge_step` and later, in files before this one, are to be forgotten."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        make_folder(folder)
        place = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._records = RecordWriter((folder / f"events.out.tfevents.{place}").open("wb"))
        self._write(file_version="brain.Event:2", step=purge_step)
        if purge_step is not None:
            self._write(session_log=SessionLog(status=SessionLog.START), step=purge_step)

    def add_scalar(self, tag: str, value: float, step: int | None = None) -> None:
        """A point of the curve called `tag`."""
        from torch.utils.tensorboard.summary import scalar

        self.add_summary(scalar(visible(tag), value), step)

    def add_summary(self, summary: Summary, step: int | None = None) -> None:
        """What a function of `torch.utils.tensorboard.summary` has made."""
        self._write(summary=summary, step=step)

    def flush(self) -> None:
        """Let readers see what there is."""
        self._records.flush()

    def close(self) -> None:
        """End the file."""
        self._records.close()

    def _write(self, **content: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())
