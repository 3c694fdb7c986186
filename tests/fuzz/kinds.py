"""All kinds of cases."""

from __future__ import annotations

from tests.fuzz import cases, encodings, trees
from tests.fuzz.case import Maker

KINDS: dict[str, tuple[Maker, int]] = {
    "configuration": (cases.config_file, 5),
    "override": (cases.override, 5),
    "store": (cases.store, 4),
    "checkpoint": (cases.checkpoint, 4),
    "tokenizer": (cases.tokenizer, 2),
    "fine-tuned": (cases.finetuned, 2),
    "table": (cases.table, 2),
    "text": (cases.text, 1),
    "tree": (trees.tree, 2),
    "encoding": (encodings.encoding, 2),
}
"""maker, and its share of all cases"""
