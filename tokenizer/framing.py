"""How special tokens stand around one text or two.

A pair's form belongs to the checkpoint: BERT (section 3) reads `CLS a SEP b SEP`, RoBERTa as
published `CLS a SEP SEP b SEP`, all of it segment 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.errors import InputError
from configs.system.json_files import shown
from tokenizer.base import Framing, SpecialTokens

BERT, ROBERTA = Framing(), Framing(separators=2, second_segment=0)
FRAMINGS = [Framing(separators, segment) for separators in (1, 2) for segment in (0, 1)]
"""all that can be"""
OF_CLASS = {**dict.fromkeys(("Bert", "DistilBert", "Electra", "KoBERT"), BERT), "Roberta": ROBERTA}
"""by transformers' name of a tokenizer's class, without `Tokenizer`"""
INPUTS_OF_CLASS = {"DistilBert": ["input_ids", "attention_mask"]}
"""what such a tokenizer gives to its model where `model_input_names` does not say it"""
OF_MODEL = {"bert": BERT, **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), ROBERTA)}
"""by `model_type` in config.json"""


@dataclass(frozen=True)
class Sources:
    """What a folder says of its framing, from the strongest word to the weakest."""

    post_processor: Mapping[str, Any] | None
    """of tokenizer.json"""
    tokenizer_class: str | None
    model_input_names: object
    """of tokenizer_config.json"""
    model_type: str | None


def framing_of(sources: Sources, special: SpecialTokens) -> Framing:
    """The framing that a folder asks for; raises `InputError`: it is none of BERT's and RoBERTa's
    kind, or two of its words disagree."""
    by_file = _of_post_processor(sources.post_processor, special)
    by_class = OF_CLASS.get(sources.tokenizer_class or "")
    if by_file and by_class and by_file != by_class:
        raise InputError(
            f"tokenizer.json has {by_file} for a pair, {sources.tokenizer_class}Tokenizer in "
            f"tokenizer_config.json {by_class}: correct one of them"
        )
    framing = by_file or by_class or OF_MODEL.get(sources.model_type or "", BERT)
    names = sources.model_input_names
    if names is None:
        names = INPUTS_OF_CLASS.get(sources.tokenizer_class or "")
    if names is None:
        return framing
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"tokenizer_config.json: model_input_names={shown(names)} is no list")
    # A model that is given no token types takes all as 0.
    return framing if "token_type_ids" in names else Framing(framing.separators, 0)


def _of_post_processor(content: Mapping[str, Any] | None, special: SpecialTokens) -> Framing | None:
    kind = content.get("type") if content else None
    if content is None or kind in (None, "ByteLevel"):
        return None
    if kind == "Sequence":
        steps = [s for s in content["processors"] if s["type"] != "ByteLevel"]
        if len(steps) > 1:
            raise InputError("tokenizer.json: more than one step of post_processor adds tokens")
        return _of_post_processor(steps[0] if steps else None, special)
    if kind in ("BertProcessing", "RobertaProcessing"):
        if [content["cls"][1], content["sep"][1]] != [special.cls, special.sep]:
            raise InputError("tokenizer.json: post_processor has other ids of CLS and SEP")
        return BERT if kind == "BertProcessing" else ROBERTA
    if kind == "TemplateProcessing":
        return _of_template(content, special)
    raise InputError(f"tokenizer.json: a post_processor of type {shown(kind)} is not known here")


def _of_template(content: Mapping[str, Any], special: SpecialTokens) -> Framing:
    single, pair = (_flat(content[part], content["special_tokens"]) for part in ("single", "pair"))
    first = [(special.cls, 0), ("A", 0), (special.sep, 0)]
    for framing in FRAMINGS:
        more, segment = [(special.sep, 0)] * (framing.separators - 1), framing.second_segment
        if single == first and pair == [*first, *more, ("B", segment), (special.sep, segment)]:
            return framing
    raise InputError(
        "tokenizer.json: the template of post_processor is neither CLS a SEP b SEP nor "
        "CLS a SEP SEP b SEP, as BERT's and RoBERTa's: give a tokenizer of that kind"
    )


def _flat(template: list[dict[str, Any]], names: Mapping[str, Any]) -> list[tuple[int | str, int]]:
    """(id, or A or B, and token type) of each place of a template."""
    places = []
    for entry in template:
        ((kind, content),) = entry.items()
        is_special, name = kind == "SpecialToken", content["id"]
        values = names.get(name, {"ids": []})["ids"] if is_special else [name]
        places += [(value, content["type_id"]) for value in values]
    return places
