"""Byte-level BPE (GPT-2, section 2.2; RoBERTa, section 4.4): any text, no preprocessing."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from configs.errors import InputError
from tokenizer.base import SPECIAL_NAMES, BackendTokenizer, SpecialTokens, find_special

SPECIAL_PIECES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MIN_FREQUENCY = 2
SPACES = ("Ġ", "Ċ", "ĉ", "č")
"""how the byte alphabet writes space, newline, tab and carriage return"""


class ByteBpe(BackendTokenizer):
    """RoBERTa's tokenizer: no text is unknown, and every text decodes to itself.

    Args:
        pieces: the piece of each id. Special tokens that it lacks are appended, so that text keeps
            the published ids.
        merges: pairs of pieces, first to last.

    Raises:
        InputError: a merge makes a piece that the vocabulary lacks.
    """

    kind = "byte-bpe"
    sentence_prefix = " "

    def __init__(self, pieces: list[str], merges: list[tuple[str, str]]) -> None:
        self.pieces = _with_special(pieces)
        self.special = SpecialTokens(**find_special(self.pieces))
        self.merges = merges
        vocabulary = {piece: number for number, piece in enumerate(self.pieces)}
        for left, right in merges:
            if not {left, right, left + right} <= vocabulary.keys():
                raise InputError(
                    f"the merge '{left} {right}' is not in the vocabulary: "
                    "give the vocabulary and the merges of one model"
                )
        self.backend = Backend(models.BPE(vocabulary, merges))
        self.backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self.backend.decoder = decoders.ByteLevel()

    def normalize(self, text: str) -> str:
        return text

    def _continues_word(self, piece: str) -> bool:
        return not piece.startswith(SPACES)

    def _identity(self) -> object:
        return {"pieces": self.pieces, "merges": self.merges}


def read_byte_bpe(vocabulary_file: Path, merges_file: Path) -> ByteBpe:
    """The tokenizer of GPT-2's or RoBERTa's files: piece to id as JSON, and one merge a line."""
    try:
        vocabulary, merges = models.BPE.read_file(str(vocabulary_file), str(merges_file))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(
            f"{vocabulary_file}, {merges_file.name}: not the two files of a BPE tokenizer ({error})"
        ) from error
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise InputError(f"{vocabulary_file}: the ids are not 0 to {len(vocabulary) - 1}")
    try:
        return ByteBpe(sorted(vocabulary, key=vocabulary.__getitem__), merges)
    except InputError as error:
        raise InputError(f"{merges_file}: {error}") from error


def train_byte_bpe(texts: list[str], vocabulary_size: int) -> ByteBpe:
    """Learn merges for up to `vocabulary_size` pieces: the same text gives the same pieces."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=SPECIAL_PIECES,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [(left, right) for left, right in model["merges"]]
    return ByteBpe(sorted(model["vocab"], key=model["vocab"].__getitem__), merges)


def _with_special(pieces: list[str]) -> list[str]:
    """`pieces`, with RoBERTa's names appended for the special tokens it lacks."""
    present = find_special(pieces)
    return pieces + [names[1] for role, names in SPECIAL_NAMES.items() if role not in present]
