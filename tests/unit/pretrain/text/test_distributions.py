"""The pinned list of packages follows the core requirements, on every platform alike."""

from __future__ import annotations

from configparser import ConfigParser
from functools import reduce
from importlib import metadata

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pretrain.text.distributions import LISTED
from tests.conftest import ROOT

PLATFORMS = [
    ("linux", "Linux", "x86_64"),
    ("linux", "Linux", "aarch64"),
    ("darwin", "Darwin", "arm64"),
]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
DRIFT = 5
"""names by which new versions of listed packages may depart from the list, which stays as it is"""


def core_requirements() -> list[Requirement]:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].splitlines()
    return [Requirement(line) for line in lines if line.strip()]


def required_by(name: str, environment: dict[str, str]) -> list[Requirement]:
    try:
        lines = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        return []
    wanted = map(Requirement, lines)
    return [r for r in wanted if not r.marker or r.marker.evaluate({**environment, "extra": ""})]


def closure(python: str, platform: tuple[str, str, str]) -> set[str]:
    """Names of all that the core requirements ask for, by what is installed here."""
    places = dict(zip(("sys_platform", "platform_system", "platform_machine"), platform))
    environment = {**default_environment(), "python_version": python, **places}
    environment["python_full_version"] = f"{python}.1"
    found: set[str] = set()
    to_do = core_requirements()
    while to_do:
        name = canonicalize_name(to_do.pop().name)
        if name not in found:
            found.add(name)
            to_do += required_by(name, environment)
    return found


def test_every_core_requirement_is_listed() -> None:
    missing = {canonicalize_name(r.name) for r in core_requirements()} - LISTED
    assert not missing, f"add {missing} to LISTED and raise HARVESTER_VERSION: the text changes"


def test_the_list_is_what_the_core_requirements_ask_for_on_every_platform() -> None:
    closures = [closure(python, platform) for python in PYTHONS for platform in PLATFORMS]
    needed = reduce(set.__and__, closures)
    assert len(needed ^ LISTED) <= DRIFT, sorted(needed ^ LISTED)


def test_names_are_canonical_as_the_search_for_them_expects() -> None:
    assert [canonicalize_name(name) for name in LISTED] == list(LISTED)


def test_neither_developer_tools_nor_another_platform_s_packages_are_listed() -> None:
    tools = {"pytest", "ruff", "transformers", "pip", "wheel", "triton", "tomli", "colorama"}
    assert not tools & LISTED
    assert not [name for name in LISTED if name.startswith(("nvidia", "cuda", "pytest"))]
