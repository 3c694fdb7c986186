"""What can be chosen of text: sources, tokenizer, masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from configs.checks import (
    require,
    require_between,
    require_encoding,
    require_fraction,
    require_visible,
)


@dataclass(frozen=True)
class SourceConfig:
    """Where documents come from."""

    kind: Literal["installed-docs", "text", "jsonl", "csv", "parquet", "hub"] = "installed-docs"
    """installed-docs: English prose of Python and the libraries that this project requires; text,
    jsonl, csv, parquet: files; hub: a Hugging Face data set by name, streamed"""
    path: Optional[str] = None
    """file, folder, glob (also .gz, .xz, .zst, .bz2) or, for `hub`, the data set's name"""
    documents: Literal["blank-line", "line"] = "blank-line"
    """for text: one sentence a line and blank lines between documents, or one document a line"""
    column: str = "text"
    """for jsonl, csv, parquet, hub: the field that holds the text"""
    subset: Optional[str] = None
    """for hub: the configuration's name, such as 20231101.en"""
    split: str = "train"
    """for hub: the split to read"""
    encoding: str = "utf-8"
    """of text, jsonl and csv files, and of columns of bytes: utf-16, cp1252, cp949, ..."""
    longest_document_megabytes: float = 32.0
    """a longer document, or row of a file, is refused: memory must hold several times as much"""
    weight: float = 1.0
    """times each document is used per epoch; 0.5 keeps every second one, 2 repeats each"""
    name: Optional[str] = None
    """what its held-out figures are called, where there are several sources (mlm_loss/NAME); null:
    as its file, folder or data set"""

    def __post_init__(self) -> None:
        require_visible("data.sources.N.path", self.path)
        require_visible("data.sources.N.name", self.name)
        require(
            self.name is None or (0 < len(self.name) <= 60 and "/" not in self.name),
            f"data.sources: name={self.name} must have 1 to 60 characters and no slash",
        )
        needs_path = self.kind != "installed-docs"
        require(
            not needs_path or bool(self.path),
            f"data.sources: a source of kind '{self.kind}' has no path: "
            "give your own text, e.g. data.sources.0.path=/data/wiki.jsonl",
        )
        require(
            needs_path or not self.path,
            f"data.sources: path={self.path} has no meaning for a source of kind '{self.kind}': "
            "name the kind as well, e.g. data.sources.0.kind=text",
        )
        require_encoding("data.sources.N.encoding", self.encoding)
        longest = self.longest_document_megabytes
        require_between("data.sources: longest_document_megabytes", longest, 0.001, 2000, ends=True)
        require(
            0 < self.weight < float("inf"),
            f"data.sources: weight={self.weight} must be above 0 and finite",
        )


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it is kept."""

    sources: list[SourceConfig] = field(default_factory=lambda: [SourceConfig()])
    """where documents come from; several are mixed by their weights"""
    language: Literal["en", "ko"] = "en"
    """rules for splitting documents into sentences"""
    heldout_fraction: float = 0.02
    """share of documents held out for evaluation, chosen by a hash of their content"""
    cache: str = "~/.cache/masklab"
    """folder of tokenizers, token stores and what was measured of each machine, shared by runs"""
    piece_megabytes: float = 256.0
    """text in one piece of the store, the unit that launch/prepare.py --shard shares among jobs and
    that a killed preparation keeps; choose less for small corpora that many jobs share"""
    store: Optional[str] = None
    """a token store made by launch/prepare.py: train from it, with its tokenizer, and read no
    sources"""
    verify: Literal["once", "always", "never"] = "once"
    """the store against its hashes, in the background, and before each checkpoint what was used
    until then: once on each node for as long as a file stays as it is, at every start, or never"""

    def __post_init__(self) -> None:
        require_visible("data.cache", self.cache)
        require_visible("data.store", self.store)
        require(len(self.sources) > 0, "data.sources is empty: name at least one source of text")
        names = [source.name for source in self.sources if source.name]
        twice = [name for name in names if names.count(name) > 1]
        require(
            not twice,
            f"data.sources: name={', '.join(twice[:1])} stands there twice: give each its own",
        )
        require_between("data.heldout_fraction", self.heldout_fraction, 0, 0.5)
        require_between("data.piece_megabytes", self.piece_megabytes, 0.001, 10**6, ends=True)


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes token ids."""

    kind: Literal["wordpiece", "byte-bpe", "sentencepiece"] = "byte-bpe"
    """WordPiece (BERT), byte-level BPE (RoBERTa) or SentencePiece unigram (KoBERT)"""
    vocabulary_size: int = 8192
    """entries, special tokens included; ignored when `path` names a finished tokenizer"""
    lowercase: bool = False
    """for wordpiece: lower-case and strip accents (BERT's uncased models)"""
    strip_accents: Optional[bool] = None
    """for a wordpiece tokenizer that is trained: null: as lowercase, like BERT; false keeps accents
    and Korean syllables, which true takes apart into jamo"""
    path: Optional[str] = None
    """a saved tokenizer folder or a published vocabulary (vocab.txt, spiece.model, or a folder with
    vocab.json and merges.txt) instead of training one"""
    training_megabytes: int = 64
    """text read, at most, to train the vocabulary"""
    allow_smaller_vocabulary: bool = False
    """accept fewer entries where the text cannot fill vocabulary_size"""

    def __post_init__(self) -> None:
        require_visible("tokenizer.path", self.path)
        require(
            self.vocabulary_size >= 64,
            f"tokenizer.vocabulary_size={self.vocabulary_size} is too small: choose 64 or more",
        )
        require(
            self.training_megabytes > 0,
            f"tokenizer.training_megabytes={self.training_megabytes} must be above 0",
        )
        require(
            self.strip_accents is None or (self.kind == "wordpiece" and not self.path),
            f"tokenizer.strip_accents={self.strip_accents} is for a tokenizer of kind wordpiece "
            "that is trained: a folder at tokenizer.path says so by itself "
            "(tokenizer_config.json), and no other kind strips accents",
        )


@dataclass(frozen=True)
class MaskingConfig:
    """Which tokens are predicted, and what stands in their place (BERT, section 3.1)."""

    probability: float = 0.15
    """share of tokens to predict"""
    final_probability: Optional[float] = None
    """that share in the last step, to which it moves in a line along the run; null: it stays. The
    tokens of a lower share are among those of a higher one, but for some whole words"""
    mask_share: float = 0.8
    """share of those shown as the mask token"""
    random_share: float = 0.1
    """share of those shown as a random token; the rest stays as it is"""
    unit: Literal["token", "word", "span"] = "token"
    """what is chosen. word: whole words, as BERT's script does: a word that would exceed the share
    is skipped; where no other fits, single tokens of it complete the share, so that a text without
    spaces is masked as by tokens. span: runs of 1 to 10 whole words, 3.8 on average, which are
    shown alike (SpanBERT, Joshi et al. 2020, section 3.1); the last is cut where the share is
    reached"""

    def __post_init__(self) -> None:
        require_between("masking.probability", self.probability, 0, 1)
        if self.final_probability is not None:
            require_between("masking.final_probability", self.final_probability, 0, 1)
        require_fraction("masking.mask_share", self.mask_share)
        require_fraction("masking.random_share", self.random_share)
        require(
            self.mask_share + self.random_share <= 1.0 + 1e-9,
            "masking.mask_share + masking.random_share exceed 1: lower one of them",
        )
