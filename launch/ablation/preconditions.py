"""What would be found out after hours, or never: said before the first run starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from configs.ablation_schema import AblationConfig
from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import flat
from launch.ablation.grid import Grid


def require_effect(overrides: list[str], config: AblationConfig, grid: Grid) -> None:
    """Raise `InputError` for an override of a field that the scale or every row sets as well.

    Those win, and a wish of the command line must not vanish without a word.
    """
    scale = grid.config.scale
    of_scale, rows = flat(config.scales[scale].fields), grid.rows.values()
    for key in (word.partition("=")[0] for word in overrides):
        for name in flat({"fields": config.fields}):
            if not f"{name}.".startswith(f"{key}."):
                continue
            field = name.removeprefix("fields.")
            if _is_set(field, of_scale):
                cure = f"scale {scale} sets it, too: write scales.{scale}.{name}=..."
            elif all(_is_set(field, row) for row in rows):
                cure = "every row sets it: change axes"
            else:
                continue
            raise InputError(f"override '{name}' has no effect: {cure}")


def require_examples(grid: Grid) -> None:
    """Raise `InputError` for a task without its files: hours before a run would miss them."""
    from finetune.data.tables import find_file

    configs = [run.config for run in grid.distinct_runs() if not run.is_completed]
    tasks = [config.task for config in configs if isinstance(config, FinetuneConfig)]
    files = {Path(t.folder) / name: None for t in tasks for name in (t.train, t.dev) if name}
    try:
        for path in files:
            if not path.is_dir():
                find_file(path)
    except InputError as error:
        cure = f"or leave tasks out: scales.{grid.config.scale}.tasks=[]"
        raise InputError(f"{error}, {cure}") from error


def _is_set(field: str, by: Iterable[str]) -> bool:
    """Whether one of the names `by` is `field`, or a section that holds it."""
    return any(f"{field}.".startswith(f"{other}.") for other in by)
