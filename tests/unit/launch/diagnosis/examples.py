"""What several tests of the doctor describe."""

from __future__ import annotations

from configs.loader import load_config
from configs.schema import PretrainConfig, ResolvedPretrainConfig


def base(*overrides: str) -> ResolvedPretrainConfig:
    """RoBERTa-base's configuration with these overrides."""
    return load_config(PretrainConfig, "roberta_base", list(overrides)).resolved()
