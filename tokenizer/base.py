"""The one interface of all tokenizers: text to ids, ids to text, and folders that keep both."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from configs.system.files import written_aside

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

MANIFEST = "tokenizer.manifest.json"
PORTION = 50_000
"""characters, at least, of a long text's portions: the libraries hold more than a hundred bytes a
character at a time"""
UNKNOWN = "\ufffd"
"""what the unknown token says of its text"""
SPECIAL_NAMES = {
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "pad": ("[PAD]", "<pad>"),
    "mask": ("[MASK]", "<mask>"),
    "unk": ("[UNK]", "<unk>"),
}


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that text never produces, but for `unk`."""

    cls: int
    sep: int
    pad: int
    mask: int
    unk: int

    @property
    def ids(self) -> tuple[int, ...]:
        """Of all five roles."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Framing:
    """How two texts become one sequence: CLS first SEP second SEP, and what varies in it."""

    separators: int = 1
    """between the texts"""
    second_segment: int = 1
    """segment of the second text and of the last separator"""

    def __str__(self) -> str:
        return f"CLS a{' SEP' * self.separators} b SEP with b in segment {self.second_segment}"

    @property
    def special_tokens(self) -> int:
        """Of a pair."""
        return self.separators + 2


class Tokenizer(ABC):
    """Text to ids and back.

    A special token's name inside a text ("[MASK]", "<mask>") is text like any other.
    """

    kind: ClassVar[str]
    sentence_prefix: ClassVar[str] = ""
    """put before each sentence of a document but the first, so that their concatenated ids decode
    to the running text"""
    pieces: list[str]
    """the piece of each id"""
    special: SpecialTokens
    framing: Framing = Framing()
    """of pairs, in fine-tuning: that of the checkpoint; it decides no id of a text"""

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, those of special tokens included."""
        return len(self.pieces)

    @cached_property
    def continues_word(self) -> np.ndarray:
        """bool (vocabulary): True where a piece continues the word of the token before it."""
        flags = np.array([self._continues_word(piece) for piece in self.pieces], dtype=bool)
        flags[list(self.special.ids)] = False
        flags.setflags(write=False)
        return flags

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """Of each id the UTF-8 that it adds to a text, a space in front where a word may begin.

        The unknown token is U+FFFD; other special tokens are nothing.
        """
        contents = [self._bytes_of(piece) for piece in self.pieces]
        for number in self.special.ids:
            contents[number] = b""
        contents[self.special.unk] = self._bytes_of(UNKNOWN)
        return contents

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of everything that decides the ids, and of nothing else."""
        content = [self.kind, asdict(self.special), self._identity()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `folder`, or replace it, at once; `load_tokenizer` reads it back."""
        manifest = {
            "kind": self.kind,
            "vocabulary_size": self.vocabulary_size,
            "special": asdict(self.special),
            **self.settings(),
            "fingerprint": self.fingerprint,
        }
        if self.framing != Framing():
            manifest["framing"] = asdict(self.framing)
        with written_aside(Path(folder)) as aside:
            self.write_model(aside)
            (aside / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")

    @abstractmethod
    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, without special tokens; all cores share the work."""

    @abstractmethod
    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; special tokens appear by their names."""

    @abstractmethod
    def normalize(self, text: str) -> str:
        """What `decode` returns for the ids of `text` if the vocabulary misses nothing in it."""

    @abstractmethod
    def write_model(self, folder: Path) -> None:
        """Write the vocabulary under its published file names."""

    @abstractmethod
    def new_backend(self) -> Backend:
        """A fresh tokenizer of the `tokenizers` library that gives the same ids."""

    @abstractmethod
    def _continues_word(self, piece: str) -> bool:
        """Whether an ordinary piece continues a word."""

    @abstractmethod
    def _bytes_of(self, piece: str) -> bytes:
        """The UTF-8 that an ordinary piece adds to a text, a space in front of what is no
        continuation."""

    @abstractmethod
    def _identity(self) -> object:
        """What decides the ids, as JSON."""

    def settings(self) -> dict[str, object]:
        """What decides the ids and is not in the model's files, by transformers' names."""
        return {}


class BackendTokenizer(Tokenizer):
    """A tokenizer that runs on the `tokenizers` library, which is not told of special tokens:
    it would find them in the text."""

    backend: Backend

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """By the library, in all its threads."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts)]

    def decode(self, ids: list[int]) -> str:
        """By the library's decoder."""
        return self.backend.decode(ids, skip_special_tokens=False)

    def new_backend(self) -> Backend:
        """A copy of its own."""
        return self.backend.from_str(self.backend.to_str())

    def write_model(self, folder: Path) -> None:
        """The library's files: a vocabulary, and merges where there are any."""
        self.backend.model.save(str(folder))


def find_special(
    pieces: list[str], names: Mapping[str, str] | None = None, angular: bool = False
) -> dict[str, int]:
    """The ids of those special tokens that a vocabulary has, by role (cls, sep, ...).

    Args:
        names: what the special tokens of some roles are called; the others have their usual names.
        angular: `<s>` goes before `[CLS]` where a vocabulary has both.
    """
    ids = {piece: number for number, piece in enumerate(pieces)}
    special = {}
    for role, usual in SPECIAL_NAMES.items():
        ordered = reversed(usual) if angular else usual
        candidates = [names[role]] if names and role in names else ordered
        present = next((name for name in candidates if name in ids), None)
        if present is not None:
            special[role] = ids[present]
    return special


def unusual_names(pieces: list[str], special: SpecialTokens, angular: bool) -> dict[str, object]:
    """The settings that make `find_special` find just these, by transformers' names."""
    usual = find_special(pieces, angular=angular)
    return {
        f"{role}_token": pieces[number]
        for role, number in asdict(special).items()
        if usual.get(role) != number
    }


def portions(text: str, size: int = PORTION) -> list[str]:
    """A text in one or more portions, each of which ends at a space that belongs to none.

    A tokenizer gives their ids as it gives the text's: no token goes across a space. Where there is
    no space there is no cut.
    """
    parts, start = [], 0
    while len(text) - start > size:
        end = text.find(" ", start + size)
        if end < 0:
            break
        parts.append(text[start:end])
        start = end + 1
    return [*parts, text[start:]]
