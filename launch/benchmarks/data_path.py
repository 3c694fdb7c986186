"""The host's work: text to a token store, and a store to masked batches."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter

from configs.loader import load_config
from configs.schema import PretrainConfig, ResolvedPretrainConfig
from configs.system.run_names import TOKENIZER
from launch.benchmarks.contenders import Setting

ROUNDS = 3
LARGE = ("batch.sequences=512", "batch.micro_sequences=512")


@dataclass(frozen=True)
class DataPath:
    """Medians over rounds."""

    batch_tokens_per_second: float
    """index, gather, mask and collate, on one core"""
    tokenised_mb_per_second: float
    """launch/prepare.py: reading, sentences, ids, hashed files"""
    bare_mb_per_second: float
    """the library's `encode_batch` on the same sentences, in memory, ids thrown away"""

    @property
    def tokenising_ratio(self) -> float:
        """How near tokenising comes to the bare library."""
        return self.tokenised_mb_per_second / self.bare_mb_per_second


def measure(seconds: float, megabytes: float, overrides: tuple[str, ...]) -> DataPath:
    """About `seconds` of batches, and twice `ROUNDS` times tokenising `megabytes` of text."""
    setting = Setting("small", 128, "fp32", "cpu", overrides=(*LARGE, *overrides))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = setting.config(folder)
        rates = batch_rates(config, seconds / ROUNDS)
        ours, bare = tokenising_rates(folder, config, megabytes)
    return DataPath(median(rates), median(ours), median(bare))


def batch_rates(config: ResolvedPretrainConfig, seconds: float) -> list[float]:
    """Tokens a second, from the store to micro-batches of 512 sequences."""
    from pretrain.data.corpus import prepare
    from pretrain.data.masking import make_vocabulary
    from pretrain.data.phases import PhasedBatches

    corpus = prepare(config)
    batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer))
    batches.step(0)  # cuts the samples
    rates, step = [], 0
    for _ in range(ROUNDS):
        started, tokens = perf_counter(), 0
        while perf_counter() - started < seconds:
            tokens += sum(len(batch.tokens_T) for batch in batches.step(step))
            step += 1
        rates.append(tokens / (perf_counter() - started))
    return rates


def tokenising_rates(
    folder: Path, config: ResolvedPretrainConfig, megabytes: float
) -> tuple[list[float], list[float]]:
    """MB a second of `launch/prepare.py` and of the bare library, in turns."""
    from pretrain.data.corpus import prepare, prepare_store
    from pretrain.data.pieces import documents
    from pretrain.text.sentences import split_sentences

    corpus = prepare(config)
    corpus.tokenizer.save(folder / TOKENIZER)
    stream = documents(config.data, config.data.sources[0])
    texts = list(take((document.text for document in stream), megabytes))
    sentences = [s for text in texts for s in split_sentences(text, "en")]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "text.jsonl").write_text(lines, encoding="utf-8")
    backend = corpus.tokenizer.new_backend()
    size = sum(len(text.encode()) for text in texts) / 1e6
    ours, bare = [], []
    for turn in range(ROUNDS):
        choices = [
            f"data.sources=[{{kind: jsonl, path: {folder / 'text.jsonl'}}}]",
            f"data.cache={folder / str(turn)}",
            f"tokenizer.path={folder / TOKENIZER}",
        ]
        own = load_config(PretrainConfig, "small.yaml", choices)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # its progress
            ours.append(size / seconds_of(partial(prepare_store, own)))
        bare.append(size / seconds_of(partial(backend.encode_batch, sentences)))
    return ours, bare


def take(stream: Iterator[str], megabytes: float) -> Iterator[str]:
    """The first documents, about so much of them."""
    held = 0
    for text in stream:
        held += len(text)
        yield text
        if held > 1e6 * megabytes:
            return


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = perf_counter()
    work()
    return perf_counter() - started
