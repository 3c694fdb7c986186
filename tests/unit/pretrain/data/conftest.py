"""What several tests of stores are given."""

from __future__ import annotations

import pytest

from configs.schema import DataConfig


@pytest.fixture
def data(tmp_path) -> DataConfig:
    """With a cache of its own."""
    return DataConfig(cache=str(tmp_path / "cache"))
