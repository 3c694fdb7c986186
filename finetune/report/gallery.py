"""The pictures of a report, none of which is worth the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs.system.notes import optional
from configs.system.run_names import PLOTS

NO_FONT = (
    "(The boxes in this picture are characters that no installed font has: install one, e.g. Noto "
    "Sans CJK.)"
)


@dataclass(frozen=True)
class Gallery:
    """The plots of a report's folder."""

    folder: Path

    def add(self, name: str, title: str, draw: Callable[..., bool], *content: object) -> str:
        """Draw `plots/<name>.png`; returns the Markdown that shows it, or says that it failed.

        Args:
            draw: takes `content` and the path; returns whether the fonts have every character.
        """
        path = self.folder / PLOTS / f"{name}.png"
        complete = None
        with optional(str(path)):
            complete = draw(*content, path)
        if complete is None:
            path.unlink(missing_ok=True)
            return f"({title}: the picture could not be drawn.)"
        picture = f"![{title}]({PLOTS}/{name}.png)"
        return picture if complete else f"{picture}\n\n{NO_FONT}"
