"""Every figure of a run has the value that a slow reference finds, on one rank and on two.

The reference takes one sequence at a time, in float64, and sums in plain Python; for the gradient
it lets torch differentiate those sums.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.distributed.ranks import on_ranks
from tests.distributed.training import tiny_config
from tests.helpers import SPECIAL_TOKENS, simple_vocabulary

pytestmark = pytest.mark.distributed
ORDINARY = 40
TRAIN_BYTES, HELDOUT_BYTES = (900, 700, 501), (333, 222, 111)
SECONDS_A_STEP, PEAK = 2.0, 1e9
COMMON = [
    "max_length=16",
    "model={layers: 2, hidden_size: 16, heads: 2, feed_forward_size: 24, max_positions: 32}",
    "model.dropout=0.0",
    "model.attention_dropout=0.0",
    "masking.probability=0.3",
    "batch={sequences: 8, micro_sequences: 2}",
    "evaluation={every_steps: 1, sequences: 12, mask_probability: 0.2}",
    "schedule={max_steps: 2, warmup_fraction: 0.0}",
    "log_every_steps=1",
    "seed=3",
]
VARIANTS = {
    "mlm": [],
    "nsp": [
        "input_format=segment-pair",
        "next_sentence_prediction=true",
        "model.architecture=bert",
        "model.segment_types=2",
        "mask_epochs=1",
    ],
}


class Tokenizer:
    """The part of a tokenizer that a run asks for."""

    kind, fingerprint, vocabulary_size = "numbers", "0" * 64, ORDINARY + SPECIAL_TOKENS
    special = SimpleNamespace(
        cls=ORDINARY, sep=ORDINARY + 1, mask=ORDINARY + 2, pad=0, ids=tuple(range(ORDINARY, 43))
    )
    continues_word = np.zeros(vocabulary_size, bool)
    pieces = tuple(map(str, range(vocabulary_size)))
    token_bytes = tuple(f" {number}".encode() for number in range(vocabulary_size))

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def write_three_documents(folder: Path) -> None:
    """Two splits of three documents each, with so many bytes of text."""
    from pretrain.data.manifest import write_manifest
    from pretrain.data.store import SplitWriter, token_dtype

    rng, contents = np.random.default_rng(7), {}
    for split, sizes in (("train", TRAIN_BYTES), ("heldout", HELDOUT_BYTES)):
        writer = SplitWriter(folder / split, Tokenizer.vocabulary_size)
        for size in sizes:
            lengths = rng.integers(2, 9, size // 30)
            sentences = [rng.integers(0, ORDINARY // 2, n).tolist() for n in lengths]
            writer.add(sentences, text_bytes=size)
        contents[split] = writer.finish()
    write_manifest(folder, contents, token_dtype(ORDINARY), identity={"made": "by a test"})


def open_split(store: str, split: str):
    from pretrain.data.store import TokenStore

    return TokenStore.open(Path(store), split)


def config_of(variant: str, **more: str):
    return tiny_config([*COMMON, *VARIANTS[variant], *(f"{k}={v}" for k, v in more.items())])


def run(store: str, folder: str, variants: list[str]) -> None:
    """Train every variant by a clock that moves with the steps alone; called on every rank."""
    from pretrain.data.corpus import Corpus
    from pretrain.engine import evaluate, log_window, loop, machine, trainer
    from pretrain.ranks import world as ranks
    from pretrain.ranks.preemption import PreemptionNotice
    from pretrain.ranks.watchdog import Watchdog

    world, clock = ranks.start(), SimpleNamespace(now=1000.0)
    loop.time = log_window.time = SimpleNamespace(monotonic=lambda: clock.now)
    machine.matmul_peak = lambda device, precision: PEAK
    score = evaluate.evaluate

    def slow_evaluation(*arguments):
        clock.now += 500.0
        return score(*arguments)

    evaluate.evaluate = slow_evaluation
    corpus = Corpus(
        Path(store),
        Tokenizer(),
        open_split(store, "train"),
        open_split(store, "heldout"),
        "fingerprint",
    )
    for variant in variants:
        run_dir = Path(folder) / variant
        config = config_of(variant, run_dir=str(run_dir), **{"data.cache": folder})
        made = trainer.Trainer(
            config, world, corpus, None, PreemptionNotice(), Watchdog(60.0, run_dir, world.rank)
        )
        step = made.engine.step

        def timed_step(rate: float, step=step):
            clock.now += SECONDS_A_STEP
            return step(rate)

        made.engine.step = timed_step
        made.run()
        made.log.close()
    ranks.stop()


@pytest.fixture(scope="module", params=[1, 2])
def runs(request, tmp_path_factory) -> tuple[int, str, Path]:
    """(ranks, store, folder of the runs)."""
    folder = tmp_path_factory.mktemp(f"ranks{request.param}")
    store = folder / "store"
    write_three_documents(store)
    on_ranks(run, request.param, str(store), str(folder), list(VARIANTS))
    return request.param, str(store), folder


def records(folder: Path, variant: str, kind: str) -> list[dict]:
    from configs.system.run_folder import RunFolder

    return [r for r in RunFolder(folder / variant).read_metrics() if r["kind"] == kind]


# -- the reference -------------------------------------------------------------------------------


def reference_model(config, weights: Path | None = None) -> torch.nn.Module:
    """In float64; new, or with a checkpoint's weights."""
    from pretrain.model.pretraining import initialise, make_model

    model = make_model(config, Tokenizer())
    initialise(model, config.model, config.seed)
    if weights:
        from safetensors.torch import load_file

        model.load_state_dict(load_file(weights), strict=False)
    return model.double()


def sequences(batches: list) -> list:
    """Micro-batches of one sequence each."""
    from tests.unit.pretrain.model.examples import rows

    return [rows(b, [n]) for b in batches for n in range(len(b.boundaries) - 1)]


class Totals:
    """Sums over sequences, in plain Python but for both losses, which torch can differentiate."""

    def __init__(self, model: torch.nn.Module, batches: list) -> None:
        self.loss = self.nsp_loss = torch.zeros((), dtype=torch.float64)
        self.predicted = self.correct = self.pairs = self.nsp_correct = 0
        for one in sequences(batches):
            hidden_TD = model.encode(one)
            logits_MV = model.mlm_head(
                hidden_TD[one.predicted_M], model.encoder.embeddings.word.weight
            )
            for logits, label in zip(logits_MV, one.labels_M.tolist()):
                self.loss = self.loss + cross_entropy(logits, label)
                self.correct += best(logits) == label
                self.predicted += 1
            label = one.next_sentence_B.item()
            if model.nsp_head is not None and label >= 0:
                (logits,) = model.nsp_head(hidden_TD[:1])
                self.nsp_loss = self.nsp_loss + cross_entropy(logits, label)
                self.nsp_correct += best(logits) == label
                self.pairs += 1


def cross_entropy(logits: torch.Tensor, label: int) -> torch.Tensor:
    return sum(logit.exp() for logit in logits).log() - logits[label]


def best(logits: torch.Tensor) -> int:
    values = logits.tolist()
    return values.index(max(values))


def step_batches(store: str, config, step: int, rank: int = 0, ranks: int = 1) -> list:
    from pretrain.data.batches import Batches
    from pretrain.data.collate import Collator

    collate = Collator(open_split(store, "train"), config, simple_vocabulary(ORDINARY))
    return Batches(collate).step(step, rank, ranks)


def heldout(store: str, config) -> list:
    from pretrain.data.batches import heldout_batches
    from pretrain.data.collate import Collator

    masking = replace(config.masking, probability=0.2)
    config = replace(config, masking=masking)
    collate = Collator(open_split(store, "heldout"), config, simple_vocabulary(ORDINARY))
    return heldout_batches(collate)


def useful_flops(config, batches: list) -> int:
    """Two for each multiplication and addition of each matrix product, and as many again twice."""
    width, inner = config.model.hidden_size, config.model.feed_forward_size
    total = 0
    for one in sequences(batches):
        tokens, predicted = len(one.tokens_T), len(one.labels_M)
        read = predicted + config.next_sentence_prediction
        for layer in range(config.model.layers):
            out = read if layer == config.model.layers - 1 else tokens
            total += 3 * 2 * tokens * width * width  # query, key, value
            total += 2 * 2 * tokens * tokens * width  # scores, weighted sum
            total += 2 * out * width * width + 2 * 2 * out * width * inner
        total += predicted * 2 * width * (width + Tokenizer.vocabulary_size)
        total += config.next_sentence_prediction * 2 * width * (width + 2)
    return 3 * total


# -- the figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_loss_accuracy_and_gradient_norm(runs, variant):
    _, store, folder = runs
    config = config_of(variant)
    model = reference_model(config)
    totals = Totals(model, step_batches(store, config, 0))
    loss = totals.loss / totals.predicted
    if variant == "nsp":
        loss = loss + totals.nsp_loss / totals.pairs
    loss.backward()
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in model.parameters()))
    first = records(folder, variant, "train")[0]
    assert first["mlm_loss"] == pytest.approx(totals.loss.item() / totals.predicted, rel=1e-5)
    assert first["mlm_accuracy"] == pytest.approx(totals.correct / totals.predicted)
    assert first["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    if variant == "nsp":
        assert first["nsp_loss"] == pytest.approx(totals.nsp_loss.item() / totals.pairs, rel=1e-5)
        assert first["nsp_accuracy"] == pytest.approx(totals.nsp_correct / totals.pairs)


@pytest.mark.parametrize("variant", VARIANTS)
def test_heldout_loss_perplexity_accuracy_and_bits_per_byte(runs, variant):
    _, store, folder = runs
    config = config_of(variant)
    weights = folder / variant / "checkpoints" / "step-00000002" / "model.safetensors"
    with torch.no_grad():
        totals = Totals(reference_model(config, weights), heldout(store, config))
    last = records(folder, variant, "heldout")[-1]
    loss = totals.loss.item() / totals.predicted
    assert totals.predicted > 20 and last["step"] == 2
    assert last["mlm_loss"] == pytest.approx(loss, rel=1e-5)
    assert last["perplexity"] == pytest.approx(math.e**loss, rel=1e-4)
    assert last["mlm_accuracy"] == pytest.approx(totals.correct / totals.predicted)
    tokens = open_split(store, "heldout").token_count
    assert last["bits_per_byte"] == pytest.approx(
        math.log2(math.e) * loss * tokens / sum(HELDOUT_BYTES), rel=1e-5
    )
    if variant == "nsp":
        assert last["nsp_accuracy"] == pytest.approx(totals.nsp_correct / totals.pairs)
    else:
        assert "nsp_accuracy" not in last


@pytest.mark.parametrize("variant", VARIANTS)
def test_unigram_loss(runs, variant):
    _, store, folder = runs
    train = open_split(store, "train")
    tokens = train.tokens(0, train.token_count).tolist()
    labels = [t for b in heldout(store, config_of(variant)) for t in b.labels_M.tolist()]
    size = Tokenizer.vocabulary_size
    losses = [-math.log((tokens.count(t) + 1) / (len(tokens) + size)) for t in labels]
    (baseline,) = records(folder, variant, "baseline")
    assert baseline["unigram_loss"] == pytest.approx(sum(losses) / len(losses))


@pytest.mark.parametrize("variant", VARIANTS)
def test_tokens_per_second_and_share_of_the_peak(runs, variant):
    """By the clock of the steps: evaluation, which took 500 seconds, and saving don't count."""
    ranks, store, folder = runs
    config, seen = config_of(variant), 0
    for step, found in enumerate(records(folder, variant, "train")):
        tokens = sum(len(b.tokens_T) for b in step_batches(store, config, step))
        own = step_batches(store, config, step, 0, ranks)
        seen += tokens
        assert found["tokens"] == seen
        assert found["tokens_per_second"] == pytest.approx(tokens / SECONDS_A_STEP)
        share = useful_flops(config, own) / SECONDS_A_STEP / PEAK
        assert found["mfu"] == pytest.approx(share) and 0 < share < 1
