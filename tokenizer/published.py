"""What the JSON files beside a published vocabulary say of its tokenizer.

Fields of tokenizer_config.json are honoured, have one value here, or change no id; a field in none
of the lists is told of.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.system.files import find_file
from configs.system.json_files import read_json, shown
from tokenizer.base import SPECIAL_NAMES

logger = logging.getLogger(__name__)

CONFIG = "tokenizer_config.json"
SPECIAL_MAP = "special_tokens_map.json"
ADDED = "added_tokens.json"

SWITCHES = {
    "wordpiece": ("do_lower_case", "strip_accents", "tokenize_chinese_chars"),
    "byte-bpe": ("add_prefix_space",),
    "sentencepiece": ("do_lower_case", "keep_accents", "remove_space"),
}
"""fields that are honoured, by the kind of tokenizer that they mean something to"""
CLASSES: dict[str, tuple[str | None, dict[str, bool | None]]] = {
    **dict.fromkeys(
        ("Bert", "DistilBert", "Electra"),
        (
            "wordpiece",
            {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
        ),
    ),
    **dict.fromkeys(("Roberta", "GPT2"), ("byte-bpe", {"add_prefix_space": False})),
    "KoBERT": (
        "sentencepiece",
        {"do_lower_case": False, "keep_accents": False, "remove_space": True},
    ),
    **dict.fromkeys(("PreTrained", "TokenizersBackend"), (None, {})),
}
"""transformers' classes, without `Tokenizer`: the kind, and what they do where nothing is said"""
ONE_VALUE: dict[str, tuple[object, ...]] = {
    "do_basic_tokenize": (True,),
    "never_split": (None, []),
    "clean_text": (True,),
    "wordpieces_prefix": ("##",),
    "max_input_chars_per_word": (100,),
    "sp_model_kwargs": (None, {}),
    "legacy": (None, True),
    "dropout": (None, 0, 0.0),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
    "fuse_unk": (None, False),
    "continuing_subword_prefix": (None, "", "##"),
    "end_of_word_suffix": (None, ""),
    "normalization": (None, False),
    "word_tokenizer_type": (None, "basic"),
    "subword_tokenizer_type": (None, "wordpiece"),
    "add_bos_token": (None, False),
    "add_eos_token": (None, False),
    "truncation_side": (None, "right"),
    "auto_map": (None,),
}
"""fields that change ids, and what is computed here"""
HARMLESS = """
    tokenizer_class model_input_names added_tokens_decoder additional_special_tokens
    extra_special_tokens model_specific_special_tokens bos_token eos_token
    model_max_length max_len max_length stride truncation_strategy padding pad_to_multiple_of
    padding_side pad_token_type_id
    name_or_path _name_or_path special_tokens_map_file tokenizer_file vocab_file merges_file
    processor_class chat_template backend is_local local_files_only init_inputs use_fast from_slow
    clean_up_tokenization_spaces errors trim_offsets split_special_tokens verbose
    composed searched_tokens
    """
LONGEST_ID = 9
"""digits; Python refuses to read some thousands"""
NOT_SEARCHED = ("<|endoftext|>", "<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")
"""special tokens of published vocabularies that no text means"""


@dataclass(frozen=True)
class Settings:
    """What stands beside a vocabulary."""

    path: Path
    """the file that said it, for messages"""
    content: Mapping[str, Any]
    """of tokenizer_config.json, and what only special_tokens_map.json says"""
    added: Mapping[str, int]
    """ids of tokens that were added to the vocabulary"""
    searched: tuple[str, ...] = ()
    """tokens that texts may be searched for, as far as these files say it"""

    @property
    def tokenizer_class(self) -> str | None:
        """Its name without `Tokenizer` and `Fast`."""
        name = self.content.get("tokenizer_class")
        if name is None:
            return None
        if not isinstance(name, str):
            raise InputError(f"{self.path}: tokenizer_class={shown(name)} is no name")
        return name.removesuffix("Fast").replace("TokenizerLegacy", "").removesuffix("Tokenizer")

    @property
    def kind(self) -> str | None:
        """The kind of tokenizer that its class is of; None: of any; raises `InputError`: a class
        that is not computed here."""
        name = self.tokenizer_class
        if name is None:
            return None
        if name not in CLASSES:
            raise InputError(
                f"{self.path}: tokenizer_class={shown(self.content['tokenizer_class'])} is not "
                "computed here, for it changes texts or ids by rules of its own: choose a "
                f"tokenizer of {', '.join(CLASSES)}"
            )
        return CLASSES[name][0]

    @cached_property
    def names(self) -> dict[str, str]:
        """What the special tokens are called, by role, as far as it is said."""
        named = {role: token_name(self.path, self.content, f"{role}_token") for role in ROLES}
        return {role: name for role, name in named.items() if name is not None}

    @cached_property
    def not_searched(self) -> set[str]:
        """Special tokens whose names in a text are text like any other."""
        ends = [token_name(self.path, self.content, f"{end}_token") for end in ("bos", "eos")]
        usual = (name for pair in SPECIAL_NAMES.values() for name in pair)
        return {
            *self.names.values(),
            *(end for end in ends if end is not None),
            *usual,
            *NOT_SEARCHED,
        }

    def switches(self, kind: str) -> dict[str, bool | None]:
        """Those fields that decide ids of this kind: as said, or as the class has them."""
        defaults = CLASSES.get(self.tokenizer_class or "", (None, {}))[1]
        values = {}
        for name in SWITCHES[kind]:
            if name in self.content or name in defaults:
                value = self.content.get(name, defaults.get(name))
                if type(value) is not bool and not (value is None and name == "strip_accents"):
                    raise InputError(f"{self.path}: {name}={shown(value)} is no true or false")
                values[name] = value
        return values

    def check(self, kind: str) -> None:
        """Raise `InputError` for what is not computed here; tell what is not used."""
        if self.kind not in (None, kind):
            raise InputError(
                f"{self.path}: tokenizer_class={shown(self.content['tokenizer_class'])}, but the "
                f"vocabulary beside it is of kind {kind}: they do not belong together"
            )
        for name, allowed in ONE_VALUE.items():
            value = self.content.get(name, allowed[0])
            if not any(value == one and type(value) is type(one) for one in allowed):
                raise InputError(
                    f"{self.path}: {name}={shown(value)} is not computed here, only "
                    f"{name}={shown(allowed[0])}: choose a tokenizer of that kind"
                )
        roles = (f"{role}_token" for role in ROLES)
        known = {*ONE_VALUE, *HARMLESS.split(), *SWITCHES[kind], *roles}
        rest = sorted(self.content.keys() - known)
        if rest and os.environ.get("RANK", "0") == "0":
            logger.warning(f"{self.path}: fields not used: {', '.join(rest)}")

    def extended(self, pieces: list[str], path: Path) -> list[str]:
        """A vocabulary with the tokens that were added to it, and with all that are named; raises
        `InputError`: they contradict the vocabulary in `path`, or are looked for in the text."""
        pieces = add_tokens(pieces, self.added, path, self.path)
        present = set(pieces)
        for role, name in self.names.items():
            if name not in present:
                raise InputError(
                    f"{self.path}: {role}_token={shown(name)}, which {path.name} does not have: "
                    "correct one of them"
                )
        return pieces


ROLES = tuple(SPECIAL_NAMES)


def add_tokens(pieces: list[str], added: Mapping[str, int], path: Path, source: Path) -> list[str]:
    """`pieces` with those of `added` that are not there yet, each at its id."""
    longer = list(pieces)
    for name, number in sorted(added.items(), key=lambda item: item[1]):
        if number == len(longer):
            longer.append(name)
        elif number > len(longer) or number < 0 or longer[number] != name:
            raise InputError(
                f"{source}: the added token {shown(name)} has the id {number}, which does not fit "
                f"{path.name} with its {len(pieces):,} pieces: correct one of them"
            )
    return longer


def read_settings(folder: Path) -> Settings:
    """What tokenizer_config.json, special_tokens_map.json and added_tokens.json say; raises
    `InputError`: one of them is damaged, or they contradict one another."""
    path = find_file(folder, CONFIG)
    content = read_json(path) if path else {}
    special = find_file(folder, SPECIAL_MAP)
    if special:
        content = _with_special_map(folder / CONFIG, content, special, read_json(special))
    settings = Settings(path or special or folder / CONFIG, content, {})
    added, searched = _added_tokens(folder, settings)
    return Settings(settings.path, content, added, searched)


def token_name(path: Path, content: Mapping[str, Any], field: str) -> str | None:
    """The name of a special token, which may stand in a table with its options."""
    value = content.get(field)
    name = value.get("content") if isinstance(value, dict) else value
    if (name is not None and not isinstance(name, str)) or (value is not None and name is None):
        raise InputError(f"{path}: {field}={shown(value)} names no token")
    return name


def _with_special_map(
    config: Path, content: dict[str, Any], special: Path, mapped: dict[str, Any]
) -> dict[str, Any]:
    fields = [f"{role}_token" for role in (*ROLES, "bos", "eos")]
    for field in fields:
        one, other = token_name(config, content, field), token_name(special, mapped, field)
        if one is not None and other is not None and one != other:
            raise InputError(
                f"{config}: {field}={shown(one)}, but {shown(other)} in {special.name}: correct "
                "one of them"
            )
    unsaid = {name: value for name, value in mapped.items() if content.get(name) is None}
    return {**content, **unsaid}


def _added_tokens(folder: Path, settings: Settings) -> tuple[dict[str, int], tuple[str, ...]]:
    """(names to ids, all names that texts may be searched for)."""
    added: dict[str, int] = {}
    if path := find_file(folder, ADDED):
        added |= read_json(path)
    for name, number in added.items():
        if type(number) is not int:
            raise InputError(f"{path}: the added token {shown(name)} has the id {shown(number)}")
    decoder = settings.content.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise InputError(f"{settings.path}: added_tokens_decoder is no table of tokens")
    for number, token in decoder.items():
        said = token_name(settings.path, {"added_tokens_decoder": token}, "added_tokens_decoder")
        is_id = number.isdecimal() and len(number) <= LONGEST_ID
        if said is None or not is_id or added.get(said, int(number)) != int(number):
            raise InputError(
                f"{settings.path}: added_tokens_decoder has {shown(token)} as {shown(number)}, "
                f"which is no token with an id, or not the id in {ADDED}"
            )
        added[said] = int(number)
    special = _listed(settings, "additional_special_tokens")
    special += _listed(settings, "extra_special_tokens")
    return added, (*added, *special)


def _listed(settings: Settings, field: str) -> list[str]:
    values = settings.content.get(field) or []
    values = list(values.values()) if isinstance(values, dict) else values
    if not isinstance(values, list):
        raise InputError(f"{settings.path}: {field}={shown(values)} is no list of tokens")
    names = [token_name(settings.path, {field: value}, field) for value in values]
    return [name for name in names if name is not None]


def check_searched(names: list[str], not_searched: set[str], path: Path) -> None:
    """Raise `InputError` where a token's name inside a text would become that token."""
    for name in names:
        if name not in not_searched:
            raise InputError(
                f"{path}: texts are searched for the added token {shown(name)} before anything "
                "else, which is not computed here: choose a tokenizer without added tokens"
            )
