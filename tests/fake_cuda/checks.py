"""What is checked on a device that computes nothing, by `python -m tests.fake_cuda.checks NAME`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import torch

from configs.loader import load_config
from configs.schema import PretrainConfig
from pretrain.batch import MicroBatch
from pretrain.engine.fitting import full_batch
from pretrain.model.flops import DTYPES
from pretrain.model.pretraining import PretrainingModel
from tests.fake_cuda.device import WAITS, fake_tensors, pretend
from tests.fake_cuda.training import waits
from tests.fake_cuda.watch import Watch

VOCABULARY, DEVICE = 50265, "cuda"
NO_RATE = "model.attention_dropout=0.0"
NARROW = "engine.residual=bf16"
RECOMPUTED = "engine.activation_checkpointing=true"
BERT = ["model.architecture=bert", "model.segment_types=2", "input_format=segment-pair"]
MODERN = ["model.layers=4", "model.max_positions=512"]
CASES = {
    "flash without dropout": ("roberta_base.yaml", [NO_RATE], "flash"),
    "flash with dropout": ("roberta_base.yaml", [], "flash"),
    "eager": ("roberta_base.yaml", ["model.attention=eager"], "eager"),
    "sdpa": ("roberta_base.yaml", ["model.attention=sdpa"], "sdpa"),
    "fp32": ("roberta_base.yaml", ["engine.precision=fp32"], "sdpa"),
    "recomputed": ("roberta_base.yaml", [RECOMPUTED], "flash"),
    "BERT": ("roberta_base.yaml", [*BERT, "next_sentence_prediction=true"], "flash"),
    "ModernBERT": ("modern_base.yaml", MODERN, "flash"),
    "ModernBERT, eager": ("modern_base.yaml", [*MODERN, "model.attention=eager"], "eager"),
    "ModernBERT, sdpa": ("modern_base.yaml", [*MODERN, "model.attention=sdpa"], "sdpa"),
    "ModernBERT, dropout": ("modern_base.yaml", [*MODERN, "model.attention_dropout=0.1"], "flash"),
    "normalised heads": ("roberta_base.yaml", ["model.qk_norm=true"], "flash"),
    "bf16 residual": ("modern_base.yaml", [*MODERN, NARROW], "flash"),
    "bf16 residual, RMSNorm": ("roberta_base.yaml", ["model.norm_kind=rmsnorm", NARROW], "flash"),
    "bf16 residual, recomputed": ("roberta_base.yaml", [RECOMPUTED, NARROW], "flash"),
    "ALiBi": ("roberta_base.yaml", ["model.position=alibi"], "sdpa"),
}
"""configuration, what is changed of it, and the backend that it comes to"""


def configured(name: str, *overrides: str) -> PretrainConfig:
    """A shipped configuration; two layers unless `overrides` say more."""
    return load_config(PretrainConfig, name, ["model.layers=2", *overrides])


def built(config: PretrainConfig) -> PretrainingModel:
    """A model on the device."""
    recomputes, pairs = config.engine.activation_checkpointing, config.next_sentence_prediction
    with torch.device(DEVICE):
        model = PretrainingModel(config.model, VOCABULARY, 1, pairs, recomputes)
    model.encoder.residual_dtype = DTYPES[config.engine.residual]
    return model


def batch_of(config: PretrainConfig, sequences: int, is_ragged: bool = False) -> MicroBatch:
    """Full sequences on the device; the last one shorter, where they are to be ragged."""
    batch = full_batch(sequences, config, VOCABULARY)
    if is_ragged:  # the last sequence is shorter: boundaries are never read on the host
        names = {"tokens_T", "positions_T", "segments_T"} & {*batch.tensors}
        batch = replace(batch, **{name: getattr(batch, name)[:-13] for name in names})
    return batch.to(torch.device(DEVICE))


def trained(config: PretrainConfig, batch: MicroBatch, model: PretrainingModel) -> None:
    """One pass forward and backward, in the configuration's precision."""
    with torch.autocast(DEVICE, torch.bfloat16, enabled=config.engine.precision != "fp32"):
        sums = model(batch)
    (sums.mlm_loss_sum + sums.nsp_loss_sum).backward()


def gradients(*cases: str) -> None:
    """Of each case, uniform and ragged: its backend, no wait, and a gradient of each parameter."""
    for case in cases or CASES:
        name, overrides, backend = CASES[case]
        config = configured(name, *overrides)
        for is_ragged in (False, True):
            with fake_tensors():
                model, batch = built(config), batch_of(config, 4, is_ragged)
                WAITS.clear()
                with Watch():
                    trained(config, batch, model)
                with torch.autocast(DEVICE, enabled=config.engine.precision != "fp32"):
                    chosen = model.train().encoder._backend(batch.longest)
            assert not WAITS, (case, is_ragged, WAITS)
            for key, parameter in model.named_parameters():
                found = parameter.grad
                assert found is not None and found.device.type == DEVICE, (case, key)
                assert found.dtype == torch.float32, (case, key, found.dtype)
            assert chosen == backend, (case, chosen)
        print(case, "ok", flush=True)


def launches(*overrides: str) -> None:
    """Says how many operators with work on the device a micro-batch of 65,536 tokens takes of
    roberta_base, and the bytes they move."""
    config = configured("roberta_base.yaml", "model.layers=12", *overrides)
    with fake_tensors():
        model, batch = built(config), batch_of(config, 128)
        with Watch() as watch:
            trained(config, batch, model)
    print("launches", sum(watch.launched.values()), "GB", sum(watch.moved.values()) / 1e9)
    for name, size in sorted(watch.moved.items(), key=lambda item: -item[1])[:40]:
        print(f"{size / 1e9:10.2f} GB {watch.launched[name]:5} {name}")


def flat_attention() -> None:
    """The benchmark's rivals attend by torch's flash kernel as well, and wait for nothing."""
    from launch.benchmarks.flat_attention import flat_attention as attend

    for window in (None, 65):
        with fake_tensors():
            make = {"device": DEVICE, "dtype": torch.bfloat16, "requires_grad": True}
            qkv = torch.empty(3, 1, 12, 100, 64, **make)
            bounds = torch.tensor([0, 60, 100], dtype=torch.int32, device=DEVICE)
            words = {"cu_seq_lens_q": bounds, "max_length_q": 64, "sliding_window": window}
            WAITS.clear()
            with Watch() as watch:
                context, _ = attend(None, *qkv, None, scaling=0.125, dropout=0.1, **words)
                context.sum().backward()
        assert context.shape == (1, 100, 12, 64) and qkv.grad is not None and not WAITS, WAITS
        kernels = [name for name in watch.launched if "attention" in name]
        assert kernels == [f"aten::_flash_attention_{way}" for way in ("forward", "backward")]


CHECKS = {
    **{"gradients": gradients, "waits": waits, "launches": launches},
    "flat-attention": flat_attention,
}

if __name__ == "__main__":
    pretend()
    CHECKS[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(0)  # threads of a device that is none cannot be ended: some exits abort over them
