"""Pairs are framed as the checkpoint's own tokenizer frames them, from training to export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from configs.errors import InputError
from configs.finetune_schema import HeadConfig
from configs.task_schema import TaskConfig
from finetune.data.example import ChoiceExample, SpanExample, TextExample
from finetune.model.model_folder import (
    ModelCard,
    load_finetuned,
    make_task,
    make_task_model,
    save_finetuned,
)
from finetune.model.task_export import export_huggingface
from finetune.tasks.task import frame
from pretrain.run.pretrained import Pretrained, load_pretrained
from tests.unit.pretrain.run.test_pretrained import PIECES, random_huggingface
from tokenizer.base import Framing

transformers = pytest.importorskip("transformers")

FIRST = ["a bad cab", "", "a", "face a cab a bad deaf face " * 4]
SECOND = ["a face", "a", " ", "a deaf cab fed a bad bee " * 5]
ROBERTA, BERT = Framing(2, 0), Framing(1, 1)


def bpe_files(folder: Path, run: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(run / "tokenizer" / name, folder)


@pytest.fixture(params=["class", "tokenizer.json", "template", "model_type", "BERT", "BERT json"])
def checkpoint(request, tiny_run, tmp_path) -> tuple[Path, Framing]:
    """(folder, framing) of checkpoints that say in different places how they frame."""
    folder, is_bert = tmp_path / "checkpoint", request.param.startswith("BERT")
    name, size = ("BertModel", len(PIECES)) if is_bert else ("RobertaModel", 512)
    random_huggingface(name, size).save_pretrained(folder)
    if is_bert:
        (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
        theirs = transformers.BertTokenizer.from_pretrained(folder)
    else:
        bpe_files(folder, tiny_run)
        theirs = transformers.RobertaTokenizer.from_pretrained(folder)
    if request.param == "class":
        theirs.save_pretrained(folder)
        (folder / "tokenizer.json").unlink()
    elif "json" in request.param:
        theirs.backend_tokenizer.save(str(folder / "tokenizer.json"))
    elif request.param == "template":
        write_template(folder, theirs, "<s> $A </s> </s> $B </s>")
    return folder, BERT if is_bert else ROBERTA


def write_template(folder: Path, theirs: object, pair: str) -> None:
    """A tokenizer.json with a template, of no class in particular."""
    from tokenizers import processors

    backend = theirs.backend_tokenizer
    names = [(name, theirs.convert_tokens_to_ids(name)) for name in ("<s>", "</s>")]
    template = processors.TemplateProcessing("<s> $A </s>", pair, names)
    backend.post_processor = processors.Sequence([processors.ByteLevel(), template])
    backend.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "<s>", "sep_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def assert_same_pairs(found: Pretrained, theirs: object, max_length: int = 512) -> None:
    encode = found.tokenizer.encode_batch
    for first, second, a, b in zip(FIRST, SECOND, encode(FIRST), encode(SECOND)):
        ids, segments, _ = frame(found.tokenizer, a, b, max_length)
        expected = theirs(
            first, second, truncation=True, max_length=max_length, return_token_type_ids=True
        )
        assert ids.tolist() == expected["input_ids"]
        assert segments.tolist() == expected["token_type_ids"]
        single, _, _ = frame(found.tokenizer, a, None, max_length)
        expected = theirs(first, truncation=True, max_length=max_length)["input_ids"]
        assert single.tolist() == expected


@pytest.mark.parametrize("room", [400, 56, 34, 8])
def test_ids_and_token_types_are_transformers(checkpoint, room):
    """Also where pairs are cut, if the room is even: BERT's code gives an odd token to the first
    text, the library to the second."""
    folder, framing = checkpoint
    found = load_pretrained(str(folder))
    assert found.tokenizer.framing == framing
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert_same_pairs(found, theirs, room + framing.special_tokens)


def task_of(kind: str, found: Pretrained, max_length: int):
    fields = {"kind": kind, "folder": ".", "name": "x"}
    return make_task(TaskConfig(**fields), max_length, ("no", "yes"))


EXAMPLES = {
    "classification": TextExample("x", "1", FIRST[3], SECOND[3], 0, ""),
    "choice": ChoiceExample("x", "1", FIRST[3], "a bad", ("cab", "bee"), 0),
    "span": SpanExample("x", "1", "a bad cab", SECOND[3], ()),
}


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("max_length", [20, 200])
def test_every_task_of_two_texts_frames_so(checkpoint, kind, max_length):
    folder, framing = checkpoint
    found = load_pretrained(str(folder))
    task = task_of(kind, found, max_length)
    features = task.features([EXAMPLES[kind]], found.tokenizer)
    sep, cls = found.tokenizer.special.sep, found.tokenizer.special.cls
    for feature in features:
        for ids, segments in zip(feature.ids, feature.segments):
            ids = ids.tolist()
            assert len(ids) <= max_length and ids[0] == cls and ids[-1] == sep
            assert ids.count(sep) == framing.separators + 1
            start = ids.index(sep) + framing.separators
            assert ids[start - framing.separators : start] == [sep] * framing.separators
            second = framing.second_segment
            assert segments.tolist() == [0] * start + [second] * (len(ids) - start)
            if kind == "span":
                assert feature.first == start


def test_a_fine_tuned_model_keeps_it_and_its_export_writes_it(checkpoint, tmp_path):
    folder, framing = checkpoint
    found = load_pretrained(str(folder))
    task = TaskConfig(kind="classification", folder=".", name="x", text_pair="b")
    longest = 26 + framing.special_tokens
    card = ModelCard(task, found.model, HeadConfig(), ("no", "yes"), longest, {}, {})
    model = make_task_model(card, found.tokenizer.special.pad, found.vocabulary_size)
    save_finetuned(tmp_path / "tuned", card, found.tokenizer, model.state_dict())
    again = load_finetuned(tmp_path / "tuned")
    assert again.tokenizer.framing == framing
    assert again.tokenizer.fingerprint == found.tokenizer.fingerprint
    export_huggingface(again, tmp_path / "export")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "export")
    assert_same_pairs(found, theirs, longest)
    loaded = load_pretrained(str(tmp_path / "export"))
    expected = min(framing.second_segment, found.model.segment_types - 1)
    assert loaded.tokenizer.framing == Framing(framing.separators, expected)

    classes = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "export")
    inputs = theirs(FIRST[3], SECOND[3], truncation=True, max_length=longest, return_tensors="pt")
    with torch.no_grad():
        logits = classes.eval()(**inputs).logits[0]
    examples = [EXAMPLES["classification"]]
    (answer,) = again.answers(examples, again.features(examples))
    torch.testing.assert_close(torch.tensor(answer), logits.softmax(0), atol=1e-5, rtol=1e-4)


def test_runs_of_ours_keep_the_framing_of_pretraining(tiny_run):
    assert load_pretrained(str(tiny_run)).tokenizer.framing == Framing()
    exported = load_pretrained(str(tiny_run / "export"))
    assert exported.tokenizer.framing == Framing(1, 0)  # one segment type: all are 0
    assert_same_pairs(exported, transformers.AutoTokenizer.from_pretrained(tiny_run / "export"))


REFUSED_PAIRS = [
    "<s> $A </s> $B",
    "$A </s> $B </s>",
    "<s> $B </s> $A </s>",
    "<s> $A </s> </s> </s> $B </s>",
    "<s>:1 $A:1 </s>:1 $B:0 </s>:0",
]


@pytest.mark.parametrize("pair", REFUSED_PAIRS)
def test_other_forms_are_refused(tiny_run, tmp_path, pair):
    random_huggingface("RobertaModel", 512).save_pretrained(tmp_path)
    bpe_files(tmp_path, tiny_run)
    theirs = transformers.RobertaTokenizer.from_pretrained(tmp_path)
    write_template(tmp_path, theirs, pair)
    with pytest.raises(InputError, match="the template of post_processor is neither"):
        load_pretrained(str(tmp_path))


def test_a_class_and_a_file_that_disagree_are_named(tiny_run, tmp_path):
    random_huggingface("RobertaModel", 512).save_pretrained(tmp_path)
    bpe_files(tmp_path, tiny_run)
    theirs = transformers.RobertaTokenizer.from_pretrained(tmp_path)
    write_template(tmp_path, theirs, "<s> $A </s> $B </s>")
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))
    with pytest.raises(
        InputError, match=r"tokenizer\.json has CLS a SEP b SEP .* RobertaTokenizer"
    ):
        load_pretrained(str(tmp_path))


def test_a_model_that_is_given_no_token_types_sees_none(tmp_path):
    random_huggingface("BertModel", len(PIECES)).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    config = {"tokenizer_class": "BertTokenizer", "model_input_names": ["input_ids"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_pretrained(str(tmp_path)).tokenizer.framing == Framing(1, 0)


def test_distilberts_tokenizer_gives_no_token_types(tmp_path):
    random_huggingface("BertModel", len(PIECES)).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    config = {"tokenizer_class": "DistilBertTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_pretrained(str(tmp_path)).tokenizer.framing == Framing(1, 0)
