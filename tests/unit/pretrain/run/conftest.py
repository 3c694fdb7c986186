"""What several tests of run folders are given."""

from __future__ import annotations

import pytest

from pretrain.data.corpus import Corpus
from tests.unit.pretrain.run.runs import tiny_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """A store of a few texts, opened."""
    return tiny_corpus(tmp_path_factory.mktemp("corpus"))
