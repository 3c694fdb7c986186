"""The README keeps its word: every command, every YAML and every file that it names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from configs.ablation_schema import AblationConfig
from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config, shipped_configs
from configs.schema import PretrainConfig
from tests.conftest import ROOT, Command, deepspeed

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    lines = "\n".join(blocks("bash")).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def test_the_two_commands_come_first():
    assert commands()[0] == "make pretrain"
    assert commands()[1] == "make test"


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make")])
def test_make_target_exists(command):
    done = subprocess.run([*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        "launch/pretrain.py --config roberta_small.yaml" in done.stdout or "pytest" in done.stdout
    )


@pytest.mark.parametrize("command", [c for c in commands() if "launch/" in c and ".py" in c])
def test_command_is_understood(command):
    """Run as written, but only as far as its resolved configuration or its help."""
    words = shlex.split(command)
    place = next(i for i, word in enumerate(words) if word.endswith(".py"))
    script, *arguments = words[place:]
    if "--help" not in arguments:
        arguments.append("--print-config" if "--config" in arguments else "--help")
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.distributed
def test_the_main_command_as_written(tmp_path):
    """The default job on the embedded text, cut to a few steps; the rest is as it ships."""
    overrides = ("schedule.max_steps=3", "log_every_steps=1", "evaluation.sequences=32")
    done = Command(
        "pretrain.py",
        "--config",
        "roberta_small.yaml",
        f"data.cache={tmp_path / 'cache'}",
        *overrides,
        cwd=tmp_path,
        launcher=deepspeed(2),
    ).finish(timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/roberta_small/export/model.safetensors").is_file()


def test_yaml_example_is_a_configuration(tmp_path):
    pretraining, task, axis, phases = blocks("yaml")
    path = tmp_path / "own.yaml"
    path.write_text(pretraining, encoding="utf-8")
    assert len(load_config(PretrainConfig, str(path)).data.sources) == 2
    path.write_text(axis, encoding="utf-8")
    assert list(load_config(AblationConfig, str(path)).axes["warm-up"]) == ["none", "a tenth"]
    path.write_text(phases, encoding="utf-8")
    assert len(load_config(PretrainConfig, str(path)).phases) == 3
    path.write_text(task, encoding="utf-8")
    assert load_config(FinetuneConfig, str(path)).task.label == "stars"


def test_every_yaml_is_named_and_every_named_yaml_exists():
    named = set(re.findall(r"`((?:\w+/)?[\w-]+\.yaml)`", README))
    assert named - {"config.yaml"} == set(shipped_configs())


def test_every_named_file_exists():
    folders = "configs|tokenizer|pretrain|finetune|launch"
    for name in re.findall(rf"\b((?:{folders})/[\w/]+\.(?:py|md|sbatch|sh))\b", README):
        assert (ROOT / name).is_file(), name


def test_every_dependency_has_its_reason():
    requirements = re.search(r"install_requires =\n(.*?)\n\n", setup_cfg(), re.DOTALL).group(1)
    for line in requirements.split("\n"):
        name = re.match(r"\s*([\w-]+)", line).group(1)
        assert re.search(rf"^\|.*\b{name}\b.*\|", README, re.MULTILINE), name


def setup_cfg() -> str:
    return Path(ROOT / "setup.cfg").read_text(encoding="utf-8")


def test_no_figure_was_left_open():
    assert not re.findall(r"@[A-Z]+@", README)
