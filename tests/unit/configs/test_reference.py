"""The page of all fields is that of the schemas as they are."""

from __future__ import annotations

from configs.ablation_schema import AblationConfig
from configs.described import describe
from configs.reference import PAGE, chapter, render


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m configs.reference"


def test_every_field_has_a_row():
    rows = [line for line in chapter("Ablations").splitlines() if line.startswith("| `")]
    assert len(rows) == len(describe(AblationConfig))
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
