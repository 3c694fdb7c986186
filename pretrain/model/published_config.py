"""What a Hugging Face config.json may say, field by field: honoured, of one value, or harmless.

A field in none of the lists is reported and not read: published folders carry notes of their
makers (KoBERT's has `author` and `kobert_version`), which transformers passes over too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.errors import InputError
from configs.schema import ModelConfig
from configs.system.json_files import shown
from pretrain.model import modernbert_config
from pretrain.model.config_fields import check_values, count, number, switch
from pretrain.model.modernbert_config import modernbert_shape

ROBERTA_TYPES = ("roberta", "xlm-roberta", "camembert")
ROBERTA_PAD = 1
"""padding id where config.json names none"""

COUNTS = {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
NUMBERS = {
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
}
"""honoured, with transformers' defaults"""

ONE_VALUE: dict[str, tuple[object, ...]] = {
    # gelu_python is the same function without a kernel; gelu_new and others approximate it.
    "hidden_act": ("gelu", "gelu_python"),
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False, None),
    "is_encoder_decoder": (False, None),
    "add_cross_attention": (False, None),
    "cross_attention_hidden_size": (None,),
    "tie_encoder_decoder": (False, None),
    "pruned_heads": ({}, None),
    "quantization_config": (None,),
    "compression_config": (None,),
    # another class's code computes the model then, whatever model_type says
    "auto_map": (None,),
}
"""fields that change what is computed, and what is computed here"""

READ_ELSEWHERE = (
    *("model_type", "vocab_size", "pad_token_id", "tie_word_embeddings", "embedding_size"),
    "tokenizer_class",
)

HARMLESS = {
    "where and how it was saved": """
        _name_or_path name_or_path transformers_version _commit_hash architectures torch_dtype dtype
        torchscript use_bfloat16 gradient_checkpointing attn_implementation _attn_implementation
        _attn_implementation_internal _attn_implementation_autoset _experts_implementation
        task_specific_params finetuning_task custom_pipelines tf_legacy_loss""",
    "another way to the same numbers, or what else a forward pass returns": """
        chunk_size_feed_forward output_hidden_states output_attentions return_dict use_return_dict
        use_cache output_past""",
    "ids of special tokens, which the tokenizer's files name": """
        bos_token_id eos_token_id sep_token_id cls_token_id mask_token_id unk_token_id
        decoder_start_token_id prefix""",
    "heads that are not taken over": """
        classifier_dropout num_labels id2label label2id problem_type summary_type summary_use_proj
        summary_activation summary_first_dropout summary_last_dropout pooler_fc_size
        pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type
        directionality""",
    "generation of text": """
        max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
        temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
        encoder_no_repeat_ngram_size bad_words_ids num_return_sequences output_scores
        return_dict_in_generate forced_bos_token_id forced_eos_token_id remove_invalid_values
        exponential_decay_length_penalty suppress_tokens begin_suppress_tokens""",
}
"""fields that change nothing here, by the reason why"""


def model_config(content: Mapping[str, Any]) -> ModelConfig:
    """The shape that a `config.json` describes; missing fields have transformers' defaults.

    Raises:
        InputError: it asks for something that our encoder does not compute, or a field is no
            number of its kind.
    """
    kind = content.get("model_type")
    if kind not in ("bert", "modernbert", *ROBERTA_TYPES):
        raise InputError(f"model_type={shown(kind)}: choose a BERT, RoBERTa or ModernBERT model")
    if kind == "modernbert":
        return modernbert_shape(content)
    check_values(content, ONE_VALUE)
    counts = {name: count(content, name, default) for name, default in COUNTS.items()}
    numbers = {name: number(content, name, default) for name, default in NUMBERS.items()}
    _check_embedding_size(content, counts["hidden_size"])
    is_roberta = kind in ROBERTA_TYPES
    # RoBERTa's positions start after the padding id.
    first_position = padding_id(content) + 1 if is_roberta else 0
    return ModelConfig(
        architecture="roberta" if is_roberta else "bert",
        layers=counts["num_hidden_layers"],
        hidden_size=counts["hidden_size"],
        heads=counts["num_attention_heads"],
        feed_forward_size=counts["intermediate_size"],
        max_positions=counts["max_position_embeddings"] - first_position,
        segment_types=counts["type_vocab_size"],
        dropout=numbers["hidden_dropout_prob"],
        attention_dropout=numbers["attention_probs_dropout_prob"],
        layer_norm_epsilon=numbers["layer_norm_eps"],
        initializer_range=numbers["initializer_range"],
    )


def padding_id(content: Mapping[str, Any]) -> int:
    """RoBERTa's padding id, from which positions are counted."""
    return count(content, "pad_token_id", ROBERTA_PAD, least=0)


def ties_embeddings(content: Mapping[str, Any]) -> bool:
    """Whether the MLM decoder is the table of word embeddings."""
    return switch(content, "tie_word_embeddings", True)


def check_vocabulary(content: Mapping[str, Any], rows: int) -> None:
    """Raise `InputError` where config.json has another vocabulary than the table of embeddings."""
    named = count(content, "vocab_size", rows)
    if named != rows:
        raise InputError(f"vocab_size={named}, but the weights have {rows:,} word embeddings")


def unknown_fields(content: Mapping[str, Any]) -> list[str]:
    """The fields that nothing here knows."""
    harmless = " ".join(HARMLESS.values()).split()
    known = {*READ_ELSEWHERE, *harmless}
    if content.get("model_type") == "modernbert":
        own = modernbert_config
        known |= {*own.COUNTS, *own.NUMBERS, *own.ONE_VALUE, *own.READ, *own.HARMLESS}
    else:
        known |= {*COUNTS, *NUMBERS, *ONE_VALUE}
    return sorted(content.keys() - known)


def _check_embedding_size(content: Mapping[str, Any], hidden: int) -> None:
    size = content.get("embedding_size", hidden)
    if size != hidden:
        raise InputError(
            f"embedding_size={shown(size)} beside hidden_size={hidden}: embeddings of another "
            "width than the layers are not computed here: choose a model without"
        )
