"""Hugging Face's encoders, through their public interfaces: as shipped, and as a careful user would
tune them.

All train on the same text with the same tokenizer. Where we pack sentences, they get blocks of
exactly the full length, as in their run_mlm example, so that nothing is lost to padding; with pairs
or one document a sequence they get our sequences, padded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from configs.schema import ResolvedPretrainConfig
from launch.benchmarks.contenders import Contender, Round, Setting
from pretrain.data.corpus import Corpus, prepare
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.model.convert import huggingface_config
from pretrain.model.flops import flops_per_step
from tokenizer.huggingface import write_huggingface

PAD_MULTIPLE = 32
BATCHES = 16
"""at most so many are prepared in advance for a tuned run, whose data then cost nothing"""


class HuggingFace(Contender):
    """What both ways of training share: model, tokenizer, collator, rows."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        super().__init__(setting)
        from transformers import AutoTokenizer, DataCollatorForLanguageModeling

        self.config = setting.config(folder)
        corpus = prepare(self.config)
        write_huggingface(corpus.tokenizer, folder, setting.length, self.config.model.segment_types)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        packs = self.config.input_format == "full-sentences"
        self.collate = DataCollatorForLanguageModeling(
            tokenizer,
            mlm_probability=0.15,
            # Few lengths, or a compiled model is compiled again and again.
            pad_to_multiple_of=None if packs else PAD_MULTIPLE,
        )
        self.vocabulary_size = corpus.tokenizer.vocabulary_size
        self.rows = blocks(corpus, setting) if packs else sequences(corpus, self.config)
        self.model = self.build(corpus).to(self.device)

    def build(self, corpus: Corpus) -> torch.nn.Module:
        """The model, of the class that pretrains it."""
        from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForPreTraining

        content: dict[str, Any] = huggingface_config(
            self.config.model,
            self.vocabulary_size,
            corpus.tokenizer.special,
            self.setting.next_sentence,
        )
        config = AutoConfig.for_model(**content)
        auto = AutoModelForPreTraining if self.setting.next_sentence else AutoModelForMaskedLM
        build: Callable[..., torch.nn.Module] = auto.from_config
        return build(config, attn_implementation="sdpa")

    def useful(self, rows: list[dict[str, Any]]) -> tuple[int, float]:
        """(real tokens, useful FLOPs) of training on these rows once."""
        lengths = np.array([len(row["input_ids"]) for row in rows])
        tokens = int(lengths.sum())
        flops = flops_per_step(
            self.config.model,
            self.vocabulary_size,
            lengths,
            round(0.15 * tokens),
            self.setting.next_sentence,
        )
        return tokens, flops


class Shipped(HuggingFace):
    """`transformers.Trainer` with its defaults, and its collator."""

    def run(self, seconds: float) -> Round:
        """A training of its own, from the rows' beginning."""
        import transformers

        clock = Clock(seconds)
        arguments = transformers.TrainingArguments(
            output_dir="trainer",
            per_device_train_batch_size=self.setting.sequences,
            max_steps=1_000_000,
            bf16=self.setting.precision == "bf16",
            use_cpu=self.device.type == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = transformers.Trainer(
            self.model,
            arguments,
            data_collator=self.collate,
            train_dataset=self.rows,
            callbacks=[clock],
        )
        trainer.train()
        share = clock.steps * self.setting.sequences / len(self.rows)
        tokens, flops = self.useful(self.rows)
        return Round(round(tokens * share), flops * share, clock.seconds)


class Tuned(HuggingFace):
    """A plain loop: compiled model, SDPA, fused AdamW, batches ready in advance."""

    compiled = True

    def __init__(self, setting: Setting, folder: Path) -> None:
        super().__init__(setting, folder)
        size = setting.sequences
        count = min(BATCHES, len(self.rows) // size)
        groups = [self.rows[i * size : (i + 1) * size] for i in range(count)]
        self.batches = [(self.collate(rows), *self.useful(rows)) for rows in groups]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.forward = torch.compile(self.model) if self.compiled else self.model
        self.model.train()
        self.steps = 0

    def run(self, seconds: float) -> Round:
        """The loop goes through the batches again and again."""
        started, first = perf_counter(), self.steps
        tokens, flops = 0, 0.0
        while self.steps < first + 2 or perf_counter() - started < seconds:
            batch, real, useful = self.batches[self.steps % len(self.batches)]
            self.step({name: x.to(self.device, non_blocking=True) for name, x in batch.items()})
            tokens, flops, self.steps = tokens + real, flops + useful, self.steps + 1
        self.wait()
        return Round(tokens, flops, perf_counter() - started)

    def step(self, batch: dict[str, torch.Tensor]) -> None:
        """Forward, backward, clip, update."""
        enabled = self.setting.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            loss = self.forward(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class ModernBert(Tuned):
    """ModernBERT of about the same size, which predicts masked tokens alone (sparse_prediction).

    Not compiled: the number of masked tokens changes from step to step.
    """

    compiled = False

    def build(self, corpus: Corpus) -> torch.nn.Module:
        """As deep and wide as ours."""
        from transformers import ModernBertConfig, ModernBertForMaskedLM

        shape, special = self.config.model, corpus.tokenizer.special
        config = ModernBertConfig(
            vocab_size=self.vocabulary_size,
            hidden_size=shape.hidden_size,
            # Its gated feed-forward part has three matrices in place of two.
            intermediate_size=shape.feed_forward_size * 2 // 3,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            attention_dropout=shape.attention_dropout,
            mlp_dropout=shape.dropout,
            embedding_dropout=shape.dropout,
            sparse_prediction=True,
            pad_token_id=special.pad,
            cls_token_id=special.cls,
            sep_token_id=special.sep,
            bos_token_id=special.cls,
            eos_token_id=special.sep,
        )
        build: Callable[..., torch.nn.Module] = ModernBertForMaskedLM._from_config
        return build(config, attn_implementation="sdpa")


def blocks(corpus: Corpus, setting: Setting) -> list[dict[str, Any]]:
    """The text end to end, cut into rows of the full length, with the special tokens."""
    special, inner, shard = corpus.tokenizer.special, setting.length - 2, corpus.train.shards[0]
    count = min(len(shard) // inner, 64 * setting.sequences)
    cut = shard.read(0, count * inner).reshape(count, inner).tolist()
    return [{"input_ids": [special.cls, *row, special.sep]} for row in cut]


def sequences(corpus: Corpus, config: ResolvedPretrainConfig) -> list[dict[str, Any]]:
    """Our sequences, before masking, with what NSP needs where it is trained."""
    batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer))
    rows: list[dict[str, Any]] = []
    for batch in (b for step in range(64) for b in batches.step(step)):
        tokens_T = batch.tokens_T.clone()
        tokens_T[batch.predicted_M] = batch.labels_M
        sizes = batch.boundaries.diff().tolist()
        parts = (torch.split(axis_T, sizes) for axis_T in (tokens_T, batch.segments_T))
        columns = zip(*parts, batch.next_sentence_B)
        for tokens, segments, label in columns:
            row: dict[str, Any] = {"input_ids": tokens.tolist()}
            if config.next_sentence_prediction:
                row |= {"token_type_ids": segments.tolist(), "next_sentence_label": int(label)}
            rows.append(row)
    return rows


class Clock(TrainerCallback):
    """Stops the Trainer after its first step and `limit` seconds more."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.steps, self.seconds = 0, 0.0
        self.started: float | None = None

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 (transformers' protocol)
        state: TrainerState,  # noqa: ARG002 (transformers' protocol)
        control: TrainerControl,
        **_: object,
    ) -> None:
        """The first step, which warms up, does not count."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = perf_counter()
        if self.started is None:
            self.started = now
            return
        self.steps, self.seconds = self.steps + 1, now - self.started
        control.should_training_stop = self.steps >= 2 and self.seconds >= self.limit
