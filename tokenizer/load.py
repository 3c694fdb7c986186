"""Finding out what a path holds: a saved tokenizer, or one of the published forms."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict
from pathlib import Path

from configs.errors import InputError, named
from configs.system.files import check_regular, find_file
from configs.system.json_files import read_json, shown
from tokenizer.backend_file import BackendFile, read_backend
from tokenizer.base import MANIFEST, Framing, Tokenizer
from tokenizer.byte_bpe import COMPOSED, SEARCHED, ByteBpe, SearchedToken, read_bpe_files
from tokenizer.framing import FRAMINGS, Sources, framing_of
from tokenizer.published import CONFIG, SWITCHES, Settings, check_searched, read_settings
from tokenizer.unigram import SentencePiece, read_sentencepiece
from tokenizer.wordpiece import WordPiece, lacks_capitals, read_pieces

logger = logging.getLogger(__name__)

WORDPIECE_FILE = "vocab.txt"
BPE_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def load_tokenizer(path: Path, lowercase: bool | None = False) -> Tokenizer:
    """The tokenizer that `path` holds.

    Args:
        path: a folder made by `Tokenizer.save`; or a published vocabulary: a WordPiece `.txt`, a
            SentencePiece `.model`, or a folder with one of these, with GPT-2's or RoBERTa's
            `vocab.json` and `merges.txt` (`encoder.json` and `vocab.bpe`), or with a
            `tokenizer.json`, and with what else transformers puts beside it.
        lowercase: for a published WordPiece vocabulary: it is BERT's uncased kind. What a folder's
            own files say goes before this. None: nobody knows, so as transformers does it.

    Raises:
        InputError: nothing there, nothing known, damage, two files of a folder that disagree, or
            a setting that is not computed here.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path} does not exist: name a tokenizer's folder or vocabulary file")
    if path.is_dir():
        if find_file(path, MANIFEST):
            return _load_saved(path)
        return _load_published(path, read_settings(path), lowercase)
    check_regular(path)
    # A published folder's vocabulary is the same tokenizer by its own name.
    if path.name in (WORDPIECE_FILE, "spiece.model") and find_file(path.parent, CONFIG):
        return load_tokenizer(path.parent, lowercase)
    nothing = Settings(path, {}, {})
    if path.suffix == ".model":
        return read_sentencepiece(path, {}, {})
    if path.suffix == ".txt":
        return _wordpiece(path, nothing, None, lowercase)
    raise _nothing(path)


def load_framed(folder: Path, model_type: str | None) -> Tokenizer:
    """The tokenizer of a published model, with the framing of pairs that the model was trained on.
    `model_type`: of its config.json."""
    tokenizer = load_tokenizer(folder, lowercase=None)
    if find_file(folder, MANIFEST):
        return tokenizer
    settings = read_settings(folder)
    backend = read_backend(folder, settings.not_searched)
    sources = Sources(
        backend.post_processor if backend else None,
        settings.tokenizer_class,
        settings.content.get("model_input_names"),
        model_type,
    )
    with named(folder):
        tokenizer.framing = framing_of(sources, tokenizer.special)
    return tokenizer


def _load_saved(folder: Path) -> Tokenizer:
    path = folder / MANIFEST
    manifest = read_json(path)
    kind = manifest.get("kind")
    roles = ("cls_token", "sep_token", "pad_token", "mask_token", "unk_token")
    own = {*(SWITCHES.get(kind, ()) if isinstance(kind, str) else ()), *roles, COMPOSED, SEARCHED}
    said = {name: value for name, value in manifest.items() if name in own}
    tokenizer = _load_published(folder, Settings(path, said, {}), lowercase=False)
    for field in ("kind", "fingerprint"):
        if getattr(tokenizer, field) != manifest.get(field):
            raise InputError(
                f"{folder}: the tokenizer's {field} is not the one in {MANIFEST}, so its files "
                "were changed or damaged: make or copy them anew"
            )
    tokenizer.framing = _saved_framing(path, manifest.get("framing"))
    return tokenizer


def _saved_framing(path: Path, saved: object) -> Framing:
    if saved is None:
        return Framing()
    framing = next((one for one in FRAMINGS if asdict(one) == saved), None)
    if framing is None:
        raise InputError(f"{path}: framing={shown(saved)} is none that is written here")
    return framing


def _load_published(folder: Path, settings: Settings, lowercase: bool | None) -> Tokenizer:
    vocabularies = _vocabularies(folder)
    if len(vocabularies) > 1:
        names = ", ".join(path.name for path, _ in vocabularies)
        raise InputError(f"{folder} holds {names}: name the file whose ids are meant, or keep one")
    backend = read_backend(folder, settings.not_searched)
    if vocabularies:
        path, kind = vocabularies[0]
    elif backend:
        path, kind = backend.path, backend.kind
    else:
        raise _nothing(folder)
    if backend and backend.kind != kind:
        raise InputError(f"{backend.path} is of kind {backend.kind}, {path.name} of kind {kind}")
    settings.check(kind)
    known = {token.content for token in backend.searched} if backend else set()
    check_searched([*settings.searched], settings.not_searched | known, settings.path)
    if kind == "wordpiece":
        return _wordpiece(path, settings, backend, lowercase)
    return (_byte_bpe if kind == "byte-bpe" else _sentencepiece)(path, settings, backend)


def _nothing(path: Path) -> InputError:
    return InputError(
        f"{path} holds no tokenizer: give a saved folder, a vocab.txt, a SentencePiece .model, or "
        "a folder with vocab.json and merges.txt"
    )


def _vocabularies(folder: Path) -> list[tuple[Path, str]]:
    """The vocabulary files of a folder, and their kinds."""
    kinds = {names[0]: "byte-bpe" for names in BPE_FILES if find_file(folder, names[1])}
    kinds[WORDPIECE_FILE] = "wordpiece"
    kinds |= {path.name: "sentencepiece" for path in sorted(folder.glob("*.model"))}
    return [(path, kind) for name, kind in kinds.items() if (path := find_file(folder, name))]


def _wordpiece(
    path: Path, settings: Settings, backend: BackendFile | None, lowercase: bool | None
) -> Tokenizer:
    pieces = settings.extended(
        backend.pieces if backend and path == backend.path else read_pieces(path), path
    )
    values = _agreed("wordpiece", settings, backend, pieces, path)
    if "do_lower_case" not in values:
        values["do_lower_case"] = _unsaid_case(path, pieces, lowercase)
    with named(path):
        tokenizer = WordPiece(
            pieces,
            bool(values["do_lower_case"]),
            values.get("strip_accents"),
            bool(values.get("tokenize_chinese_chars", True)),
            settings.names,
        )
    if backend and backend.unknown != pieces[tokenizer.special.unk]:
        unknown = shown(pieces[tokenizer.special.unk])
        raise InputError(
            f"{backend.path}: unk_token={shown(backend.unknown)}, but {unknown} in "
            f"{settings.path.name}: correct one of them"
        )
    return tokenizer


def _unsaid_case(path: Path, pieces: list[str], lowercase: bool | None) -> bool:
    """transformers makes letters small where nothing is said, but not every folder means it."""
    if lowercase is False and lacks_capitals(pieces):
        raise InputError(
            f"{path}: an uncased vocabulary, without A to Z: set tokenizer.lowercase=true, or "
            f"do_lower_case in {path.with_name(CONFIG)}"
        )
    if lowercase is not None:
        return lowercase
    words = (piece for piece in pieces if not re.fullmatch(r"[\[<].*[\]>]", piece))
    # Some capitals have no small letter, and stand in uncased vocabularies too: BERT's has ℝ.
    if any(word.lower() != word for word in words):
        raise InputError(
            f"{path} has capital letters, but nothing says whether texts keep theirs: write "
            f'{{"do_lower_case": false}} (or true) into {path.with_name(CONFIG)}'
        )
    return True


def _byte_bpe(path: Path, settings: Settings, backend: BackendFile | None) -> Tokenizer:
    source = path
    if backend and path == backend.path:
        pieces, merges = backend.pieces, backend.merges
    else:
        source = path.with_name(dict(BPE_FILES)[path.name])
        pieces, merges = read_bpe_files(path, source)
    pieces = settings.extended(pieces, path)
    values = _agreed("byte-bpe", settings, backend, pieces, path)
    if backend and backend.merges != merges:
        raise _disagree(backend, path, "other merges")
    with named(source):
        has_prefix, searches = bool(values.get("add_prefix_space")), _searches(settings, backend)
        tokenizer = ByteBpe(pieces, merges, has_prefix, settings.names, *searches)
    if (lacking := tokenizer.lacking_bytes) and backend and backend.unknown:
        raise InputError(
            f"{backend.path}: no piece for {len(lacking)} of the 256 bytes, and unk_token in their "
            "place, which is not computed here: choose a tokenizer with all bytes"
        )
    if lacking:
        logger.warning(f"{path}: no piece for {len(lacking)} of the 256 bytes, which texts lose")
    return tokenizer


def _searches(
    settings: Settings, backend: BackendFile | None
) -> tuple[bool, tuple[SearchedToken, ...]]:
    """(whether texts are composed first, what they are searched for): tokenizer.json knows, or a
    manifest of ours."""
    if backend:
        return backend.normalizer is not None, tuple(backend.searched)
    said = settings.content.get(SEARCHED, [])
    try:
        searched = tuple(SearchedToken(**token) for token in said)
    except (TypeError, InputError) as error:
        raise InputError(f"{settings.path}: damaged ({error}): make or copy it anew") from error
    return settings.content.get(COMPOSED) is True, searched


def _sentencepiece(path: Path, settings: Settings, backend: BackendFile | None) -> Tokenizer:
    if backend and path == backend.path:
        raise InputError(
            f"{path}: a unigram tokenizer is read from its SentencePiece .model: put that beside it"
        )
    if path.name == "sentencepiece.bpe.model":
        raise InputError(
            f"{path}: XLM-RoBERTa's and CamemBERT's ids differ from those of their .model, which "
            "is not computed here: choose a model of another kind"
        )
    tokenizer = read_sentencepiece(path, settings.switches("sentencepiece"), settings.names)
    if len(settings.extended(tokenizer.pieces, path)) > len(tokenizer.pieces):
        raise InputError(f"{settings.path}: tokens were added to {path.name}: choose one without")
    if backend:
        _check_unigram(path, tokenizer, backend)
    return tokenizer


def _check_unigram(path: Path, tokenizer: SentencePiece, backend: BackendFile) -> None:
    """Raise `InputError` unless tokenizer.json is the model's own in the library's form."""
    own = json.loads(tokenizer.new_backend().to_str())
    parts = {
        "other pieces": (backend.pieces, tokenizer.pieces),
        "other scores": (backend.scores, [entry.score for entry in tokenizer.proto.pieces]),
        "another normalizer": (backend.normalizer, own["normalizer"]),
        "another pre_tokenizer": (backend.pre_tokenizer, own["pre_tokenizer"]),
    }
    for what, (one, other) in parts.items():
        if one != other:
            raise _disagree(backend, path, what)


def _agreed(
    kind: str, settings: Settings, backend: BackendFile | None, pieces: list[str], path: Path
) -> dict[str, bool | None]:
    """The switches, on which all files must agree, as they must on the pieces."""
    said = settings.switches(kind)
    if backend is None:
        return said
    if backend.pieces != pieces:
        differs = next((n for n, (a, b) in enumerate(zip(backend.pieces, pieces)) if a != b), None)
        what = f"{len(backend.pieces):,} pieces" if differs is None else f"another piece {differs}"
        raise _disagree(backend, path, what, f" with its {len(pieces):,}")
    for name, value in said.items():
        other = backend.switches[name]
        if _resolved(name, value, said) != _resolved(name, other, backend.switches):
            raise InputError(
                f"{backend.path} has {name}={shown(other)}, but "
                f"{settings.path.name} {name}={shown(value)}: correct one of them"
            )
    return backend.switches


def _resolved(name: str, value: bool | None, switches: dict[str, bool | None]) -> bool | None:
    """Accents are stripped, where nothing is said of them, exactly where letters become small."""
    is_open = name == "strip_accents" and value is None
    return switches.get("do_lower_case", value) if is_open else value


def _disagree(backend: BackendFile, path: Path, what: str, than: str = "") -> InputError:
    return InputError(
        f"{backend.path} has {what}, unlike {path.name}{than}: keep the one that is right"
    )
