"""Would the unit tests notice? Small faults in the core, one at a time, each of which must fail.

    python tests/mutants.py [--only TEXT]

Every mutant is a copy of the sources with one expression changed: a bound off by one, a mask
inverted, a sum over the wrong axis. The unit tests of that module run on it and have to fail; a
mutant that lives shows what nobody checks. That each one still applies is a unit test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("configs", "tokenizer", "pretrain", "finetune", "launch", "tests")
LONGEST = 120
"""seconds of the tests on one mutant; an endless loop is noticed, too"""


@dataclass(frozen=True)
class Mutant:
    """A fault: `after` in place of `before`, which stands in `file` once."""

    file: str
    before: str
    after: str
    tests: str = ""
    """whose tests must notice, by default those that mirror the file"""

    @property
    def test_path(self) -> str:
        folder, _, name = self.file.rpartition("/")
        return self.tests or f"tests/unit/{folder}/test_{name}"

    def apply(self, root: Path) -> str:
        """Change the file below `root`; returns what it was. Raises ValueError where it cannot."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"{self.file}: {self.before!r} stands {text.count(self.before)} times")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")
        return text


MASKING, FORMATS = "pretrain/data/masking.py", "pretrain/data/formats.py"
SPANS, HELDOUT = "pretrain/data/spans.py", "pretrain/data/heldout.py"
PAIRS, OF_FORMATS = "pretrain/data/pair_formats.py", "tests/unit/pretrain/data/test_formats.py"
OF_LAYOUT = "tests/unit/pretrain/data/test_layout.py"
BATCHES, COLLATE = "pretrain/data/batches.py", "pretrain/data/collate.py"
PHASES, STORE = "pretrain/data/phases.py", "pretrain/data/store.py"
RANDOM, SCHEDULE = "pretrain/randomness.py", "pretrain/optim/schedule.py"
ADAM, LAMB = "pretrain/optim/adam.py", "pretrain/optim/lamb.py"
MUON, GROUPS = "pretrain/optim/muon.py", "pretrain/optim/groups.py"
STABLE_ADAMW = "pretrain/optim/stable_adamw.py"
LOSS, SOFTMAX = "pretrain/model/loss.py", "pretrain/model/softmax.py"
DROPOUT = "pretrain/model/dropout.py"
PACKING, ATTENTION = "pretrain/model/packing.py", "pretrain/model/attention.py"
SCOPE = "pretrain/model/scope.py"
ENCODER, TIED = "pretrain/model/encoder.py", "pretrain/model/tied_embeddings.py"
PRETRAINING = "pretrain/model/pretraining.py"
NORMS, ROTARY = "pretrain/model/norms.py", "pretrain/model/rotary.py"
FEED_FORWARD, FLOPS = "pretrain/model/feed_forward.py", "pretrain/model/flops.py"
CHECKPOINTS, SKIPPED = "pretrain/run/checkpoint_folder.py", "pretrain/engine/skipped.py"
LOOP = "pretrain/engine/loop.py"
WINDOW, EVALUATE = "pretrain/engine/log_window.py", "pretrain/engine/evaluate.py"
LAYOUTS, MODERNBERT = "pretrain/model/layouts.py", "pretrain/model/modernbert_config.py"
OF_MODEL = "tests/unit/pretrain/model"
OF_LOSS = f"{OF_MODEL}/test_loss.py"
OF_MODERNBERT = "tests/unit/pretrain/model/test_modernbert.py"
OF_READING = "tests/unit/pretrain/run/test_pretrained_modernbert.py"
OF_AXES = "tests/unit/pretrain/model/test_encoder_axes.py"
OF_SOURCES = "tests/unit/pretrain/data/test_heldout_sources.py"
OF_PRUNE = "tests/unit/pretrain/run/test_prune.py"

MUTANTS = (
    # which tokens are predicted, and what is shown in their place
    Mutant(MASKING, "return np.maximum(1, rounded_B)", "return np.maximum(0, rounded_B)"),
    Mutant(MASKING, "rate * maskable_B + chance_B", "rate * maskable_B"),
    Mutant(MASKING, "draw(*key, first_M)[0]", "words[0]", "tests/unit/pretrain/data/test_spans.py"),
    Mutant(SPANS, "number < left_B[row][owner]", "number <= left_B[row][owner]"),
    Mutant(PHASES, "max(1, self.total_steps - 1)", "max(1, self.total_steps)"),
    Mutant("pretrain/run/plateau.py", "min(off)", "max(off)"),
    Mutant(HELDOUT, "key[first])", "key)"),
    Mutant(HELDOUT, "sources_D[self.words.passage_W[found]]", "sources_D[found % 2]", OF_SOURCES),
    Mutant("pretrain/data/store_sources.py", 'places, side="right"', 'places, side="left"'),
    Mutant(BATCHES, "self._require(int(np.diff(bounds)[:steps].min()), ranks)", "pass"),
    Mutant(HELDOUT, "count == words.tokens_W", "count <= words.tokens_W"),
    Mutant(
        MASKING,
        "np.setdiff1d(np.arange(tokenizer.vocabulary_size), special.ids)",
        "np.arange(tokenizer.vocabulary_size)",
    ),
    Mutant(
        MASKING,
        "labels_M = sequences.tokens_T[places_M]",
        "labels_M = sequences.tokens_T[places_M] + 1",
    ),
    Mutant(MASKING, "left_B -= np.bincount", "left_B -= 0 * np.bincount"),
    # where samples begin and end
    Mutant(PAIRS, "words[1] < 2**31", "words[1] < 2**30", OF_FORMATS),
    Mutant(PAIRS, "other += other >= own", "other += other > own", OF_FORMATS),
    Mutant(PAIRS, "return config.max_length - 3", "return config.max_length - 2", OF_FORMATS),
    Mutant(
        FORMATS, "(total[beyond] - here <= max_length - 1)", "(total[beyond] - here <= max_length)"
    ),
    Mutant(FORMATS, "return np.minimum(following, own_end)", "return following"),
    Mutant(PAIRS, "span[1] -= lost - front", "span[1] -= lost", OF_FORMATS),
    # which samples a step sees, and who computes them
    Mutant(BATCHES, "parts[rank::world_size]", "parts[rank : rank + 1]"),
    Mutant(BATCHES, "if rest < 0.5:", "if rest < 0.0:", "tests/unit/pretrain/data/test_phases.py"),
    Mutant(
        BATCHES,
        "Purpose.SAMPLE_ORDER, epoch, len(index)",
        "Purpose.SAMPLE_ORDER, 0, len(index)",
    ),
    Mutant(
        "pretrain/data/sample_index.py",
        "samples[own] - self._firsts[portion]",
        "samples[own]",
        OF_LAYOUT,
    ),
    Mutant(
        "pretrain/data/layout.py", "document_ends - first_sentence,", "document_ends,", OF_LAYOUT
    ),
    Mutant(FORMATS, "documents, layout.first_document", "documents, 0", OF_LAYOUT),
    Mutant(PAIRS, "layout.first_sentence + sentences", "sentences", OF_LAYOUT),
    Mutant(RANDOM, "found >= self.length", "found > self.length"),
    Mutant(COLLATE, "return epoch if period is None else epoch % period", "return epoch"),
    Mutant(COLLATE, "Purpose.DROPOUT, step, samples", "Purpose.DROPOUT, 0, samples"),
    Mutant(PHASES, "Position(step, place.epoch + 1)", "Position(step, place.epoch)"),
    Mutant(
        PHASES,
        "config.batch.micro_sequences * config.max_length // length",
        "config.batch.micro_sequences",
    ),
    Mutant(STORE, "(sentence_ends + self.tokens).astype(ENDS)", "sentence_ends.astype(ENDS)"),
    Mutant(STORE, "if highest >= vocabulary_size:", "if highest > vocabulary_size:"),
    # random numbers
    Mutant(RANDOM, "ROUNDS = 10", "ROUNDS = 9"),
    Mutant(RANDOM, "*words, number >> SHIFT", "*words, number & LOW"),
    # the learning rate, and what it scales
    Mutant(
        SCHEDULE, "return math.ceil(round(share * steps, 6))", "return math.floor(share * steps)"
    ),
    Mutant(SCHEDULE, "float = step + 1 - curve.first_step", "float = step - curve.first_step"),
    Mutant(LAMB, "torch.where((w > 0) & (d > 0), w / d,", "torch.where((w > 0) & (d > 0), d / w,"),
    Mutant(
        ADAM,
        'steps = [state["step"].double().clamp(min=1)',
        'steps = [(state["step"] + 1).double()',
        "tests/unit/pretrain/optim",
    ),
    Mutant(STABLE_ADAMW, "(norm / g.numel() ** 0.5).clamp(min=1)", "norm.clamp(min=1)"),
    Mutant(MUON, "in stack.chunk(matrices)]", "in stack.chunk(1)]"),
    Mutant(MUON, "max(1.0, rows / columns) ** 0.5", "max(1.0, rows / columns)"),
    Mutant(GROUPS, "parameter.shape[0] // output.shape[1]", "1"),
    Mutant(SCHEDULE, "return 1 - math.sqrt(1 - left)", "return math.sqrt(left)"),
    Mutant(
        GROUPS, '"weight_decay": weight_decay if is_matrix else 0.0', '"weight_decay": weight_decay'
    ),
    # the model
    Mutant(LOSS, "factor[predicted:] = 0", "factor[predicted:] = 1", OF_MODEL),
    Mutant(LOSS, ".scatter_(1, labels_M1, 0.0)", ""),
    Mutant(
        SOFTMAX, "self.total_M1 * (self.highest_M1 - highest_M1).exp()", "self.total_M1", OF_LOSS
    ),
    Mutant(SOFTMAX, "self.correct_M1 & (self.labelled_M1 >= top_M1)", "self.correct_M1", OF_LOSS),
    Mutant(DROPOUT, "return min(round(256 * rate), 255)", "return min(round(255 * rate), 254)"),
    Mutant(DROPOUT, "counter=[0, 0, 0, site]", "counter=[0, 0, 0, 0]"),
    Mutant(
        PACKING,
        "return places_L < self.lengths_B[:, None]",
        "return places_L <= self.lengths_B[:, None]",
    ),
    Mutant(PACKING, "gathered[len(slots) :] = 0", "gathered[len(slots) :] = 1"),
    Mutant(ATTENTION, "alpha=width**-0.5", "alpha=width**-1"),
    Mutant(ATTENTION, "beta=0 if bias is None else 1", "beta=0"),
    Mutant(COLLATE, "[:-1]] += 1  # [CLS]", "[:-1]] += 0  # [CLS]"),
    Mutant(SCOPE, "blocks) <= scope.reach", "blocks) < scope.reach"),
    Mutant(SCOPE, "(offset, -2, -1).fill_(True)", "(offset, -2, -1)"),
    Mutant(SCOPE, "seen_BNWU &= query_BNW1 == key_BN1U", "pass"),
    Mutant(SCOPE, "layer % config.global_every != 0", "layer % config.global_every != 1"),
    Mutant(ENCODER, "pad_id + 1 if config.architecture", "pad_id if config.architecture", OF_MODEL),
    Mutant(ENCODER, "self.is_pre_norm and index == 0", "False", OF_AXES),
    Mutant(ENCODER, "hidden_RD = normed(self.final_norm, hidden_RD).to(dtype)", "pass", OF_AXES),
    Mutant(NORMS, "of_normal.addcmul_(normal, share, value=-1)", "of_normal"),
    Mutant(NORMS, "return torch.stack((query.to(", "return torch.stack((key.to(", OF_AXES),
    Mutant(ROTARY, "_rotate(gradient, cosine, -sine)", "_rotate(gradient, cosine, sine)"),
    Mutant(ROTARY, "(1 / theta**exponents)", "theta**exponents"),
    Mutant(FEED_FORWARD, "(gradient * second, first))", "(gradient, first))"),
    Mutant(FLOPS, "matrices = 3 if config.is_gated else 2", "matrices = 2"),
    Mutant(
        MODERNBERT, '"decoder_bias": config.bias != "none"', '"decoder_bias": True', OF_MODERNBERT
    ),
    Mutant(
        MODERNBERT, "if global_every and n % global_every", "if global_every and n", OF_MODERNBERT
    ),
    Mutant(MODERNBERT, "len(set(has.values())) == 1 and", "", OF_MODERNBERT),
    Mutant(LAYOUTS, '"modernbert" and CLASSIFIER in names', '"bert"', OF_READING),
    Mutant(TIED, "gradient_VD = gradient_VD.add_(self._waiting)", "pass", OF_MODEL),
    Mutant(PRETRAINING, "batch.boundaries[:-1]", "batch.boundaries[1:] - 1", OF_MODEL),
    Mutant(PRETRAINING, "math.sqrt(2 * config.layers)", "math.sqrt(config.layers)", OF_AXES),
    Mutant(PRETRAINING, "words.tied if head.decoder is None else None", "words.tied", OF_AXES),
    Mutant(PRETRAINING, "Purpose.INIT, 0, crc32(name.encode())", "Purpose.INIT, 0, 0"),
    # the loop and what it leaves behind
    Mutant(SKIPPED, "if self.in_a_row >= self.limit:", "if self.in_a_row > self.limit:"),
    Mutant(WINDOW, "torch.where(skipped, self._zero, self._step)", "self._step"),
    Mutant(LOOP, "if notices and step > self.state.step:", "if notices:"),
    Mutant(LOOP, "is_last=number == len(batches) - 1", "is_last=True"),
    Mutant(LOOP, "60 * state.elapsed_minutes", "state.elapsed_minutes"),
    Mutant(LOOP, "key_64(self.objective.seed, Purpose.DROPOUT, step, place)", "step"),
    Mutant(LOOP, "is_scored = self.evaluated_step == step", "is_scored = True"),
    Mutant(EVALUATE, "loss / math.log(2) * store.token_count", "loss * store.token_count"),
    Mutant(
        CHECKPOINTS, "for path in past[:-keep] if", "for path in past[: -keep - 1] if", OF_PRUNE
    ),
    Mutant(
        EVALUATE,
        'scores[f"mlm_loss/{name}"] = loss / predicted',
        'scores[f"mlm_loss/{name}"] = loss / totals[2]',
        "tests/unit/pretrain/engine/test_evaluate_sources.py",
    ),
    Mutant(
        PRETRAINING,
        "batch.labels_M[own_M]",
        "batch.labels_M[: len(own_M)]",
        "tests/unit/pretrain/engine/test_evaluate_sources.py",
    ),
    Mutant(CHECKPOINTS, "[path for path in saved if path > newest] + old", "old", OF_PRUNE),
)


def copy_sources(target: Path) -> None:
    """Everything the unit tests need, below `target`."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, target)


def is_noticed(root: Path, mutant: Mutant) -> bool:
    """Whether the tests fail with the mutant in place of the source."""
    original = mutant.apply(root)
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mutant.test_path]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            words, cwd=root, env=environment, capture_output=True, text=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        (root / mutant.file).write_text(original, encoding="utf-8")
    if done.returncode not in (0, 1):  # no test ran: that proves nothing
        raise RuntimeError(f"{mutant.test_path}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutants whose file contains this")
    chosen = [m for m in MUTANTS if parser.parse_args().only in m.file]
    alive = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        roots = SimpleQueue[Path]()  # of one mutant at a time
        for number in range(os.cpu_count() or 1):
            copy_sources(Path(folder) / str(number))
            roots.put(Path(folder) / str(number))

        def try_one(mutant: Mutant) -> tuple[bool, float]:
            began, root = time.monotonic(), roots.get()
            try:
                return is_noticed(root, mutant), time.monotonic() - began
            finally:
                roots.put(root)

        for number, (mutant, found) in enumerate(zip(chosen, pool.map(try_one, chosen)), 1):
            noticed, seconds = found
            if not noticed:
                alive.append(mutant)
            word, where = "killed" if noticed else "ALIVE ", f"{mutant.file}: {mutant.after}"
            print(f"{number:>3}/{len(chosen)}  {word}  {seconds:5.1f} s  {where}", flush=True)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} killed")
    sys.exit(bool(alive))


if __name__ == "__main__":
    main()
