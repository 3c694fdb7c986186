"""What a life left behind, without times and places: equal for all lives of a kind."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

from configs.system.folder_hashes import check_hashes
from configs.system.run_names import HASHES

TIMES = (
    *("time", "seconds", "minutes", "hours", "elapsed_minutes", "tokens_per_second", "mfu"),
    *("starts", "command", "peaks", "measured", "state.json", "threads_per_rank", "world_size"),
    *("run_dir", "precision_reason", "precision_source", "memory_gigabytes"),
    *("verified_at_start", "verified_by_earlier_starts", "left_to_the_background"),
    *("at_step", "verified_by_then", "checkpoint", "recipe"),
)
"""fields that may differ: of times, places, a way of saving, and where a start resumed"""
PNG_BEGIN, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
BY_PRESENCE = ("complete", "log.txt", "job.yaml", "config.yaml")
"""files of which it is enough that they are there"""


def end_of(work: Path) -> dict[str, str]:
    """What every file under `work` says, by its path: sha256 of what must not differ."""
    found = {}
    for path in sorted(work.rglob("*")):
        if "tfevents" in path.name:
            name = f"{path.parent.relative_to(work).as_posix()}/events"
            found[name] = found.get(name) or shown_by_tensorboard(path.parent)
        elif not (path.is_dir() or is_of_its_time(path)):
            found[path.relative_to(work).as_posix()] = content_of(path, work)
    return found


def is_of_its_time(path: Path) -> bool:
    """A lock, or what a node remembers of files by their times."""
    return path.name == "lock" or path.suffix == ".lock" or path.parent.name == "verified"


def shown_by_tensorboard(folder: Path) -> str:
    """sha256 of the points that it draws from all files of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of each restart
    events = EventAccumulator(str(folder)).Reload()
    tags = [t for t in events.Tags()["scalars"] if t.rpartition("/")[2] not in TIMES]
    points = {tag: [(p.step, p.value) for p in events.Scalars(tag)] for tag in sorted(tags)}
    return hashlib.sha256(json.dumps(points).encode()).hexdigest()


def difference(calm: dict[str, str], killed: dict[str, str]) -> list[str]:
    """What is not as it should be, in words."""
    left = [f"{name} is left over" for name in sorted(killed.keys() - calm.keys())]
    lost = [f"{name} is missing" for name in sorted(calm.keys() - killed.keys())]
    both = sorted(calm.keys() & killed.keys())
    return left + lost + [f"{name} differs" for name in both if calm[name] != killed[name]]


def content_of(path: Path, work: Path) -> str:
    """sha256 of a file's content without times and places; words for a file that is not whole."""
    if path.name in BY_PRESENCE:
        return "there"
    if path.name == HASHES:  # of files that may say where they lie
        check_hashes(path.parent)
        return "hashes of these files"
    content = path.read_bytes()
    if not content:
        return f"empty {path}"
    if path.suffix == ".png":
        is_whole = content.startswith(PNG_BEGIN) and content.endswith(PNG_END)
        return "a picture" if is_whole else f"half a picture {path}"
    if path.suffix in (".safetensors", ".npy", ".onnx", ".tokens"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(settled(path, content, work)).hexdigest()


def settled(path: Path, content: bytes, work: Path) -> bytes:
    """A text without times and places; anything else as it is."""
    try:
        text = content.decode().replace(str(work), "")
        if path.suffix == ".json":
            return json.dumps(without_times(json.loads(text)), sort_keys=True).encode()
        if path.suffix == ".jsonl":
            lines = [without_times(json.loads(line)) for line in text.splitlines()]
            return json.dumps(lines, sort_keys=True).encode()
    except ValueError:
        return content
    text = re.sub(r"data:image/png;base64,[^\"]+", "a picture", text)  # of curves over time
    text = re.sub(r"[\d.]+ (hours|minutes|min|h)\b", r"\1", text)
    return without_minutes(text).encode() if path.suffix == ".md" else text.encode()


def without_times(value: Any) -> Any:
    """A JSON value without the fields that may differ."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return re.sub(r"[\d.]+ hours", "hours", value) if isinstance(value, str) else value


def without_minutes(text: str) -> str:
    """A Markdown text whose tables have lost their column of minutes."""
    lines, is_timed = [], False
    for line in text.splitlines():
        is_timed = line.startswith("|") and (is_timed or line.rstrip().endswith("minutes |"))
        lines.append(re.sub(r"\|[^|]*\|\s*$", "|", line) if is_timed else line)
    return "\n".join(lines)
