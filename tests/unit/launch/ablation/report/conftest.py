"""One study and its table for all tests of the report."""

from __future__ import annotations

import pytest

from launch.ablation.report.table import Table, build
from launch.ablation.study import Study
from tests.unit.launch.ablation.report.studies import make_study


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """Four rows, three pretraining seeds, a task with five fine-tuning seeds."""
    return make_study(tmp_path_factory.mktemp("ablation"))


@pytest.fixture(scope="session")
def table(study) -> Table:
    """Its table."""
    return build(study)
