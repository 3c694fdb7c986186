"""Byte-level BPE (GPT-2, section 2.2; RoBERTa, section 4.4): any text, no preprocessing."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from configs.errors import InputError
from configs.system.json_files import read_json, shown
from tokenizer.base import (
    SPECIAL_NAMES,
    BackendTokenizer,
    SpecialTokens,
    find_special,
    unusual_names,
)

SPECIAL_PIECES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MIN_FREQUENCY = 2
COMPOSED, SEARCHED = "composed", "searched_tokens"
"""settings that transformers has no names for"""
SPACES = ("Ġ", "Ċ", "ĉ", "č", " ", "\t", "\n")
"""how the byte alphabet writes space, newline, tab and carriage return; and how tokens do that are
looked for in the text itself"""


@dataclass(frozen=True)
class SearchedToken:
    """A token that is looked for in the text before anything else, by the library's options."""

    content: str
    single_word: bool = False
    """not within a word"""
    lstrip: bool = False
    """takes the spaces before it"""
    rstrip: bool = False
    """takes the spaces behind it"""
    normalized: bool = True
    """looked for in the normalised text"""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not (str if name == "content" else bool) or value == "":
                raise InputError(f"searched_tokens: {name}={shown(value)} of {shown(self.content)}")


class ByteBpe(BackendTokenizer):
    """RoBERTa's tokenizer: no text is unknown, and every text decodes to itself.

    Args:
        pieces: the piece of each id. Special tokens that it lacks are appended, so that text keeps
            the published ids.
        merges: pairs of pieces, first to last.
        prefix_space: put a space before a text that begins with none.
        names: what the special tokens are called, by role; None: as usual.
        composed: bring texts into Unicode's composed form (NFC) first, as ModernBERT's does.
        searched: tokens of the vocabulary that texts are searched for, such as runs of spaces.

    Raises:
        InputError: a merge makes a piece that the vocabulary lacks.
    """

    kind = "byte-bpe"
    sentence_prefix = " "

    def __init__(
        self,
        pieces: list[str],
        merges: list[tuple[str, str]],
        prefix_space: bool = False,
        names: Mapping[str, str] | None = None,
        composed: bool = False,
        searched: Sequence[SearchedToken] = (),
    ) -> None:
        self.pieces = _with_special(pieces, names)
        self.composed, self.searched = composed, searched
        self.special = SpecialTokens(**find_special(self.pieces, names, angular=True))
        self.merges, self.prefix_space = merges, prefix_space
        vocabulary = {piece: number for number, piece in enumerate(self.pieces)}
        for left, right in merges:
            if not {left, right, left + right} <= vocabulary.keys():
                raise InputError(
                    f"the merge '{left} {right}' is not in the vocabulary: "
                    "give the vocabulary and the merges of one model"
                )
        self.backend = Backend(models.BPE(vocabulary, merges))
        self.backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
        self.backend.decoder = decoders.ByteLevel()
        if composed:
            self.backend.normalizer = normalizers.NFC()
        for token in searched:
            if token.content not in vocabulary:
                raise InputError(
                    f"searched_tokens: {shown(token.content)} is not in the vocabulary"
                )
        self.backend.add_tokens([AddedToken(**asdict(token)) for token in searched])

    @cached_property
    def lacking_bytes(self) -> list[str]:
        """Of the 256 letters that stand for bytes, those that the vocabulary has no piece for.

        Text loses them: the library passes over what it cannot spell.
        """
        return sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(self.pieces))

    def normalize(self, text: str) -> str:
        """The text, composed if it is to be, with a space in front where one is put there."""
        text = unicodedata.normalize("NFC", text) if self.composed else text
        return f" {text}" if self.prefix_space and text and text[0] != " " else text

    def _continues_word(self, piece: str) -> bool:
        return not piece.startswith(SPACES)

    def _bytes_of(self, piece: str) -> bytes:
        return b"".join(BYTES.get(letter) or letter.encode() for letter in piece)

    def _identity(self) -> object:
        return {**self.settings(), "pieces": self.pieces, "merges": self.merges}

    def settings(self) -> dict[str, object]:
        """Special tokens of unusual names, `add_prefix_space`, and what is looked for in texts."""
        settings = unusual_names(self.pieces, self.special, angular=True)
        if self.prefix_space:
            settings["add_prefix_space"] = True
        if self.composed:
            settings[COMPOSED] = True
        if self.searched:
            settings[SEARCHED] = [asdict(token) for token in self.searched]
        return settings


def byte_alphabet() -> dict[str, bytes]:
    """The byte that each letter of GPT-2's alphabet stands for.

    Bytes that print in Latin-1 are themselves; the others follow from U+0100 on, in order.
    """
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printed]
    letters = {chr(byte): byte for byte in printed}
    letters |= {chr(0x100 + number): byte for number, byte in enumerate(others)}
    return {letter: bytes([byte]) for letter, byte in letters.items()}


BYTES = byte_alphabet()


def read_bpe_files(
    vocabulary_file: Path, merges_file: Path
) -> tuple[list[str], list[tuple[str, str]]]:
    """(pieces, merges) of GPT-2's or RoBERTa's files: piece to id as JSON, and a merge a line."""
    content = read_json(vocabulary_file)
    pieces = in_order(vocabulary_file, content)
    try:
        _, merges = models.BPE.read_file(str(vocabulary_file), str(merges_file))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(
            f"{vocabulary_file}, {merges_file.name}: not the two files of a BPE tokenizer ({error})"
        ) from error
    return pieces, merges


def in_order(path: Path, ids: Mapping[str, Any]) -> list[str]:
    """The pieces of a table of their ids, which are 0 to n - 1."""
    for piece, number in ids.items():
        if type(number) is not int:
            raise InputError(f"{path}: {shown(piece)} has the id {shown(number)}: give it a number")
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"{path}: the ids are not 0 to {len(ids) - 1}")
    return sorted(ids, key=ids.__getitem__)


def train_byte_bpe(texts: list[str], vocabulary_size: int) -> ByteBpe:
    """Learn merges for up to `vocabulary_size` pieces: the same text gives the same pieces."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=SPECIAL_PIECES,
        # All 256, in an order of their own: a byte that the training text lacks must still be
        # spelt.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [(left, right) for left, right in model["merges"]]
    return ByteBpe(sorted(model["vocab"], key=model["vocab"].__getitem__), merges)


def _with_special(pieces: list[str], names: Mapping[str, str] | None) -> list[str]:
    """`pieces`, with RoBERTa's names appended for the special tokens it lacks."""
    present = find_special(pieces, names, angular=True)
    usual = {role: angular for role, (_, angular) in SPECIAL_NAMES.items()} | dict(names or {})
    return pieces + [usual[role] for role in SPECIAL_NAMES if role not in present]
