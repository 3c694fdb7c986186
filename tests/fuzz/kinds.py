"""All kinds of cases."""

from __future__ import annotations

from tests.fuzz import cases, encodings, model_folders, text_cases, trees
from tests.fuzz.case import Maker

KINDS: dict[str, tuple[Maker, int]] = {
    "configuration": (cases.config_file, 5),
    "override": (cases.override, 5),
    "store": (cases.store, 4),
    "checkpoint": (cases.checkpoint, 4),
    "tokenizer": (cases.tokenizer, 2),
    "fine-tuned": (cases.finetuned, 2),
    "table": (text_cases.table, 2),
    "text": (text_cases.text, 1),
    "tree": (trees.tree, 2),
    "encoding": (encodings.encoding, 2),
    "model-config": (model_folders.model_config, 2),
    "model-weights": (model_folders.model_weights, 2),
    "model-tokenizer": (model_folders.model_tokenizer, 3),
    "model-folder": (model_folders.model_folder, 1),
}
"""maker, and its share of all cases"""
