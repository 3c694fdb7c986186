"""A tokenizer as Hugging Face files that `AutoTokenizer` reads without custom code."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tokenizers import AddedToken, processors

from tokenizer.base import Tokenizer


def write_huggingface(
    tokenizer: Tokenizer, folder: Path, max_length: int, segment_types: int
) -> None:
    """Write the files transformers' AutoTokenizer needs into `folder`, beside what is there.

    One text becomes CLS text SEP, a pair what `tokenizer.framing` says.

    Args:
        folder: made if it is missing.
        max_length: longest input in tokens, special tokens included.
        segment_types: 2: the second text of a pair has token_type_ids 1; 1 or 0: all are 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.write_model(folder)
    names = {role: tokenizer.pieces[number] for role, number in asdict(tokenizer.special).items()}
    backend = tokenizer.new_backend()
    backend.add_special_tokens([_added_token(role, name) for role, name in names.items()])
    backend.post_processor = _template(tokenizer, segment_types)
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    special = {f"{role}_token": name for role, name in names.items()}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        "model_input_names": inputs if segment_types == 2 else inputs[::2],
        "clean_up_tokenization_spaces": False,
        **tokenizer.settings(),
        **special,
    }
    backend.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "special_tokens_map.json", special)


def _added_token(role: str, name: str) -> AddedToken:
    """As in RoBERTa, the mask takes the space before it: in pretraining it hid a piece with one."""
    return AddedToken(name, special=True, normalized=False, lstrip=role == "mask")


def _template(tokenizer: Tokenizer, segment_types: int) -> processors.TemplateProcessing:
    special, framing = tokenizer.special, tokenizer.framing
    second = framing.second_segment if segment_types == 2 else 0
    cls, sep = tokenizer.pieces[special.cls], tokenizer.pieces[special.sep]
    between = f"{sep}:0 " * framing.separators
    return processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls}:0 $A:0 {between}$B:{second} {sep}:{second}",
        special_tokens=[(cls, special.cls), (sep, special.sep)],
    )


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
