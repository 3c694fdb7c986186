"""What the pages name exists: files, links, configurations, dependencies."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from configs.ablation_schema import AblationConfig
from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config, shipped_configs
from configs.schema import PretrainConfig
from launch.slurm.command_file import read_commands
from tests.conftest import ROOT
from tests.pages import PAGES, all_commands, anchors, blocks, links, name, read

README = PAGES[0]
ROOMS = "configs|tokenizer|pretrain|finetune|launch|tests|docs"
SUFFIXES = "py|md|sbatch|sh|txt|html|yaml"


def test_the_readme_is_short():
    assert len(read(README).splitlines()) <= 220


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_named_path_exists(page):
    text = read(page)
    files = re.findall(rf"(?<![\w/.])((?:{ROOMS})/[\w/.-]+\.(?:{SUFFIXES}))\b", text)
    folders = re.findall(rf"`((?:{ROOMS})/(?:[\w.-]+/)*)`", text)
    modules = [m.replace(".", "/") + ".py" for m in re.findall(r"python -m ((?:\w+\.)+\w+)", text)]
    in_configs = [f"configs/{file}" for file in files]
    missing = [
        path
        for path, other in zip([*files, *folders, *modules], [*in_configs, *folders, *modules])
        if not (ROOT / path).exists() and not (ROOT / other).exists()
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_readme():
    linked = {(ROOT / link).resolve() for link in links(README) if not link.startswith("http")}
    assert set(PAGES[1:]) <= linked


@pytest.mark.parametrize("package", ROOMS.split("|")[:5])
def test_every_room_is_in_the_readme(package):
    row = re.search(rf"^\| `{package}/` \|.*$", read(README), re.MULTILINE).group()
    rooms = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
    assert [room for room in rooms if f"`{room}/`" not in row] == []


def schema_of(example: str) -> type:
    if re.search(r"^(base: ablations/|axes:)", example, re.MULTILINE):
        return AblationConfig
    is_task = re.search(r"^(base: finetune/|task:)", example, re.MULTILINE)
    return FinetuneConfig if is_task else PretrainConfig


@pytest.mark.parametrize(
    ("page", "example"),
    [(name(page), example) for page in PAGES for example in blocks("yaml", page)],
)
def test_a_yaml_example_is_a_configuration(tmp_path, page, example):
    path = tmp_path / "own.yaml"
    path.write_text(example, encoding="utf-8")
    assert load_config(schema_of(example), str(path)).run_dir.endswith("own"), page


@pytest.mark.parametrize("command", [c for c in all_commands() if c.startswith("sbatch")])
def test_a_job_script_gets_a_configuration(command):
    words = shlex.split(command)
    place = next(i for i, word in enumerate(words) if word.endswith(".sbatch"))
    assert (ROOT / words[place]).is_file()
    assert load_config(PretrainConfig, words[place + 1], words[place + 2 :])


def test_a_file_of_commands_is_understood(tmp_path):
    path = tmp_path / "grid.txt"
    path.write_text("".join(blocks("text", ROOT / "docs/clusters.md")), encoding="utf-8")
    assert [command.kind for command in read_commands(path)] == ["pretrain", "finetune"]


def test_every_yaml_is_named_and_every_named_yaml_exists():
    text = "\n".join(map(read, PAGES))
    named = set(re.findall(r"`((?:\w+/)?[\w-]+\.yaml)`", text))
    assert named - {"config.yaml"} == set(shipped_configs())


def test_every_dependency_has_its_reason():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    requirements = re.search(r"install_requires =\n(.*?)\n\n", setup, re.DOTALL).group(1)
    for line in requirements.split("\n"):
        library = re.match(r"\s*([\w-]+)", line).group(1)
        assert re.search(rf"^\|.*\b{library}\b.*\|", read(README), re.MULTILINE), library


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_figure_was_left_open(page):
    assert not re.findall(r"@[A-Z]+@|TODO|FIXME", read(page))


def test_the_version_is_the_same_everywhere():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    version = re.search(r"^version = (\S+)$", setup, re.MULTILINE).group(1)
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
