"""What every contender of a contest trains: one shape, one batch size, one text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from configs.loader import load_config
from configs.schema import PrecisionName, PretrainConfig, ResolvedPretrainConfig

SHAPES = {
    "small": {"layers": 4, "hidden_size": 256, "heads": 4, "feed_forward_size": 1024},
    "base": {"layers": 12, "hidden_size": 768, "heads": 12, "feed_forward_size": 3072},
    "large": {"layers": 24, "hidden_size": 1024, "heads": 16, "feed_forward_size": 4096},
}
TOKENS = {"small": 2048, "base": 1024, "large": 512}
TOKENS_ON_CUDA = 65_536
"""of a step, for every size"""


@dataclass(frozen=True)
class Setting:
    """The setting of one contest. `precision` is fp32 or bf16."""

    size: str
    length: int
    precision: PrecisionName
    device: str
    dropout: float = 0.1
    next_sentence: bool = False
    overrides: tuple[str, ...] = ()

    @property
    def sequences(self) -> int:
        """Global batch, in sequences of full length."""
        tokens = TOKENS_ON_CUDA if self.device == "cuda" else TOKENS[self.size]
        return max(1, tokens // self.length)

    @property
    def name(self) -> str:
        """In file names."""
        pairs = "-nsp" if self.next_sentence else ""
        return f"{self.size}-{self.length}-{self.precision}{pairs}"

    @property
    def title(self) -> str:
        """Above tables."""
        shape = SHAPES[self.size]
        pairs = ", with NSP" if self.next_sentence else ""
        return (
            f"{shape['layers']}x{shape['hidden_size']}, {self.sequences} x {self.length} tokens, "
            f"{self.precision}, dropout {self.dropout:g}{pairs}"
        )

    def config(self, run_dir: Path) -> ResolvedPretrainConfig:
        """Our configuration of it: BERT's vocabulary size, on the text that Python carries."""
        choices = [
            f"run_dir={run_dir}",
            "tokenizer={kind: wordpiece, vocabulary_size: 30522, lowercase: true, "
            "allow_smaller_vocabulary: true}",
            *(f"model.{name}={value}" for name, value in SHAPES[self.size].items()),
            f"model.dropout={self.dropout}",
            f"model.attention_dropout={self.dropout}",
            f"max_length={self.length}",
            f"batch.sequences={self.sequences}",
            f"batch.micro_sequences={self.sequences}",
            f"engine.precision={self.precision}",
            "schedule={max_steps: 1000000}",
            "optimizer.learning_rate=1e-4",
        ]
        if self.next_sentence:
            choices += [
                "input_format=segment-pair",
                "next_sentence_prediction=true",
                "model={architecture: bert, segment_types: 2}",
            ]
        overrides = [*choices, *self.overrides]
        return load_config(PretrainConfig, "roberta_small.yaml", overrides).resolved()
