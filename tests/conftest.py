"""Text, caches and processes for the tests that run the real commands."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from configs.system.version import PACKAGES
from launch.command import CONSOLE, show_logs
from pretrain.ranks.local import free_port
from pretrain.ranks.process import let_waiting_threads_sleep
from tests.finetuning import write_task
from tests.forked import end_group, run_script
from tests.small_disk import SmallDisk, small_disk

let_waiting_threads_sleep()  # before any test imports torch: suites run on busy machines


def keep_to_own_cores() -> None:
    """Workers of pytest-xdist share the cores out, as ranks do; what they start inherits its share.

    A tiny model meets OpenMP's barriers thousands of times. Where the threads of two workers take
    the same cores, one of a pair often waits until the other has its turn: trainings then take
    three times as long.
    """
    worker, workers = (os.environ.get(f"PYTEST_XDIST_WORKER{end}", "") for end in ("", "_COUNT"))
    if worker and hasattr(os, "sched_setaffinity"):
        own = sorted(os.sched_getaffinity(0))[int(worker.removeprefix("gw")) :: int(workers)]
        os.sched_setaffinity(0, own or os.sched_getaffinity(0))


keep_to_own_cores()

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine proves nothing
hypothesis.settings.load_profile("untimed")
ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
"""real corpora, beside the project where there are any"""

OF_A_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""variables that a test which joined a process group may have left"""

TINY_YAML = """
base: small.yaml
data: {{sources: [{{kind: text, path: {text}}}], heldout_fraction: 0.1, cache: {cache}}}
tokenizer: {{vocabulary_size: 512}}
max_length: 32
model: {{layers: 2, hidden_size: 64, heads: 2, feed_forward_size: 128, max_positions: 64}}
batch: {{sequences: 16, micro_sequences: 8}}
optimizer: {{learning_rate: 3.0e-3}}
engine: {{precision: fp32}}
schedule: {{max_steps: 8}}
evaluation: {{every_steps: 4, sequences: 64}}
checkpoint: {{every_steps: 2}}
log_every_steps: 1
"""


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """What a person at the terminal sees of a function, the packages' logs among it."""
    show_logs()
    yield capsys
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.removeHandler(CONSOLE)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture(scope="session")
def prose(tmp_path_factory) -> Path:
    """A text file with blank lines between documents."""
    return write_topics(tmp_path_factory.mktemp("text") / "topics.txt")


def write_topics(path: Path) -> Path:
    """The help topics that Python carries, as documents with blank lines between them."""
    from pydoc_data.topics import topics

    documents = ["\n".join(topic.split("\n\n")).replace("\n\n", "\n") for topic in topics.values()]
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """Tokenizers and stores, shared by the tests of a session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, prose, cache) -> Path:
    """The path of a configuration that trains in seconds."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(TINY_YAML.format(text=prose, cache=cache), encoding="utf-8")
    return path


class Command:
    """A launch script in a process group of its own, which ends with the test."""

    def __init__(
        self,
        *arguments: object,
        cwd: Path,
        launcher: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        script, *rest = map(str, arguments)
        words = [*(launcher or (sys.executable,)), str(ROOT / "launch" / script), *rest]
        inherited = {k: v for k, v in os.environ.items() if k not in OF_A_RANK}
        self.process = subprocess.Popen(
            words,
            cwd=cwd,
            env=inherited | (environment or {}),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self, timeout: float = 300) -> subprocess.CompletedProcess:
        """Wait for the end; kills everything it started if that takes too long."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        finally:
            self.kill()
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)

    def kill(self) -> None:
        """SIGKILL the whole group."""
        end_group(self.process.pid)


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory) -> Path:
    """The folder of a finished pretraining run: byte-level BPE, two layers of width 64."""
    folder = tmp_path_factory.mktemp("pretrained")
    done = run_script("pretrain.py", "--config", tiny, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "tiny"


@pytest.fixture(scope="session")
def tiny_task(tiny_run, tmp_path_factory) -> Path:
    """The path of a configuration that fine-tunes `tiny_run` on three topics in seconds."""
    return write_task(tmp_path_factory.mktemp("topics"), tiny_run)


@pytest.fixture(scope="session")
def tiny_finetuned(tiny_task, tmp_path_factory) -> Path:
    """The folder of a finished fine-tuning run of `tiny_task`."""
    folder = tmp_path_factory.mktemp("finetuned")
    done = run_script("finetune.py", "--config", tiny_task, "run_dir=run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def disk(tmp_path) -> Iterator[SmallDisk]:
    """A disk of 16 MB that a test may fill."""
    with small_disk(tmp_path / "disk") as mounted:
        yield mounted


@pytest.fixture
def launch(tmp_path):
    """`launch("pretrain.py", "--config", ...)` runs a command to its end in `tmp_path`."""

    def run(*arguments: object, cwd: Path = tmp_path, **options) -> subprocess.CompletedProcess:
        if options:  # a launcher, or an environment: from nothing
            return Command(*arguments, cwd=cwd, **options).finish()
        return run_script(*arguments, cwd=cwd)

    return run


def deepspeed(ranks: int) -> tuple[str, ...]:
    """The launcher's words in front of a script; tests beside this one have ports of their own."""
    launcher = str(Path(sys.executable).with_name("deepspeed"))
    return (launcher, "--master_port", str(free_port()), "--num_gpus", str(ranks))
