"""SentencePiece's unigram model (Kudo, 2018) with the special tokens of SKTBrain's KoBERT."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import filterfalse, groupby
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as schema
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from configs.errors import InputError, named
from tokenizer.base import SPECIAL_NAMES, SpecialTokens, Tokenizer, find_special, unusual_names

MODEL_FILE = "spiece.model"
SPACE = "▁"
RESERVED = "▅"
"""stands for unknown pieces in the trainer, which leaves out each text that holds it"""
KOBERT_SPECIAL: dict[str, Any] = {
    "unk_id": 0,
    "pad_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    "unk_piece": "[UNK]",
    "pad_piece": "[PAD]",
    "bos_piece": "[CLS]",
    "eos_piece": "[SEP]",
    "control_symbols": ["[MASK]"],
}
"""the trainer's options; control symbols are numbered after the rest"""
CHARACTER_COVERAGE = 0.9995
LONGEST_TEXT = 1 << 24
"""bytes; the library leaves out longer training texts without a word"""
TRAINING_THREADS = 8
"""fixed, on any machine: sums are rounded differently for each number of threads"""
SCORE_STEPS = 1024
"""grid points per nat of a trained piece's log-probability"""
COMPATIBILITY_JAMO = re.compile("[\u3130-\u318f]")
LETTERS = "".join(map(chr, range(0x3131, 0x3164)))
"""the 51 modern compatibility jamo, ㄱ to ㅣ"""
HANGUL = re.compile("[가-힣]")


@dataclass(frozen=True)
class Cleaning:
    """What transformers' XLNetTokenizer, from which KoBERT's derives, does before the model.

    Its sixth rule, for pieces such as `5,`, finds none in KoBERT's vocabulary.
    """

    remove_space: bool = False
    """fold all white space"""
    straight_quotes: bool = False
    """write `` and '' as one double quote"""
    keep_accents: bool = True
    """leave combining marks; else NFKD, and they go"""
    lowercase: bool = False

    def __call__(self, text: str) -> str:
        """The text as the model gets it."""
        if self.remove_space:
            text = " ".join(text.split())
        if self.straight_quotes:
            text = text.replace("``", '"').replace("''", '"')
        if not self.keep_accents:
            text = unicodedata.normalize("NFKD", text)
            text = "".join(filterfalse(unicodedata.combining, text))
        return text.lower() if self.lowercase else text

    def steps(self) -> list[normalizers.Normalizer]:
        """The same for the `tokenizers` library."""
        steps: list[normalizers.Normalizer] = []
        if self.remove_space:
            steps.append(normalizers.Replace(_any_of(str.isspace), " "))
        if self.straight_quotes:
            steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        if not self.keep_accents:
            steps += [normalizers.NFKD(), normalizers.Replace(_any_of(unicodedata.combining), "")]
        return [*steps, normalizers.Lowercase()] if self.lowercase else steps


@cache
def _any_of(belongs: Callable[[str], object]) -> Regex:
    """One of the characters that `belongs` is true of."""
    every = [character for character in map(chr, range(0x110000)) if belongs(character)]
    # In a run of neighbours a character's number and its place in the list grow alike.
    runs = groupby(enumerate(every), key=lambda pair: ord(pair[1]) - pair[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(run) for _, run in runs)]
    return Regex("[" + "".join(f"{first}-{last}" for first, last in ends) + "]")


class SentencePiece(Tokenizer):
    """KoBERT's tokenizer.

    Args:
        model: a serialised SentencePiece model.
        cleaning: what is done to texts before.
        names: what the special tokens are called, by role; None: as usual.

    Raises:
        InputError: no such model, one of another algorithm, or one without a special token.
    """

    kind = "sentencepiece"

    def __init__(
        self, model: bytes, cleaning: Cleaning | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        self.proto, self.cleaning = _parse(model), cleaning or Cleaning()
        self.pieces = [entry.piece for entry in self.proto.pieces]
        self.special = _close_special(self.proto, self.pieces, names)
        self.model = self.proto.SerializeToString(deterministic=True)
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=self.model)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """By SentencePiece, after cleaning."""
        if self.cleaning != Cleaning():
            texts = [self.cleaning(text) for text in texts]
        threads = os.cpu_count() or 1
        ids: list[list[int]] = self.processor.encode(texts, num_threads=threads)
        return ids

    def decode(self, ids: list[int]) -> str:
        """By SentencePiece, but for special tokens, which it would leave out."""
        special = set(self.special.ids)
        runs = [(shown, list(run)) for shown, run in groupby(ids, key=special.__contains__)]
        return " ".join(
            " ".join(self.pieces[number] for number in run) if shown else self.processor.decode(run)
            for shown, run in runs
        )

    def normalize(self, text: str) -> str:
        """By the rules in the model, after cleaning."""
        normal: str = self.processor.normalize(self.cleaning(text))
        return normal.replace(SPACE, " ").removeprefix(" ")

    def write_model(self, folder: Path) -> None:
        """One serialised model."""
        (folder / MODEL_FILE).write_bytes(self.model)

    def new_backend(self) -> Backend:
        """The same model for the `tokenizers` library, after transformers' SpmConverter.

        It adds up scores in float64, so in a published model it may cut a run such as "......."
        elsewhere among equally likely cuts; trained models are free of this.
        """
        entries = [(entry.piece, entry.score) for entry in self.proto.pieces]
        backend = Backend(models.Unigram(entries, unk_id=self.special.unk))
        steps: list[normalizers.Normalizer] = [
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Replace(Regex("^ | $"), ""),
        ]
        charsmap = self.proto.normalizer_spec.precompiled_charsmap
        if charsmap:
            # The library maps a short grapheme by the beginning of it that the map knows, and
            # drops the rest: of a letter and two marks, the second mark. NFC before it makes one
            # character of them where there is one; NFC behind it joins what the map yields apart.
            nfc = normalizers.NFC()
            steps = [nfc, normalizers.Precompiled(charsmap), nfc, *steps]
        backend.normalizer = normalizers.Sequence([*self.cleaning.steps(), *steps])
        backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
        backend.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
        return backend

    def _continues_word(self, piece: str) -> bool:
        return not piece.startswith(SPACE)

    def _bytes_of(self, piece: str) -> bytes:
        return piece.replace(SPACE, " ").encode()

    def _identity(self) -> object:
        model, settings = hashlib.sha256(self.model).hexdigest(), self.settings()
        return [model, settings] if settings else model

    def settings(self) -> dict[str, object]:
        """Special tokens of unusual names, and what is cleaned."""
        settings = unusual_names(self.pieces, self.special, angular=False)
        if self.cleaning != Cleaning():
            settings["do_lower_case"] = self.cleaning.lowercase
        if self.cleaning.straight_quotes:
            settings["keep_accents"] = self.cleaning.keep_accents
            settings["remove_space"] = self.cleaning.remove_space
        return settings


def read_sentencepiece(
    path: Path, switches: Mapping[str, bool | None], names: Mapping[str, str]
) -> SentencePiece:
    """The tokenizer of a published `*.model` file.

    Args:
        switches: fields of tokenizer_config.json that are said: do_lower_case, and those that only
            XLNet's family has, keep_accents and remove_space.
        names: as in `SentencePiece`.
    """
    is_xlnet = "keep_accents" in switches or "remove_space" in switches
    cleaning = Cleaning(
        bool(switches.get("remove_space", is_xlnet)),
        is_xlnet,
        bool(switches.get("keep_accents", not is_xlnet)),
        bool(switches.get("do_lower_case", False)),
    )
    with named(path):
        return SentencePiece(path.read_bytes(), cleaning, names)


def train_sentencepiece(texts: list[str], vocabulary_size: int) -> SentencePiece:
    """Learn a unigram model of up to `vocabulary_size` pieces: the same text, the same model;
    raises `InputError`: `vocabulary_size` does not even hold the characters of the text."""
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rules.write_text(_normalization_rules(), encoding="utf-8")
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=(text.replace(RESERVED, " ") for text in texts),
                model_writer=model,
                vocab_size=vocabulary_size,
                # A short text has fewer pieces to give: less is told by the caller, not an error.
                hard_vocab_limit=False,
                character_coverage=CHARACTER_COVERAGE,
                required_chars=LETTERS if any(map(HANGUL.search, texts)) else "",
                normalization_rule_tsv=str(rules),
                **KOBERT_SPECIAL,
                # Neither order nor threads may decide anything: the same text, the same model.
                shuffle_input_sentence=False,
                max_sentence_length=LONGEST_TEXT,
                num_threads=TRAINING_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
            if needed is None:
                raise
            raise InputError(
                f"tokenizer.vocabulary_size={vocabulary_size} is below the {needed[1]} characters "
                "and special tokens that the text needs: raise it"
            ) from error
    return SentencePiece(_canonical(model.getvalue()))


def _normalization_rules() -> str:
    """The library's nmt_nfkc but for compatibility jamo, as its TSV of code points.

    NFKC turns them into conjoining jamo, of which no font makes the ㅋㅋㅋ and ㅠㅠ that people
    type, and joins neighbours: ㅋㅠ would become 큐.
    """
    normalizer = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")
    rules = [pair for pair in normalizer.decompile() if not COMPATIBILITY_JAMO.search(pair[0])]
    in_hexadecimal = ("\t".join(" ".join(f"{ord(c):X}" for c in part) for part in p) for p in rules)
    return "".join(f"{rule}\n" for rule in in_hexadecimal)


def _canonical(model: bytes) -> bytes:
    """The model without the name of a temporary file, and with scores on a grid.

    On the grid sums of scores are exact, in this library's float32 (up to a thousand pieces or so)
    as in the float64 of Hugging Face's: so both choose the same among equally likely pieces.
    """
    proto = schema.ModelProto.FromString(model)
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    for entry in proto.pieces:
        entry.score = round(entry.score * SCORE_STEPS) / SCORE_STEPS
    canonical: bytes = proto.SerializeToString(deterministic=True)
    return canonical


def _parse(model: bytes) -> schema.ModelProto:
    try:
        proto = schema.ModelProto.FromString(model)
    except Exception as error:  # protobuf's own class, which moves between its versions
        raise InputError("no SentencePiece model, or a damaged one: fetch it anew") from error
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    usual_spaces = normalizer.add_dummy_prefix and normalizer.remove_extra_whitespaces
    usual = usual_spaces and not (trainer.byte_fallback or trainer.treat_whitespace_as_suffix)
    if trainer.model_type != schema.TrainerSpec.UNIGRAM or not usual:
        raise InputError(
            "not a unigram model with the library's default handling of spaces and bytes: "
            "give one that is, or train one"
        )
    return proto


def _close_special(
    proto: schema.ModelProto, pieces: list[str], names: Mapping[str, str] | None
) -> SpecialTokens:
    """Find the special tokens, and see to it that text cannot name them.

    KoBERT's model lists them as user-defined pieces, which the library looks for in the text.
    """
    ids = find_special(pieces, names)
    missing = SPECIAL_NAMES.keys() - ids.keys()
    if missing:
        lacking = " or ".join(SPECIAL_NAMES[min(missing)])
        raise InputError(f"no piece {lacking}: give a model that was trained with it")
    # Of these two types the library makes ids only where it is asked for them by name: text that
    # spells one is text.
    for role, number in ids.items():
        entry = schema.ModelProto.SentencePiece
        proto.pieces[number].type = entry.UNKNOWN if role == "unk" else entry.CONTROL
    return SpecialTokens(**ids)
