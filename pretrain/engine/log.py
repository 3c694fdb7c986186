"""What a person watches and a program reads: console, metrics.jsonl, TensorBoard."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from configs.files import write_text
from configs.run_lock import require_ours


class RunLog:
    """The log of one run, kept by rank 0; on other ranks every call does nothing."""

    def __init__(
        self,
        run_dir: Path,
        is_main: bool,
        resumed_step: int = 0,
        tensorboard: Path | None = None,
    ) -> None:
        """`tensorboard` is where its events go; None: into `run_dir`."""
        self.path = run_dir / "metrics.jsonl"
        self.is_main = is_main
        self._tensorboard = None
        if is_main:
            require_ours(run_dir)
            run_dir.mkdir(parents=True, exist_ok=True)
            drop_records_after(self.path, resumed_step)
            self._tensorboard = _writer(tensorboard or run_dir / "tensorboard", resumed_step)

    def record(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One line of metrics.jsonl, and a scalar `kind/name` for each value."""
        if not self.is_main:
            return
        require_ours(self.path)
        line = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in values.items():
            self._tensorboard.add_scalar(f"{kind}/{name}", value, step)

    def say(self, text: str) -> None:
        """A line for the person at the terminal."""
        if self.is_main:
            print(text, flush=True)

    def close(self) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()


def read_metrics(path: Path) -> list[dict]:
    """The records of a metrics.jsonl; a last line torn by a crash is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            print(f"{path}: a torn line is left out", file=sys.stderr)
    return records


def drop_records_after(path: Path, step: int) -> None:
    """Forget what a run wrote after the checkpoint it goes on from."""
    records = read_metrics(path)
    if records:
        kept = [record for record in records if record["step"] <= step] if step else []
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def write_hparams(folder: Path, settings: dict[str, object], metrics: dict[str, float]) -> None:
    """One entry of TensorBoard's HParams page, in a new folder of its own."""
    from torch.utils.tensorboard.summary import hparams

    plain = {k: v if isinstance(v, (bool, int, float)) else str(v) for k, v in settings.items()}
    writer = _writer(folder, 0)
    for summary in hparams(plain, metrics):
        writer.file_writer.add_summary(summary)
    for name, value in metrics.items():
        writer.add_scalar(name, value)
    writer.close()


def duration(seconds: float) -> str:
    """1:05 or 2:03:10."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _writer(folder: Path, resumed_step: int):
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=resumed_step + 1 if resumed_step else None)
