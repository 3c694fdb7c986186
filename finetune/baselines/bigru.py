"""word2vec embeddings into a bidirectional GRU (Cho et al., 2014).

Axes: B texts, L longest text, E embedding width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from configs.schema import EmbeddingsConfig
from finetune.baselines.features import IntegerEncoder
from finetune.data.split import heldout_mask
from pretrain.data.word2vec import train_word2vec

WIDTH, WINDOW = 100, 5
HIDDEN, DENSE, DROPOUT = 256, 64, 0.4
BATCH, EPOCHS, RATE, PATIENCE = 64, 8, 1e-3, 2
LONGEST = 128
WORD2VEC_EPOCHS = 10


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
        self.encoder = IntegerEncoder(texts)
        self.network = BiGRU(self._vectors(texts), max(classes) + 1)
        held = heldout_mask(texts, [str(c) for c in classes], 0.1)
        words = [self._words(text) for text in texts]
        targets = np.array(classes)
        own = np.flatnonzero(~held)
        judged = np.flatnonzero(held) if held.any() else own
        optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE)
        best, age = (-1.0, self.network.state_dict()), 0
        for epoch in range(EPOCHS):
            self._train(words, targets, own, optimizer, np.random.default_rng([self.seed, epoch]))
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
        classes: np.ndarray = self.predict_proba(texts).argmax(1)
        return classes

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (texts, classes)."""
        scores = self._scores([self._words(text) for text in texts])
        return torch.from_numpy(scores).softmax(-1).numpy()

    def _vectors(self, texts: Sequence[str]) -> Tensor:
        """word2vec rows for the encoder's numbers; small noise for the unknown word."""
        choice = EmbeddingsConfig(skip_gram=self.skip_gram, window=WINDOW, epochs=WORD2VEC_EPOCHS)
        learnt = train_word2vec([text.split() for text in texts], WIDTH, choice, self.seed)
        vectors = torch.randn(len(self.encoder), WIDTH) * 0.1
        for word, place in self.encoder.places.items():
            vectors[place] = torch.from_numpy(learnt[word])
        vectors[0] = 0
        return vectors

    def _words(self, text: str) -> list[int]:
        return self.encoder.encode(text)[:LONGEST] or [1]

    def _train(
        self,
        words: list[list[int]],
        targets: np.ndarray,
        own: np.ndarray,
        optimizer: torch.optim.Optimizer,
        chance: np.random.Generator,
    ) -> None:
        self.network.train()
        for chosen in _batches(words, own, chance):
            optimizer.zero_grad()
            logits = self.network(*_pad([words[i] for i in chosen]))
            loss = nn.functional.cross_entropy(logits, torch.from_numpy(targets[chosen]))
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimizer.step()

    @torch.no_grad()
    def _scores(self, words: list[list[int]]) -> np.ndarray:
        self.network.eval()
        order = np.argsort([len(w) for w in words], kind="stable")
        parts = np.split(order, range(BATCH, len(order), BATCH))
        logits = [self.network(*_pad([words[i] for i in part])).numpy() for part in parts]
        return np.concatenate(logits)[np.argsort(order)]


def _batches(
    words: list[list[int]], own: np.ndarray, chance: np.random.Generator
) -> Iterator[np.ndarray]:
    """Batches, in random order, of texts alike in length: sorted within runs of fifty batches."""
    order = chance.permutation(own)
    for start in range(0, len(order), 50 * BATCH):
        run = order[start : start + 50 * BATCH]
        run = run[np.argsort([len(words[i]) for i in run], kind="stable")]
        batches = np.split(run, range(BATCH, len(run), BATCH))
        yield from (batches[i] for i in chance.permutation(len(batches)))


def _pad(words: list[list[int]]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(w) for w in words])
    padded = torch.zeros(len(words), int(lengths.max()), dtype=torch.int64)
    for row, numbers in zip(padded, words):
        row[: len(numbers)] = torch.tensor(numbers)
    return padded, lengths
