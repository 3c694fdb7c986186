"""What the cases damage: a corpus, a finished pretraining run, a fine-tuned model, all tiny."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.conftest import ROOT, TINY_YAML
from tests.finetuning import write_task


@dataclass(frozen=True)
class Materials:
    """Folders that are only ever read; a case copies what it damages."""

    config: Path
    """a pretraining configuration whose corpus is prepared"""
    text: Path
    """its corpus: blank lines between documents"""
    store: Path
    """its token store"""
    run: Path
    """its finished run, with a single checkpoint"""
    task: Path
    """a fine-tuning configuration; train.csv lies beside it"""
    finetuned: Path
    """its finished run"""


def find_materials(folder: Path) -> Materials:
    """Those that `folder` lists, or new ones made in it."""
    paths = folder / "materials.json"
    if not paths.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_paths(folder, _build(folder))
    return Materials(**{k: Path(v) for k, v in json.loads(paths.read_text("utf-8")).items()})


def write_paths(folder: Path, materials: Materials) -> None:
    """List materials in `folder`."""
    paths = {name: str(path) for name, path in asdict(materials).items()}
    (folder / "materials.json").write_text(json.dumps(paths), encoding="utf-8")


def _build(folder: Path) -> Materials:
    """Make everything by the launch scripts themselves."""
    text = folder / "text.txt"
    text.write_text("\n\n".join(_topics()), encoding="utf-8")
    config = folder / "tiny.yaml"
    config.write_text(TINY_YAML.format(text=text, cache=folder / "cache"), encoding="utf-8")
    prepared = _launch("prepare.py", "--config", config)
    run, finetuned = folder / "run", folder / "finetuned"
    _launch("pretrain.py", "--config", config, f"run_dir={run}", "checkpoint.keep=1")
    (folder / "task").mkdir()
    task = write_task(folder / "task", run)
    _launch("finetune.py", "--config", task, f"run_dir={finetuned}", "schedule.max_epochs=1")
    store = Path(prepared.stdout.split()[1])
    return Materials(config, text, store, run, task, finetuned)


def copied(source: Path, folder: Path) -> Path:
    """A copy of a file or folder in `folder`."""
    copy = shutil.copytree if source.is_dir() else shutil.copyfile
    return Path(copy(source, folder / source.name))


def _topics() -> list[str]:
    from pydoc_data.topics import topics

    return ["\n".join(line for line in t.split("\n") if line.strip()) for t in topics.values()]


def _launch(script: str, *arguments: object) -> subprocess.CompletedProcess:
    words = [sys.executable, str(ROOT / "launch" / script), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr}")
    return done
