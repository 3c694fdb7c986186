"""What a corpus looks like under each input format, and under its tokenizer."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import PAIR_FORMATS, PretrainConfig
from pretrain.data.corpus import open_corpus, sentences
from pretrain.data.formats import BUILDERS, build_index, few_pairs
from pretrain.data.manifest import read_manifest
from pretrain.data.sample_index import IS_NEXT, IS_RANDOM
from pretrain.data.store import TokenStore
from tokenizer.tokenizer_report import tokenizer_report

REPORT_SENTENCES = 5_000
REPORT_TOKENS = 10_000_000


def corpus_report(folder: Path, config: PretrainConfig) -> str:
    """Sizes of the store in `folder`, its tokenizer's report, and a table of the formats, as text.

    The last two look at the first part of a large corpus only, so that memory stays flat.
    """
    content = read_manifest(folder)["splits"]
    corpus = open_corpus(folder, config, most_tokens=REPORT_TOKENS)
    parts = [_sizes(content)]
    if not config.data.store:
        texts = list(islice(sentences(config, heldout=True), REPORT_SENTENCES))
        parts.append(str(tokenizer_report(corpus.tokenizer, texts)))
    if content["train"]["tokens"] > REPORT_TOKENS:
        parts.append(f"formats, of the first {int(corpus.train.sentence_ends[-1]):,} tokens:")
    parts.append(_format_table(corpus.train, config))
    if config.input_format in PAIR_FORMATS and corpus.train.document_count > 1:
        warning = few_pairs(build_index(corpus.train, config), corpus.train, config)
        if warning:
            parts.append(f"note       {warning}")
    return "\n\n".join(parts)


def _sizes(content: dict[str, dict[str, Any]]) -> str:
    lines = [f"{'split':<10}{'documents':>12}{'sentences':>12}{'tokens':>14}{'MB of text':>12}"]
    for name, split in content.items():
        lines.append(
            f"{name:<10}{split['documents']:>12,}{split['sentences']:>12,}"
            f"{split['tokens']:>14,}{split['text_bytes'] / 1e6:>12.1f}"
        )
    return "\n".join(lines)


def _format_table(store: TokenStore, config: PretrainConfig) -> str:
    head = ("format", "sequences", "mean length", "short", "crossed", "next", "random", "truncated")
    lines = ["{:<16}{:>12}{:>13}{:>8}{:>10}{:>8}{:>8}{:>12}".format(*head)]
    for name in BUILDERS:
        if name in PAIR_FORMATS and store.document_count < 2:
            lines.append(f"{name:<16}needs a second document")
        else:
            changed = replace(config, input_format=name, next_sentence_prediction=False)
            lines.append(name.ljust(16) + _format_row(store, changed))
    return "\n".join(lines)


def _format_row(store: TokenStore, config: PretrainConfig) -> str:
    """What `config.input_format` makes of a pass over `store`, in the table's columns."""
    samples = build_index(store, config).all
    # `short`: below half of `max_length`; `crossed`: document boundaries inside sequences.
    short = (samples.lengths < config.max_length / 2).mean()
    crossed = 0 if samples.is_pair else len(samples.starts) - len(samples)
    # `truncated`: tokens of the corpus that no sequence holds; a random segment is another's.
    from_corpus = np.ones(len(samples.starts), bool)
    is_next, is_random = (samples.next_sentence == kind for kind in (IS_NEXT, IS_RANDOM))
    if samples.is_pair:
        from_corpus[1::2] = is_next
    held = int((samples.ends - samples.starts)[from_corpus].sum())
    return (
        f"{len(samples):>12,}{samples.lengths.mean():>13.1f}{short:>8.1%}"
        f"{crossed:>10,}{is_next.mean():>8.1%}{is_random.mean():>8.1%}"
        f"{int(store.sentence_ends[-1]) - held:>12,}"
    )
