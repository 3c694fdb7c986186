"""The faults of `tests/mutants.py` still apply to the sources as they are."""

from __future__ import annotations

import shutil

import pytest

from tests.mutants import MUTANTS, ROOT


def test_there_are_many():
    assert len(MUTANTS) >= 30


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.after}")
def test_a_mutant_applies_and_its_tests_are_there(mutant, tmp_path):
    copy = tmp_path / mutant.file
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutant.file, copy)
    assert mutant.apply(tmp_path) != copy.read_text(encoding="utf-8")
    assert (ROOT / mutant.test_path).exists()
