"""One cluster for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, missing_requirement


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes; skips, with the reason, where there can be none."""
    reason = missing_requirement()
    if reason:
        pytest.skip(reason)
    cluster = Cluster()
    try:
        try:
            cluster.control("up")
        except RuntimeError as error:
            pytest.skip(f"no test cluster: {error}")
        yield cluster
    finally:
        cluster.control("down")
