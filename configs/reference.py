"""Write docs/configuration.md, every field of every schema: `python -m configs.reference`."""

from __future__ import annotations

from pathlib import Path

from configs.ablation_schema import AblationConfig
from configs.cluster_schema import ClusterConfig
from configs.described import FieldText, SectionText, sections
from configs.finetune_schema import FinetuneConfig
from configs.schema import PretrainConfig

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
SCHEMAS = {
    "Pretraining": (PretrainConfig, "`launch/pretrain.py` and `launch/prepare.py`"),
    "Fine-tuning": (FinetuneConfig, "`launch/finetune.py`"),
    "Ablations": (AblationConfig, "`launch/ablate.py`"),
    "Clusters": (ClusterConfig, "`--cluster` of `launch/submit.py`, `cluster.` in front of each"),
}
INTRODUCTION = """# Every field of a configuration

A configuration is a YAML that may inherit (`base:`); `key=value` on the command line overrides it.
Unknown keys, wrong types and values that do not go together are refused in one line that names the
cure. `--print-config` shows what is resolved. In the names below `0` stands for any number, and
`NAME` for a name of yours.

This page is generated from the schemas in `configs/`: `python -m configs.reference` writes it anew.
"""


def render() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(chapter(title) for title in SCHEMAS)])


def chapter(title: str) -> str:
    """One schema: a table for its own fields and one for each section."""
    schema, command = SCHEMAS[title]
    return "\n".join([f"## {title}\n\nFields of {command}.\n", *map(table, sections(schema))])


def table(section: SectionText) -> str:
    """A section's heading and its fields."""
    heading = f"### `{section.name}`\n\n" if section.name else ""
    purpose = cell(section.purpose[:1].upper() + section.purpose[1:])
    head = "| field | type | default | meaning |\n|---|---|---|---|"
    rows = "\n".join(row(field, section.name) for field in section.fields)
    return f"{heading}{purpose}\n\n{head}\n{rows}\n"


def row(field: FieldText, section: str) -> str:
    """A field's line."""
    name = field.name.removeprefix(f"{section}.") if section else field.name
    kind = field.kind.replace(" | ", ", ")
    return f"| `{name}` | {kind} | `{field.default}` | {cell(field.meaning)} |"


def cell(text: str) -> str:
    """Text that neither ends a cell of Markdown nor begins a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
