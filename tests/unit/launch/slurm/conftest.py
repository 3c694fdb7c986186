"""A job for each test."""

from __future__ import annotations

import pytest

from tests.unit.launch.slurm.job import Job


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)
