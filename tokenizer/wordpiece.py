"""WordPiece (BERT, section 3): words and punctuation, then the longest matching pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate, chain
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from configs.errors import InputError
from tokenizer.base import (
    SPECIAL_NAMES,
    BackendTokenizer,
    SpecialTokens,
    find_special,
    unusual_names,
)

PREFIX = "##"
SPECIAL_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ALPHABET_COVERAGE = 0.9999
MIN_FREQUENCY = 2


class WordPiece(BackendTokenizer):
    """BERT's tokenizer.

    Args:
        pieces: the piece of each id; its five special tokens may stand anywhere.
        lowercase: lower-case and, unless `strip_accents` says otherwise, strip accents, as BERT's
            uncased models do.
        strip_accents: None: as `lowercase`.
        split_chinese: every Chinese character is a word of its own.
        names: what the special tokens are called, by role; None: as usual.

    Raises:
        InputError: a special token is missing, or a piece occurs twice.
    """

    kind = "wordpiece"

    def __init__(
        self,
        pieces: list[str],
        lowercase: bool,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        names: Mapping[str, str] | None = None,
    ) -> None:
        _check(pieces, names)
        self.pieces, self.lowercase, self.split_chinese = pieces, lowercase, split_chinese
        self.strip_accents = lowercase if strip_accents is None else strip_accents
        self.special = SpecialTokens(**find_special(pieces, names))
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        model = models.WordPiece(
            vocabulary, unk_token=pieces[self.special.unk], continuing_subword_prefix=PREFIX
        )
        self.backend = Backend(model)
        self.backend.normalizer = normalizers.BertNormalizer(
            lowercase=lowercase,
            strip_accents=self.strip_accents,
            handle_chinese_chars=split_chinese,
        )
        self.backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self.backend.decoder = decoders.WordPiece(prefix=PREFIX)

    def normalize(self, text: str) -> str:
        """Words and punctuation as BERT splits them, with spaces between."""
        normal = self.backend.normalizer.normalize_str(text)
        words = [word for word, _ in self.backend.pre_tokenizer.pre_tokenize_str(normal)]
        decoded: str = self.backend.decoder.decode(words)
        return decoded

    def _continues_word(self, piece: str) -> bool:
        return piece.startswith(PREFIX)

    def _bytes_of(self, piece: str) -> bytes:
        return (piece.removeprefix(PREFIX) if piece.startswith(PREFIX) else f" {piece}").encode()

    def _identity(self) -> object:
        return {**self.settings(), "pieces": self.pieces}

    def settings(self) -> dict[str, object]:
        """Special tokens of unusual names, and what becomes of case and accents."""
        settings = unusual_names(self.pieces, self.special, angular=False)
        settings["do_lower_case"] = self.lowercase
        if self.strip_accents != self.lowercase:
            settings["strip_accents"] = self.strip_accents
        if not self.split_chinese:
            settings["tokenize_chinese_chars"] = False
        return settings


def lacks_capitals(pieces: Iterable[str]) -> bool:
    """Whether a vocabulary has a to z and no A to Z: it is of an uncased model."""
    latin = {piece for piece in pieces if len(piece) == 1 and piece.isascii() and piece.isalpha()}
    return len(latin) == 26 and all(letter.islower() for letter in latin)


def read_pieces(path: Path) -> list[str]:
    """The pieces of a `vocab.txt`, one a line in the order of the ids."""
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text: give a vocab.txt, one piece a line") from error


def train_wordpiece(
    texts: list[str], vocabulary_size: int, lowercase: bool, strip_accents: bool | None = None
) -> WordPiece:
    """Learn a vocabulary of up to `vocabulary_size` pieces: the same text gives the same pieces.

    Schuster and Nakajima (2012) choose the pieces; as in every open implementation, merges go by
    frequency.
    """
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    normal = [normalizer.normalize_str(text) for text in texts]
    alphabet = _alphabet(normal, most=vocabulary_size // 4)
    # The trainer numbers "##x" pieces in the order of a randomly seeded hash map, and breaks ties
    # between merges by these numbers (huggingface/tokenizers, issue 1794). A first pass without
    # merges finds those pieces; named, sorted, as special tokens they get fixed numbers.
    single = _run_trainer(normal, SPECIAL_PIECES, alphabet, vocabulary_size=0)
    inner = sorted(piece for piece in single if piece.startswith(PREFIX))
    pieces = _run_trainer(normal, SPECIAL_PIECES + inner, alphabet, vocabulary_size)
    return WordPiece(pieces, lowercase, strip_accents)


def _run_trainer(
    texts: list[str], first: list[str], alphabet: list[str], vocabulary_size: int
) -> list[str]:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=first,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    vocabulary = backend.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _alphabet(texts: Iterable[str], most: int) -> list[str]:
    """The commonest characters that cover `ALPHABET_COVERAGE` of the text, at most `most`.

    A character stands for two pieces (x and ##x): a quarter leaves half of the vocabulary free.
    """
    counts = Counter(chain.from_iterable(texts))
    del counts[" "]
    common = sorted(counts, key=lambda character: (-counts[character], character))
    covered = accumulate(counts[character] for character in common)
    enough = ALPHABET_COVERAGE * counts.total()
    needed = 1 + sum(total < enough for total in covered)
    return common[: min(needed, most)]


def _check(pieces: list[str], names: Mapping[str, str] | None) -> None:
    missing = SPECIAL_NAMES.keys() - find_special(pieces, names).keys()
    if missing:
        usual = {role: one for role, (one, _) in SPECIAL_NAMES.items()} | dict(names or {})
        lacking = ", ".join(sorted(usual[role] for role in missing))
        raise InputError(f"no piece {lacking}: give a vocabulary of BERT's form that has it")
    repeated = [piece for piece, count in Counter(pieces).items() if count > 1]
    if repeated:
        raise InputError(f"the piece {repeated[0]!r} occurs twice: remove one of its lines")
