"""Results and their table for all tests of the report."""

from __future__ import annotations

import pytest

from launch.ablation.measurements import Results
from launch.ablation.report.result_table import Table, build
from tests.unit.launch.ablation.report.example_results import make_results


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> Results:
    """Four rows, three pretraining seeds, a task with five fine-tuning seeds."""
    return make_results(tmp_path_factory.mktemp("ablation"))


@pytest.fixture(scope="session")
def table(results) -> Table:
    """Their table."""
    return build(results)
