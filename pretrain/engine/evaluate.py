"""Scores on the held-out documents."""

from __future__ import annotations

import math

import numpy as np
import torch

from configs.schema import ResolvedPretrainConfig
from pretrain.batch import MicroBatch
from pretrain.data.batches import heldout_batches
from pretrain.data.collate import Collator
from pretrain.data.corpus import Corpus
from pretrain.data.heldout import WordMeasure, measured
from pretrain.data.masking import make_vocabulary
from pretrain.data.store import TokenStore
from pretrain.engine.engine import Engine
from pretrain.ranks.world import World

SUMS = 6
"""that `_sums` counts of a whole micro-batch"""
LARGEST_EXPONENT = 700.0
"""beyond it there is no float"""


class Heldout:
    """The held-out text as a run scores it: always the same samples, always masked alike.

    Rate, format and length are the evaluation's own (law 8).
    """

    def __init__(self, corpus: Corpus, config: ResolvedPretrainConfig, world: World) -> None:
        self.corpus, self.config, self.world = corpus, measured(config), world
        vocabulary = make_vocabulary(corpus.tokenizer)
        self._collate = Collator(corpus.heldout, self.config, vocabulary)
        self._batches = heldout_batches(self._collate, world.rank, world.size)

    def scores(self, engine: Engine) -> dict[str, float]:
        """As `evaluate`; every rank scores its share."""
        return evaluate(engine, self._batches, self.corpus.heldout)

    def rehearse(self, engine: Engine) -> None:
        """Score the first micro-batch, for nothing but that it can be scored."""
        sources = self.corpus.heldout.sources
        _totals(engine, self._batches[:1], len(sources.names) if sources else 0)

    def unigram_loss(self) -> float:
        """As the function, for all samples."""
        return unigram_loss(self.corpus.train, heldout_batches(self._collate))

    def word_scores(self, engine: Engine) -> dict[str, float]:
        """As `score_words`, of words that are the same for every tokenizer."""
        measure = WordMeasure(self.corpus.heldout, self.config, self.corpus.tokenizer)
        return score_words(engine, measure, self.corpus.train)


def evaluate(engine: Engine, batches: list[MicroBatch], heldout: TokenStore) -> dict[str, float]:
    """MLM loss (nats per predicted token), perplexity, accuracy, bits per byte; NSP accuracy.

    Loss, accuracy and bits per byte of each source as well, as `mlm_loss/NAME` and the like, where
    the text's sources are told apart.

    Args:
        engine: the model; left in training mode.
        batches: this rank's micro-batches; ranks may have different numbers of them.
        heldout: tells how many bytes of text a token stands for, so that tokenizers compare.
    """
    names = heldout.sources.names if heldout.sources else ()
    totals, by_source = _totals(engine, batches, len(names))
    loss, correct, predicted, _, nsp_correct, pairs = totals
    mlm_loss = loss / predicted
    scores = {
        "mlm_loss": mlm_loss,
        "perplexity": math.exp(min(mlm_loss, LARGEST_EXPONENT)),
        "mlm_accuracy": correct / predicted,
        "bits_per_byte": bits_per_byte(mlm_loss, heldout),
    }
    if pairs:
        scores["nsp_accuracy"] = nsp_correct / pairs
    if heldout.sources:
        sizes = heldout.sources.tokens / np.maximum(1, heldout.sources.text_bytes)
        for name, size, (loss, correct, predicted) in zip(names, sizes.tolist(), by_source):
            if predicted:
                scores[f"mlm_loss/{name}"] = loss / predicted
                scores[f"mlm_accuracy/{name}"] = correct / predicted
                scores[f"bits_per_byte/{name}"] = loss / predicted / math.log(2) * size
    return scores


def score_words(engine: Engine, measure: WordMeasure, train: TokenStore) -> dict[str, float]:
    """Bits per UTF-8 byte of the predicted words, of the model and of the unigram distribution.

    Beside them how many words there are, and how many were lost. Empty where no word is predicted.

    Args:
        train: the text whose unigram distribution it is.
    """
    batches = measure.collate.batches(engine.world.rank, engine.world.size)
    sources = measure.by_source
    totals, by_source = _totals(engine, batches, len(sources))
    loss, correct, predicted, *_ = totals
    labels = [batch.labels_M for batch in measure.collate.batches()]
    if not labels:
        return {}
    bits = 1 / (math.log(2) * measure.predicted_bytes)
    scores = {
        "word_bits_per_byte": loss * bits,
        "word_unigram_bits_per_byte": predicted * bits * _unigram_loss(train, torch.cat(labels)),
        "word_loss": loss / predicted,
        "word_accuracy": correct / predicted,
        "words": measure.predicted,
        "words_lost": measure.drawn - measure.predicted,
    }
    for (name, (words, size)), (loss, correct, predicted) in zip(sources.items(), by_source):
        if words:
            scores[f"word_bits_per_byte/{name}"] = loss / (math.log(2) * size)
            scores[f"word_accuracy/{name}"] = correct / predicted
            scores[f"words/{name}"] = words
    return scores


def _totals(
    engine: Engine, batches: list[MicroBatch], sources: int = 0
) -> tuple[list[float], list[list[float]]]:
    """What `_sums` counts, of all micro-batches and ranks, and of each of some sources its loss,
    correct predictions and predicted tokens; the engine is left in training mode."""
    device = engine.world.device
    totals = torch.zeros(SUMS + 3 * sources, dtype=torch.float64, device=device)
    engine.train(False)
    with torch.no_grad():
        for batch in batches:
            totals += _sums(engine, batch.to(device))
    engine.train(True)
    summed = engine.world.sum(totals).tolist()
    return summed[:SUMS], [summed[at : at + 3] for at in range(SUMS, len(summed), 3)]


def _sums(engine: Engine, batch: MicroBatch) -> torch.Tensor:
    sums = engine(batch)
    pairs = torch.zeros_like(sums.nsp_correct)
    if engine.model.next_sentence:
        pairs = (batch.next_sentence_B >= 0).sum()
    # Not from a number on the host: its way to the device would be waited for.
    predicted = torch.full_like(sums.mlm_correct, len(batch.labels_M))
    values = (
        sums.mlm_loss_sum,
        sums.mlm_correct,
        predicted,
        sums.nsp_loss_sum,
        sums.nsp_correct,
        pairs,
    )
    return torch.cat([torch.stack([v.double() for v in values]), sums.by_source.flatten()])


def bits_per_byte(loss: float, store: TokenStore) -> float:
    """A loss in nats per token as bits per UTF-8 byte of the split's text.

    Text is what was read, sentences one space apart: special tokens and what only separates
    documents count on neither side.
    """
    return loss / math.log(2) * store.token_count / store.text_bytes


def unigram_loss(train: TokenStore, batches: list[MicroBatch]) -> float:
    """Cross entropy, nats, of the predicted tokens under the training text's unigram distribution.

    Counts are smoothed by one. A model that ignores the context learns about as much.
    """
    return _unigram_loss(train, torch.cat([batch.labels_M for batch in batches]))


def _unigram_loss(train: TokenStore, labels: torch.Tensor) -> float:
    counts = train.unigram_counts + 1.0
    log_probability = np.log(counts / counts.sum())
    return float(-log_probability[labels.numpy()].mean())
