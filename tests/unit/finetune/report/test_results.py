"""The report of a run."""

from __future__ import annotations

from finetune.report.markdown_tables import Gallery
from finetune.report.results import classification_part


def test_a_class_that_neither_side_holds_has_dashes(tmp_path):
    labels = ["a", "b", "c"]
    shares = {f"p({label})": "0.3" for label in labels}
    rows = [
        {"label": "a", "prediction": "b", **shares},
        {"label": "b", "prediction": "b", **shares},
    ]
    parts = classification_part(Gallery(tmp_path), "dev", rows, [_Example(), _Example()], labels)
    assert "| c | – | – | – | 0 |" in parts[1] and "| a | 0.0 | 0.0 | 0.0 | 1 |" in parts[1]


class _Example:
    id, raw, pair = "7", "text", None
