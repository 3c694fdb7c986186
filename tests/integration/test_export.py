"""A finished run loads in transformers and computes the same: all tokenizers, each family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrain.batch import MicroBatch
from pretrain.run.saved_run import open_run
from tests.forked import run_script
from tokenizer.load import load_tokenizer

transformers = pytest.importorskip("transformers")

BERT = ["model.architecture=bert", "model.segment_types=2", "schedule.max_steps=2"]
RUNS = {
    "roberta": ["tokenizer.kind=byte-bpe", "schedule.max_steps=2"],
    "bert": [
        *BERT,
        "tokenizer={kind: wordpiece, lowercase: true}",
        "input_format=segment-pair",
        "next_sentence_prediction=true",
        "mask_epochs=10",
        "sample_epochs=10",
    ],
    "kobert": [*BERT, "tokenizer.kind=sentencepiece"],
    "modernbert": [
        "model={architecture: modernbert, segment_types: 0, norm: pre, position: rope}",
        "model={feed_forward: geglu, bias: decoder, attention_window: 8, global_every: 2}",
        "phases=[{rope_theta: 2000}, {from_steps: 1, rope_theta: 500, max_length: 48}]",
        "schedule.max_steps=2",
    ],
}
CLASSES = {
    "roberta": "RobertaForMaskedLM",
    "bert": "BertForPreTraining",
    "kobert": "BertForMaskedLM",
    "modernbert": "ModernBertForMaskedLM",
}


@pytest.fixture(scope="module", params=RUNS)
def run(request, tiny, tmp_path_factory) -> tuple[str, Path]:
    """(name, run folder) of a short run."""
    folder = tmp_path_factory.mktemp(request.param)
    done = run_script("pretrain.py", "--config", tiny, *RUNS[request.param], cwd=folder)
    assert done.returncode == 0, done.stderr
    return request.param, folder / "runs" / "tiny"


@pytest.fixture(scope="module")
def lines(prose) -> list[str]:
    """1,000 real lines."""
    found = [line.strip() for line in prose.read_text(encoding="utf-8").splitlines()]
    chosen = [line for line in found if line][:1000]
    assert len(chosen) == 1000
    return chosen


def flat_batch(sequences: list[list[int]]) -> MicroBatch:
    """Sequences end to end, every token predicted as itself."""
    lengths = torch.tensor([len(ids) for ids in sequences])
    tokens = torch.tensor([token for ids in sequences for token in ids])
    return MicroBatch(
        tokens_T=tokens,
        positions_T=torch.cat([torch.arange(n) for n in lengths.tolist()]),
        segments_T=torch.zeros_like(tokens),
        boundaries=torch.cat([torch.zeros(1), lengths.cumsum(0)]).to(torch.int32),
        longest=int(lengths.max()),
        predicted_M=torch.arange(len(tokens)),
        labels_M=tokens,
        next_sentence_B=torch.full_like(lengths, -100),
    )


def own_model(run_dir: Path) -> torch.nn.Module:
    return open_run(run_dir).model().eval()


def test_token_ids_agree_on_real_lines(run, lines):
    _, run_dir = run
    theirs = transformers.AutoTokenizer.from_pretrained(run_dir / "export")
    own = load_tokenizer(run_dir / "tokenizer")
    framed = [[own.special.cls, *ids, own.special.sep] for ids in own.encode_batch(lines)]
    assert theirs(lines, truncation=False)["input_ids"] == framed
    assert theirs.mask_token_id == own.special.mask
    assert theirs.pad_token_id == own.special.pad


def test_logits_agree(run, lines):
    name, run_dir = run
    own = load_tokenizer(run_dir / "tokenizer")
    sequences = [
        [own.special.cls, *ids[:60], own.special.sep] for ids in own.encode_batch(lines[:8])
    ]
    batch, ours = flat_batch(sequences), own_model(run_dir)
    auto = (
        transformers.AutoModelForPreTraining
        if name == "bert"
        else transformers.AutoModelForMaskedLM
    )
    theirs = auto.from_pretrained(run_dir / "export").eval()
    assert type(theirs).__name__ == CLASSES[name]
    with torch.no_grad():
        hidden_TD = ours.encode(batch)
        logits_TV = ours.mlm_head(hidden_TD, ours.encoder.embeddings.word.weight)
        for number, ids in enumerate(sequences):
            first, end = batch.boundaries[number], batch.boundaries[number + 1]
            output = theirs(torch.tensor([ids]))
            expected = output.prediction_logits if name == "bert" else output.logits
            torch.testing.assert_close(logits_TV[first:end], expected[0], atol=1e-4, rtol=0)
            if name == "bert":
                relation = ours.nsp_head(hidden_TD[first : first + 1])
                torch.testing.assert_close(
                    relation, output.seq_relationship_logits, atol=1e-4, rtol=0
                )


def test_masked_language_model_class_loads_too(run):
    _, run_dir = run
    model, info = transformers.AutoModelForMaskedLM.from_pretrained(
        run_dir / "export", output_loading_info=True
    )
    assert not info["missing_keys"]
    assert model.config.vocab_size == 512


def test_export_command_writes_the_same(run, launch, tmp_path):
    _, run_dir = run
    done = launch("export.py", "--model", run_dir, "--output", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    first, again = (
        load_file(f / "model.safetensors") for f in (run_dir / "export", tmp_path / "again")
    )
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_export_without_a_run(launch, tmp_path):
    done = launch("export.py", "--model", tmp_path, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "error: " in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
