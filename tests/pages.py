"""The pages that people read (README, docs, CONTRIBUTING), taken apart for tests."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def read(page: Path) -> str:
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    """Its path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(language: str, page: Path) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", read(page), re.DOTALL)


def commands(page: Path) -> list[str]:
    """Lines of the page's shell blocks, without comments."""
    lines = "\n".join(blocks("bash", page)).splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def all_commands() -> list[str]:
    """Those of all pages, each once."""
    return list(dict.fromkeys(command for page in PAGES for command in commands(page)))


def links(page: Path) -> list[str]:
    """What its links point to."""
    return re.findall(r"\]\(([^)\s]+)\)", read(page))


def anchors(page: Path) -> set[str]:
    """Names of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
