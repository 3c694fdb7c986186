"""Finding out what a path holds: a saved tokenizer, or one of the published forms."""

from __future__ import annotations

from pathlib import Path

from configs.errors import InputError
from configs.json_files import read_json
from tokenizer.base import MANIFEST, Tokenizer
from tokenizer.byte_bpe import ByteBpe, read_byte_bpe
from tokenizer.unigram import read_sentencepiece
from tokenizer.wordpiece import WordPiece, read_wordpiece

BACKEND_FILE = "tokenizer.json"
"""all that newer versions of transformers save"""
BPE_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def load_tokenizer(path: Path, lowercase: bool = False) -> Tokenizer:
    """The tokenizer that `path` holds.

    Args:
        path: a folder made by `Tokenizer.save`; or a published vocabulary: a WordPiece `.txt`, a
            SentencePiece `.model`, or a folder with one of these or with GPT-2's or RoBERTa's
            `vocab.json` and `merges.txt` (`encoder.json` and `vocab.bpe`).
        lowercase: for a published WordPiece vocabulary: it is BERT's uncased kind. A folder's
            manifest, or else the `do_lower_case` of its tokenizer_config.json, goes before this.

    Raises:
        InputError: nothing there, nothing known, or damage.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist: name a tokenizer's folder or vocabulary file")
    if (path / MANIFEST).is_file():
        return _load_saved(path)
    return _load_published(path, lowercase)


def _load_saved(folder: Path) -> Tokenizer:
    manifest = read_json(folder / MANIFEST)
    lowercase, strip_accents = bool(manifest.get("do_lower_case")), manifest.get("strip_accents")
    tokenizer = _load_published(folder, lowercase, strip_accents)
    for field in ("kind", "fingerprint"):
        if getattr(tokenizer, field) != manifest.get(field):
            raise InputError(
                f"{folder}: the tokenizer's {field} is not the one in {MANIFEST}, so its files "
                "were changed or damaged: make or copy them anew"
            )
    return tokenizer


def _load_published(path: Path, lowercase: bool, strip_accents: bool | None = None) -> Tokenizer:
    if path.suffix == ".model":
        return read_sentencepiece(path)
    if path.suffix == ".txt":
        return read_wordpiece(path, lowercase)
    for vocabulary, merges in BPE_FILES:
        if (path / vocabulary).is_file() and (path / merges).is_file():
            return read_byte_bpe(path / vocabulary, path / merges)
    if (path / "vocab.txt").is_file():
        return read_wordpiece(
            path / "vocab.txt", _published_lowercase(path, lowercase), strip_accents
        )
    if models := sorted(path.glob("*.model")):
        return read_sentencepiece(models[0])
    if (path / BACKEND_FILE).is_file():
        return _read_backend(path / BACKEND_FILE)
    raise InputError(
        f"{path} holds no tokenizer: give a saved folder, a vocab.txt, a SentencePiece .model, or "
        "a folder with vocab.json and merges.txt"
    )


def _read_backend(path: Path) -> Tokenizer:
    """The tokenizer of a file of the `tokenizers` library, where ours compute the same.

    Raises:
        InputError: its model, normaliser or options are others than BERT's and RoBERTa's.
    """
    content = read_json(path)
    model, normalizer = content.get("model", {}), content.get("normalizer") or {}
    ids = dict(model.get("vocab", {})) if isinstance(model.get("vocab"), dict) else {}
    ids |= {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    pieces = sorted(ids, key=ids.__getitem__)
    if [ids[piece] for piece in pieces] != list(range(len(pieces))) or not pieces:
        raise InputError(f"{path}: the ids are not 0 to n - 1: give the vocabulary's own files")
    if model.get("type") == "WordPiece" and _is_bert_normalizer(normalizer):
        return WordPiece(pieces, normalizer["lowercase"])
    is_byte_level = (content.get("pre_tokenizer") or {}).get("type") == "ByteLevel"
    if model.get("type") == "BPE" and is_byte_level and not normalizer:
        merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
        return ByteBpe(pieces, merges)
    raise InputError(
        f"{path}: a {model.get('type')} tokenizer with these options is not computed here, only "
        "BERT's WordPiece and RoBERTa's byte-level BPE: give a vocab.txt, a SentencePiece .model, "
        "or vocab.json and merges.txt"
    )


def _is_bert_normalizer(normalizer: dict) -> bool:
    """Whether it strips accents exactly where it makes letters small, as our WordPiece does."""
    lowercase = normalizer.get("lowercase")
    return (
        normalizer.get("type") == "BertNormalizer"
        and normalizer.get("clean_text")
        and normalizer.get("handle_chinese_chars")
        and normalizer.get("strip_accents") in (None, lowercase)
    )


def _published_lowercase(folder: Path, otherwise: bool) -> bool:
    config = folder / "tokenizer_config.json"
    return read_json(config).get("do_lower_case", otherwise) if config.is_file() else otherwise
