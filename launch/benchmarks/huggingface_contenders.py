"""Hugging Face's encoders, through their public interfaces: as a careful user tunes them, without
padding, and as shipped.

All train on the same text with the same tokenizer. Where we pack sentences, they get blocks of
exactly the full length, as in their run_mlm example, so that nothing is lost to padding; with pairs
or one document a sequence they get the sequences of our steps, which are equal in tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import (
    AttentionInterface,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from configs.schema import ResolvedPretrainConfig
from launch.benchmarks.contenders import Contender, LeftOut, Round, Setting
from launch.benchmarks.flat_attention import flat_attention
from pretrain.batch import MicroBatch
from pretrain.data.corpus import Corpus, prepare
from pretrain.data.masking import make_vocabulary
from pretrain.data.phases import PhasedBatches
from pretrain.model.convert import huggingface_config
from pretrain.model.flops import flops_per_step
from tokenizer.huggingface import write_huggingface

PAD_MULTIPLE = 32
Row = dict[str, Any]
"""a sequence, as their collators take it"""
Step = list[list[Row]]
"""its micro-batches"""
FLAT = "flat"
"""what transformers calls our attention"""


class HuggingFace(Contender):
    """What all ways of training share: model, tokenizer, collator, rows."""

    attention = "sdpa"
    most_steps = 16
    """at most so many are prepared in advance, and trained on again and again"""

    def __init__(self, setting: Setting, folder: Path) -> None:
        super().__init__(setting)
        from transformers import AutoTokenizer, DataCollatorForLanguageModeling

        self.config = setting.config(folder)
        corpus = prepare(self.config)
        write_huggingface(corpus.tokenizer, folder, setting.length, self.config.model.segment_types)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.packs = self.config.input_format == "full-sentences"
        self.collate = DataCollatorForLanguageModeling(
            tokenizer,
            mlm_probability=0.15,
            pad_to_multiple_of=None if self.packs else PAD_MULTIPLE,
        )
        self.vocabulary_size = corpus.tokenizer.vocabulary_size
        make = blocks if self.packs else sequences
        self.steps = make(corpus, self.config, self.most_steps)
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
        return build(config, attn_implementation=self.attention)

    def useful(self, rows: list[Row]) -> tuple[int, float]:
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

    most_steps = 64

    def run(self, seconds: float) -> Round:
        """A training of its own, from the rows' beginning."""
        import transformers

        clock, batches = Clock(seconds), list(chain.from_iterable(self.steps))
        rows = list(chain.from_iterable(batches))
        micro = -(-len(rows) // len(batches))
        arguments = transformers.TrainingArguments(
            output_dir="trainer",
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=self.setting.micro_batches,
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
            train_dataset=rows,
            callbacks=[clock],
        )
        trainer.train()
        share = clock.steps * micro * self.setting.micro_batches / len(rows)
        tokens, flops = self.useful(rows)
        return Round(round(tokens * share), flops * share, clock.seconds)


class Padded(HuggingFace):
    """A plain loop: compiled model, SDPA, fused AdamW."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        super().__init__(setting, folder)
        self.ready = [
            ([self.batch(rows) for rows in step], *self.useful(list(chain.from_iterable(step))))
            for step in self.steps
        ]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.forward = torch.compile(self.model)
        self.model.train()
        self.taken = 0

    def batch(self, rows: list[Row]) -> dict[str, Any]:
        """What the model takes, on the device, so that its data will cost nothing."""
        batch = self.masked(rows)
        for name in [name for name, x in batch.items() if torch.is_tensor(x)]:
            batch[name] = batch[name].to(self.device)
            if not self.packs:
                let_vary(batch[name])
        return batch

    def masked(self, rows: list[Row]) -> dict[str, Any]:
        """Rows of one length, and the labels."""
        batch: dict[str, Any] = self.collate(rows)
        return batch

    def run(self, seconds: float) -> Round:
        """The loop goes through the steps again and again."""
        started, first = perf_counter(), self.taken
        tokens, flops = 0, 0.0
        while self.taken < first + 2 or perf_counter() - started < seconds:
            batches, real, useful = self.ready[self.taken % len(self.ready)]
            self.step(batches)
            tokens, flops, self.taken = tokens + real, flops + useful, self.taken + 1
        self.wait()
        return Round(tokens, flops, perf_counter() - started)

    def step(self, batches: list[dict[str, Any]]) -> None:
        """Forward and backward of each micro-batch, clip, update."""
        enabled = self.setting.precision == "bf16"
        for batch in batches:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
                loss = self.forward(**batch).loss
            (loss / len(batches)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class Unpadded(Padded):
    """The same loop on sequences end to end in one row, by transformers' flattening collator."""

    attention = FLAT

    def __init__(self, setting: Setting, folder: Path) -> None:
        from transformers import DataCollatorWithFlattening

        if setting.next_sentence:
            raise LeftOut("transformers' next-sentence head reads the first token of a row")
        AttentionInterface.register(FLAT, flat_attention)
        flatten: Callable[..., Any] = DataCollatorWithFlattening
        self.flatten = flatten(return_flash_attn_kwargs=True)
        super().__init__(setting, folder)

    def masked(self, rows: list[Row]) -> dict[str, Any]:
        """One row of all tokens, masked, and where each sequence starts and ends."""
        batch: dict[str, Any] = self.flatten(rows, return_tensors="pt")
        inputs, labels = self.collate.torch_mask_tokens(batch["input_ids"])
        batch |= {"input_ids": inputs, "labels": labels}
        # A number that varies would have the model compiled again.
        batch |= {"max_length_q": self.setting.length, "max_length_k": self.setting.length}
        config: Any = self.model.config
        if config.model_type == "roberta":  # its positions begin after the padding id
            batch["position_ids"] += config.pad_token_id + 1
        return batch


class ModernBert(Unpadded):
    """ModernBERT of about the same size, which predicts masked tokens alone (sparse_prediction)."""

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
        return build(config, attn_implementation=self.attention)


def blocks(corpus: Corpus, config: ResolvedPretrainConfig, most: int) -> list[Step]:
    """The text end to end, cut into rows of the full length, with the special tokens."""
    special, inner, shard = corpus.tokenizer.special, config.max_length - 2, corpus.train.shards[0]
    size, micro = config.batch.sequences, config.batch.micro_sequences
    count = min(len(shard) // (inner * size), most)
    cut = shard.read(0, count * size * inner).reshape(count * size, inner).tolist()
    rows: list[Row] = [{"input_ids": [special.cls, *row, special.sep]} for row in cut]
    return [
        [rows[start : min(start + micro, end)] for start in range(end - size, end, micro)]
        for end in range(size, len(rows) + 1, size)
    ]


def sequences(corpus: Corpus, config: ResolvedPretrainConfig, most: int) -> list[Step]:
    """Our micro-batches of our first steps, before masking, with what NSP needs where it is
    trained."""
    batches = PhasedBatches(corpus.train, config, make_vocabulary(corpus.tokenizer))
    pairs = config.next_sentence_prediction
    return [[list(unmasked(batch, pairs)) for batch in batches.step(step)] for step in range(most)]


def unmasked(batch: MicroBatch, pairs: bool) -> Iterator[Row]:
    """The sequences of a micro-batch."""
    tokens_T = batch.tokens_T.clone()
    tokens_T[batch.predicted_M] = batch.labels_M
    sizes = batch.boundaries.diff().tolist()
    segments_T = torch.zeros_like(tokens_T) if batch.segments_T is None else batch.segments_T
    parts = (torch.split(axis_T, sizes) for axis_T in (tokens_T, segments_T))
    for tokens, segments, label in zip(*parts, batch.next_sentence_B):
        row: Row = {"input_ids": tokens.tolist()}
        if pairs:
            row |= {"token_type_ids": segments.tolist(), "next_sentence_label": int(label)}
        yield row


def let_vary(tensor: torch.Tensor) -> None:
    """Let a compiled model take other sizes as well: it is compiled once for all of them."""
    for axis in (axis for axis, size in enumerate(tensor.shape) if size > 1):
        torch._dynamo.maybe_mark_dynamic(tensor, axis)


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
