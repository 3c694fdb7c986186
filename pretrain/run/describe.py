"""A run folder explains itself: what was decided, from what, with which versions.

What decides the run's numbers is also what its ranks compare (`agreement.py`) before they train.
`opening.py` says the same to the person who watches the start.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Collection
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import dump_config, flat
from configs.schema import FREE_TO_CHANGE, PretrainConfig
from configs.system.files import make_folder, sha256_file, write_text
from configs.system.run_folder import RunFolder
from configs.system.secrets import hashed, hide
from configs.system.version import FINETUNING, code_version, package_version, source_fingerprint
from pretrain.data.corpus import Corpus
from pretrain.data.store import TokenStore
from pretrain.ranks.agreement import Facts
from pretrain.ranks.world import World
from pretrain.run.checkpoint import MANIFEST
from pretrain.run.checkpoint_state import STATE

RunConfig = PretrainConfig | FinetuneConfig
VARIABLES = (
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG"),
    *("NCCL_ALGO", "NCCL_PROTO"),
)
"""of the environment, that change how numbers are multiplied or added"""
LEARNING = ("scikit-learn", "scipy", "gensim")
"""libraries that score tasks and make their classical rivals"""
BLOCKS, BLOCK_TOKENS = 256, 2048
"""of a split, that are looked at: all of a small one, a few megabytes of any"""
PACKAGES = ("torch", "deepspeed", "tokenizers", "sentencepiece", "datasets", "numpy")


def fingerprints(config: PretrainConfig, corpus: Corpus) -> dict[str, str]:
    """What must be the same when a checkpoint is loaded again, by name: the recipe's fields, the
    vocabulary, the tokenizer's and the corpus's hashes."""

    def is_free(name: str) -> bool:
        return any(name == free or name.startswith(f"{free}.") for free in FREE_TO_CHANGE)

    recipe = {name: value for name, value in flat(asdict(config)).items() if not is_free(name)}
    return {
        **{name: hashed(str(value)) for name, value in recipe.items()},
        "vocabulary": str(corpus.tokenizer.vocabulary_size),
        "tokenizer": corpus.tokenizer.fingerprint,
        "corpus": corpus.fingerprint,
    }


def note_verified(run_dir: Path, step: int, verified_bytes: int) -> None:
    """Into environment.json: how much of the store was verified when a checkpoint was written."""
    folder = RunFolder(run_dir)
    environment = folder.read_environment()
    if "verified" in environment:
        environment["verified"] |= {"at_step": step, "verified_by_then": verified_bytes}
        folder.write_environment(environment)


def write_environment(
    run_dir: Path,
    config: RunConfig,
    world: World,
    decided: dict[str, Any],
    packages: tuple[str, ...] = FINETUNING,
    step: int | None = None,
) -> None:
    """config.yaml, and environment.json with what was `decided` on top.

    Args:
        packages: of ours, whose code decides what the run finds.
        step: where the run resumes; 0: it begins. None: it is no run of steps.
    """
    folder = RunFolder(run_dir)
    make_folder(run_dir)
    write_text(folder.config, dump_config(config))
    version = {"code": code_version(), "source": source_fingerprint(packages)}
    start = {"step": step, **version, "time": round(time.time(), 3)}
    environment = {
        **decided,
        **version,
        "starts": [*folder.earlier_starts(), start],
        "packages": {name: package_version(name) for name in ("masklab", *PACKAGES)},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "device": device_name(world.device),
        "world_size": world.size,
        "threads_per_rank": torch.get_num_threads(),
        "command": list(map(hide, sys.argv)),
    }
    folder.write_environment(environment)


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads per rank"


# -- what ranks must agree on ---------------------------------------------------------------------


def start_facts(
    config: RunConfig,
    places: Collection[str],
    packages: Collection[str],
    libraries: Collection[str] = (),
) -> dict[str, Facts]:
    """What a rank begins with, before it has read any text.

    Args:
        config: resolved.
        places: fields that name a place, which every node may call otherwise; `*` is a number.
        packages: of ours, whose code decides what the run finds.
        libraries: beside those of every run.
    """
    versions = {name: package_version(name) for name in (*PACKAGES, *libraries)}
    facts = {
        "recipe": recipe(config, places),
        "code": {"source": source_fingerprint(packages)},
        "libraries": {"python": platform.python_version(), **versions},
        "environment": {name: os.environ.get(name, "unset") for name in VARIABLES},
    }
    # A rank's own sums (the gradient's norm) decide its own weights where each updates them all.
    if config.engine.zero_stage == 0:
        facts["processor"] = processor()
    return facts


def recipe(config: RunConfig, places: Collection[str] = ()) -> Facts:
    """Every field under its name; of places only whether there is one."""

    def shown(name: str, value: object) -> str:
        is_place = any(fnmatchcase(name, place) for place in places)
        return "some place" if is_place and value else str(value)

    return {name: shown(name, value) for name, value in flat(_numbered(asdict(config))).items()}


def processor() -> Facts:
    """What decides the order in which this rank adds up."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(torch.cuda.current_device())
        kind = f"{device.major}.{device.minor} with {device.multi_processor_count} multiprocessors"
        return {"device": f"CUDA {kind}"}
    capability = torch.backends.cpu.get_cpu_capability()
    return {"device": f"CPU, {capability}", "threads": str(torch.get_num_threads())}


def corpus_facts(corpus: Corpus) -> Facts:
    """What the manifest certifies, and some of what lies there."""
    return {
        "corpus": corpus.fingerprint[:16],
        "tokenizer": corpus.tokenizer.fingerprint[:16],
        "training tokens": sampled_digest(corpus.train),
        "held-out tokens": sampled_digest(corpus.heldout),
    }


def sampled_digest(store: TokenStore) -> str:
    """16 hexadecimal digits for blocks of tokens and for ends, evenly spread over a split."""
    digest = hashlib.sha256()
    for start in _block_starts(store.token_count):
        shard = np.searchsorted(store.shard_starts, start, side="right") - 1
        first = start - store.shard_starts[shard]
        digest.update(store.shards[shard].peek(int(first), BLOCK_TOKENS).tobytes())
    for ends in (store.layouts.sentences, store.layouts.documents):
        for start in _block_starts(len(ends)):
            digest.update(ends.read(start, min(start + BLOCK_TOKENS, len(ends))).tobytes())
    digest.update(store.unigram_counts.tobytes())
    return digest.hexdigest()[:16]


def _block_starts(total: int) -> list[int]:
    """Where blocks of `BLOCK_TOKENS` begin, evenly spread: what lies apart is read one by one."""
    last = max(0, total - BLOCK_TOKENS)
    starts: list[int] = np.unique(np.linspace(0, last, BLOCKS).astype(np.int64)).tolist()
    return starts


def checkpoint_facts(saved: Path | None) -> Facts:
    """The checkpoint that rank 0 has chosen, as this rank reads it; raises `InputError`: it is not
    there."""
    if saved is None:
        return {"checkpoint": "none"}
    try:
        hashes = {name: sha256_file(saved / name)[:16] for name in (MANIFEST, STATE)}
    except OSError as error:
        raise InputError(
            f"{error.filename}: {error.strerror}, but rank 0 resumes from this checkpoint: let all "
            "ranks see one run folder, or copy it to every node"
        ) from error
    return {"checkpoint": saved.name, **hashes}


def _numbered(table: dict[str, Any]) -> dict[str, Any]:
    """Lists of tables as tables by number, so that each of their fields has a name."""
    numbered = {}
    for name, value in table.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        numbered[str(name)] = _numbered(value) if isinstance(value, dict) else value
    return numbered
