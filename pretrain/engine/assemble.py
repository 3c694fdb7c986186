"""Where tokenizer, data path and model meet."""

from __future__ import annotations

import numpy as np

from configs.schema import PretrainConfig
from pretrain.data.masking import Vocabulary
from pretrain.model.pretraining import PretrainingModel
from tokenizer.base import Tokenizer


def make_model(config: PretrainConfig, tokenizer: Tokenizer) -> PretrainingModel:
    """The model of a configuration, its weights not yet set."""
    return PretrainingModel(
        config.model,
        tokenizer.vocabulary_size,
        tokenizer.special.pad,
        config.next_sentence_prediction,
        config.engine.activation_checkpointing,
    )


def make_vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """What the data path has to know of a tokenizer."""
    special = tokenizer.special
    ordinary = np.setdiff1d(np.arange(tokenizer.vocabulary_size), special.ids)
    return Vocabulary(special.cls, special.sep, special.mask, ordinary, tokenizer.continues_word)
