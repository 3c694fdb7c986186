"""Corpora larger than memory: portions, and what of them is read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.schema import PretrainConfig
from pretrain.data import layout
from pretrain.data.formats import BUILDERS, build_index
from pretrain.data.layout import Layouts
from pretrain.data.store import TokenStore
from pretrain.data.store_file import DamagedStore
from tests.helpers import numbered_documents, open_store, random_shape
from tests.unit.pretrain.data.large_store import make_store
from tests.unit.pretrain.data.slow_formats import slow_samples
from tests.unit.pretrain.data.test_formats import samples_of

ROOT = Path(__file__).parents[4]
shapes = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=2, max_size=30)


@pytest.fixture
def small_portions(monkeypatch):
    monkeypatch.setattr(layout, "PORTION_SENTENCES", 10)


@pytest.mark.parametrize("input_format", BUILDERS)
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(shape=shapes, cut=st.integers(0, 9), shard_tokens=st.sampled_from([1, 40, 2**28]))
def test_samples_of_portions_are_those_of_the_slow_loops(input_format, shape, cut, shard_tokens):
    documents = numbered_documents(shape)
    config = PretrainConfig(seed=3, input_format=input_format, max_length=16)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(layout, "PORTION_SENTENCES", 10)
        store = open_store(Path(folder) / "store", documents, shard_tokens)
        portions = store.layouts.portions
        index = build_index(store, config, cut)
        found = samples_of(store, index.all)
    assert list(chain(*portions)) == list(range(len(documents)))
    assert all(len(portion) >= 2 for portion in portions)
    assert found == slow_samples(documents, config, cut, tuple(portions))
    order = np.random.default_rng(0).permutation(len(index))
    taken = index.take(order)
    assert samples_of(store, taken) == [found[number] for number in order]
    assert taken.lengths.tolist() == index.lengths_of(order).tolist()


def test_a_part_reads_its_own_and_counts_from_its_beginning(tmp_path):
    shape = random_shape(0, 200, tokens=9)
    store = open_store(tmp_path / "store", numbered_documents(shape), 300)
    assert len(store.shards) > 3
    whole = store.layouts.whole
    for first, last in [(0, 200), (0, 1), (57, 58), (3, 150), (199, 200)]:
        part = store.layouts.part(first, last)
        sentences = [len(document) for document in shape[first:last]]
        assert part.document_ends.tolist() == np.cumsum(sentences).tolist()
        tokens = np.cumsum(list(chain(*shape[first:last])))
        assert part.sentence_ends.tolist() == tokens.tolist()
        assert part.first_document == first
        assert part.first_sentence == whole.document_starts[first]
        assert part.first_token == whole.sentence_starts[part.first_sentence]


@pytest.mark.parametrize(
    "sizes, expected",
    [
        ([(6, 3), (4, 2), (1, 1), (1, 1)], [(0, 5), (5, 7)]),
        ([(35, 20), (4, 2)], [(0, 6), (6, 13), (13, 20), (20, 22)]),
        ([(35, 20), (2, 2), (9, 3)], [(0, 6), (6, 13), (13, 20), (20, 22), (22, 25)]),
        ([(900, 1), (3, 1)], [(0, 2)]),
        ([(900, 5)], [(0, 2), (2, 5)]),
        ([(10, 4), (12, 1)], [(0, 5)]),
    ],
)
def test_portions(small_portions, sizes, expected):
    sentences = np.arange(1, 1 + sum(size for size, _ in sizes))
    documents = np.arange(1, 1 + sum(count for _, count in sizes))
    layouts = Layouts.in_memory(sentences, documents)
    layouts = Layouts(layouts.sentences, layouts.documents, tuple(sizes))
    assert [(part.start, part.stop) for part in layouts.portions] == expected


def test_damage_inside_a_file_is_found_when_its_part_is_read(tmp_path):
    store = open_store(tmp_path / "store", numbered_documents(random_shape(0, 99, tokens=9)))
    file = tmp_path / "store/train/00000.sentence_ends"
    state, ends = file.stat(), np.fromfile(file, "<u8")
    ends[[40, 41]] = ends[[41, 40]]
    file.write_bytes(ends.tobytes())
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # as a disk loses bits
    with pytest.raises(DamagedStore, match=r"00000\.sentence_ends: these are no ends"):
        build_index(store, PretrainConfig())


@pytest.mark.slow
def test_twenty_million_sentences_are_cut_and_dealt_in_little_memory(tmp_path):
    """What a rank holds more for them than for 10,000, at most 256 MB: their ends alone take 170,
    and cutting all of them at once took 2,000."""
    make_store(tmp_path / "large", 20_000_000)
    make_store(tmp_path / "small", 10_000)
    large, small = (peak_of(tmp_path / name) for name in ("large", "small"))
    assert large - small < 256, (large, small)


def peak_of(folder: Path) -> int:
    """Megabytes that a process holds at its peak which deals the first step of a store."""
    command = [sys.executable, "-m", "tests.unit.pretrain.data.large_store", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return int(done.stdout.split()[-2])


@pytest.mark.parametrize("tokens", [1, 7, 100, 299, 300, 10**9])
def test_a_store_opened_in_part_has_whole_documents_up_to_so_many_tokens(tmp_path, tokens):
    shape = random_shape(0, 60, tokens=9)
    open_store(tmp_path / "store", numbered_documents(shape), 100)
    head = TokenStore.open(tmp_path / "store", "train", tokens)
    sizes = np.cumsum([sum(document) for document in shape])
    assert head.sentence_ends[-1] == sizes[head.document_count - 1] >= min(tokens, sizes[-1])
    assert len(build_index(head, PretrainConfig(max_length=16)).all.starts)
