"""word2vec embeddings into a bidirectional GRU (Cho et al., 2014).

Axes: B texts, L longest text, E embedding width, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from configs.schema import EmbeddingsConfig
from finetune.data.example import heldout_mask
from pretrain.data.word2vec import train_word2vec

WIDTH, WINDOW = 100, 5
HIDDEN, DENSE, DROPOUT = 256, 64, 0.4
BATCH, EPOCHS, RATE, PATIENCE = 64, 8, 1e-3, 2
LONGEST = 128
UNKNOWN = 1
"""number of a word that training has not seen; 0 is padding"""
WORD2VEC_EPOCHS = 10
Words = list[list[int]]
"""numbers of the words of each text"""


class BiGRU(nn.Module):
    """Embeddings, BiGRU, mean over the words, dense, dropout, classes."""

    def __init__(self, vectors: Tensor, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(vectors, freeze=False, padding_idx=0)
        self.gru = nn.GRU(vectors.shape[1], HIDDEN, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(2 * HIDDEN, DENSE)
        self.dropout = nn.Dropout(DROPOUT)
        self.output = nn.Linear(DENSE, classes)

    def forward(self, words_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C) of padded words; `lengths_B` on the CPU."""
        embedded = self.embedding(words_BL)
        packed = pack_padded_sequence(embedded, lengths_B, batch_first=True, enforce_sorted=False)
        states_BLD, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        mean_BD = states_BLD.sum(1) / lengths_B[:, None]
        logits_BC: Tensor = self.output(self.dropout(torch.relu(self.dense(mean_BD))))
        return logits_BC


class BiGRUClassifier:
    """Trains embeddings and network on the training texts; stops early by a tenth of them."""

    def __init__(self, skip_gram: bool, seed: int) -> None:
        self.skip_gram, self.seed = skip_gram, seed

    def fit(self, texts: Sequence[str], classes: Sequence[int]) -> BiGRUClassifier:
        """Learn; keeps the state that was best on the texts held out for that, if there are any."""
        torch.manual_seed(self.seed)
        self.numbers = number_words(texts)
        self.network = BiGRU(self._vectors(texts), max(classes) + 1)
        held = heldout_mask(texts, [str(c) for c in classes], 0.1)
        words = [self._words(text) for text in texts]
        targets = np.array(classes)
        own = np.flatnonzero(~held)
        judged = np.flatnonzero(held) if held.any() else own
        optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE)
        best, age = (-1.0, self.network.state_dict()), 0
        for epoch in range(EPOCHS):
            self.network.train()
            for chosen in _batches(words, own, np.random.default_rng([self.seed, epoch])):
                optimizer.zero_grad()
                logits = self.network(*_pad([words[i] for i in chosen]))
                loss = nn.functional.cross_entropy(logits, torch.from_numpy(targets[chosen]))
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimizer.step()
            right = self._scores([words[i] for i in judged]).argmax(1) == targets[judged]
            if right.mean() > best[0]:
                state = {k: v.clone() for k, v in self.network.state_dict().items()}
                best, age = (right.mean(), state), 0
            elif (age := age + 1) >= PATIENCE:
                break
        self.network.load_state_dict(best[1])
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """The most probable class of each text."""
        classes: np.ndarray = self._scores([self._words(text) for text in texts]).argmax(1)
        return classes

    def _vectors(self, texts: Sequence[str]) -> Tensor:
        """word2vec rows for the words' numbers; small noise for the unknown word."""
        choice = EmbeddingsConfig(skip_gram=self.skip_gram, window=WINDOW, epochs=WORD2VEC_EPOCHS)
        learnt = train_word2vec([text.split() for text in texts], WIDTH, choice, self.seed)
        vectors = torch.randn(len(self.numbers) + 2, WIDTH) * 0.1
        for word, number in self.numbers.items():
            vectors[number] = torch.from_numpy(learnt[word])
        vectors[0] = 0
        return vectors

    def _words(self, text: str) -> list[int]:
        return [self.numbers.get(word, UNKNOWN) for word in text.split()[:LONGEST]] or [UNKNOWN]

    @torch.no_grad()
    def _scores(self, words: Words) -> np.ndarray:
        self.network.eval()
        order = np.argsort([len(w) for w in words], kind="stable")
        parts = np.split(order, range(BATCH, len(order), BATCH))
        logits = [self.network(*_pad([words[i] for i in part])).numpy() for part in parts]
        return np.concatenate(logits)[np.argsort(order)]


def number_words(texts: Sequence[str]) -> dict[str, int]:
    """Of every word its rank by frequency, 2 for the commonest one."""
    counts = Counter(word for text in texts for word in text.split())
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate(ranked, start=UNKNOWN + 1)}


def _batches(words: Words, own: np.ndarray, chance: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches, in random order, of texts alike in length: sorted within runs of fifty batches."""
    order = chance.permutation(own)
    for start in range(0, len(order), 50 * BATCH):
        run = order[start : start + 50 * BATCH]
        run = run[np.argsort([len(words[i]) for i in run], kind="stable")]
        batches = np.split(run, range(BATCH, len(run), BATCH))
        yield from (batches[i] for i in chance.permutation(len(batches)))


def _pad(words: Words) -> tuple[Tensor, Tensor]:
    rows = [torch.tensor(numbers) for numbers in words]
    return pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])
