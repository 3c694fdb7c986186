"""Labels of words and characters: on the first piece, and back."""

from __future__ import annotations

import random

import numpy as np
import pytest

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.example import TagExample
from finetune.tasks.tagging import TaggingTask
from pretrain.model.loss import IGNORED
from tests.conftest import DATA
from tokenizer.wordpiece import SPECIAL_PIECES, WordPiece

LABELS = ("O", "B-LC", "B-PS", "I-LC", "I-PS")
KLUE = DATA / "klue_dev" / "klue-ner-v1.1_dev.tsv"


def make_task(max_length: int = 512, **options) -> TaggingTask:
    return TaggingTask(TaskConfig(kind="tagging", **options), max_length, LABELS)


def sentence(words: list[str], labels: str) -> TagExample:
    places = tuple(LABELS.index(label) for label in labels.split())
    return TagExample("here", "here", tuple(words), places)


@pytest.fixture(scope="module")
def examples(words) -> list[TagExample]:
    rng = random.Random(2)
    return [
        TagExample("", str(n), tuple(chosen), tuple(rng.choices(range(5), k=len(chosen))))
        for n in range(40)
        for chosen in [rng.choices(words, k=rng.randint(1, 15))]
    ]


def perfect_logits(features) -> list[np.ndarray]:
    """High for the target; where there is none, for a label that is chosen at random."""
    rng = np.random.default_rng(0)
    logits = []
    for feature in features:
        wanted = np.where(feature.targets == IGNORED, rng.integers(0, 5, feature.tokens), 0)
        wanted += np.where(feature.targets == IGNORED, 0, feature.targets)
        logits.append(np.eye(16, dtype=np.float32)[wanted])
    return logits


def test_the_first_piece_of_every_word_carries_its_label(tokenizer, examples):
    for example, feature in zip(examples, make_task().features(examples, tokenizer)):
        targets = feature.targets
        assert targets[targets != IGNORED].tolist() == list(example.targets)
        assert targets[0] == targets[-1] == IGNORED and len(targets) == feature.tokens
        assert targets.dtype == np.int64 and not feature.segments[0].any()
        text = " ".join(example.words)
        special = tokenizer.special
        assert feature.ids[0].tolist() == [
            special.cls,
            *tokenizer.encode_batch([text])[0],
            special.sep,
        ]
        assert (feature.first == feature.last).all()


def test_pieces_with_a_leading_space_belong_to_the_word_behind_it(tokenizers):
    tokenizer = tokenizers["byte-bpe"]
    example = sentence(["the", "name", "zzz"], "B-PS I-PS O")
    (feature,) = make_task().features([example], tokenizer)
    pieces = [tokenizer.pieces[number] for number in feature.ids[0][1:-1]]
    labelled = [piece for piece, target in zip(pieces, feature.targets[1:-1]) if target != IGNORED]
    assert labelled[1].startswith("Ġn") and pieces.count("z") >= 2
    assert feature.targets[feature.targets != IGNORED].tolist() == [2, 4, 0]


def test_a_perfect_model_finds_every_entity(tokenizer, examples):
    task = make_task()
    features = task.features(examples, tokenizer)
    answers = task.answers(examples, features, perfect_logits(features), {})
    assert answers == [list(example.targets) for example in examples]
    assert set(task.scores(examples, answers).values()) == {1.0}


@pytest.mark.parametrize("max_length", [8, 9, 16, 33])
@pytest.mark.parametrize("stride", [0, 3, 64])
def test_every_word_of_a_long_sentence_is_labelled_once(tokenizer, examples, max_length, stride):
    task = make_task(max_length, stride=stride)
    features = task.features(examples, tokenizer)
    assert max(feature.tokens for feature in features) == max_length < len(examples) * 99
    assert len(features) > len(examples)
    for number, example in enumerate(examples):
        own = [feature for feature in features if feature.example == number]
        targets = np.concatenate([feature.targets for feature in own])
        assert targets[targets != IGNORED].tolist() == list(example.targets)
        whole = tokenizer.encode_batch([" ".join(example.words)])[0]
        assert sum(len(feature.first) for feature in own) == len(whole)
    answers = task.answers(examples, features, perfect_logits(features), {})
    assert answers == [list(example.targets) for example in examples]


def test_tokens_where_windows_overlap_are_labelled_with_context_on_both_sides(tokenizers):
    example = sentence(["the"] * 20, "B-LC " * 20)
    task = make_task(max_length=10, stride=4)
    features = task.features([example], tokenizers["wordpiece"])
    assert [feature.tokens for feature in features] == [10, 10, 10, 10]
    assert [len(feature.first) for feature in features] == [6, 4, 4, 6]
    assert [feature.skipped for feature in features] == [1, 3, 3, 3]


def test_characters_of_a_long_sentence_are_read_in_windows():
    task = make_task(max_length=8, joined_characters=True, stride=2)
    example = sentence(list("김철수 서울에서 " * 5), "B-PS I-PS I-PS O B-LC I-LC O O O " * 5)
    features = task.features([example], SEOUL)
    logits = [np.eye(5)[np.where(f.targets == IGNORED, 0, f.targets)] for f in features]
    assert len(features) > 1
    assert task.answers([example], features, logits, {}) == [list(example.targets)]


def test_what_a_model_does_not_see_is_told(tokenizers):
    windows = (
        "dev: no word is cut; {} of 2 sentences are longer than max_length={} tokens and are read "
        "in windows"
    )
    examples = [sentence(["the"] * 20, "O " * 20), sentence(["the", "\u200b"], "O B-PS")]
    for max_length, number in ((8, 1), (64, 0)):
        task = make_task(max_length)
        features = task.features(examples, tokenizers["wordpiece"])
        assert list(task.reading_notes("dev", examples, features)) == [
            windows.format(number, max_length),
            "dev: 1 of 22 words have no token, so they are labelled O",
        ]
    task = make_task(joined_characters=True)
    examples = [sentence(list("김철수 \u3000\u200b는"), "O " * 7)] * 2
    notes = task.reading_notes("dev", examples, task.features(examples, SEOUL))
    assert list(notes)[1:] == ["dev: 2 of 14 words have no token, so they are labelled O"]


def test_a_word_without_a_token_gets_o(tokenizers):
    example = sentence(["the", "\u200b\u200d", "name"], "B-PS I-PS B-LC")
    task = make_task()
    features = task.features([example], tokenizers["wordpiece"])
    (answer,) = task.answers([example], features, perfect_logits(features), {})
    assert answer == [2, 0, 1]


SEOUL = WordPiece(
    [*SPECIAL_PIECES, "김", "##철수", "##는", "서울", "##에", "##서", "뉴", "욕"], False
)


def spread(text: str, labels: str, wanted: list[str]) -> list[str]:
    """What characters get where the pieces' labels are `wanted`."""
    task = make_task(joined_characters=True)
    example = sentence(list(text), labels)
    features = task.features([example], SEOUL)
    rows = np.eye(5)[[0, *map(LABELS.index, wanted), 0]]
    return [LABELS[place] for place in task.answers([example], features, [rows], {})[0]]


def test_a_piece_labels_all_its_characters():
    found = spread("김철수는 서울에서", "O " * 9, ["B-PS", "I-PS", "O", "B-LC", "O", "O"])
    assert found == ["B-PS", "I-PS", "I-PS", "O", "O", "B-LC", "I-LC", "O", "O"]


def test_a_space_inside_an_entity_goes_on_with_it():
    assert spread("뉴 욕", "O O O", ["B-LC", "I-LC"]) == ["B-LC", "I-LC", "I-LC"]
    assert spread("뉴 욕", "O O O", ["B-LC", "B-LC"]) == ["B-LC", "O", "B-LC"]
    assert spread("뉴 욕", "O O O", ["B-LC", "O"]) == ["B-LC", "O", "O"]


def test_characters_carry_the_label_where_their_piece_begins():
    task = make_task(joined_characters=True)
    example = sentence(list("김철수 서울"), "B-PS I-PS I-PS O B-LC I-LC")
    (feature,) = task.features([example], SEOUL)
    assert feature.targets.tolist() == [IGNORED, 2, 4, 1, IGNORED]
    assert (feature.first.tolist(), feature.last.tolist()) == ([0, 1, 4], [0, 2, 5])


@pytest.mark.skipif(not KLUE.is_file(), reason="needs KLUE's named entities")
@pytest.mark.parametrize("kind", ["byte-bpe", "characters"])
def test_a_perfect_model_on_klue(tokenizers, kind):
    config = TaskConfig(
        kind="tagging",
        folder=str(KLUE.parent),
        train=KLUE.name,
        joined_characters=True,
        dev_fraction=0.02,
    )
    task = TaggingTask(config, 10_000)
    splits = task.read()
    examples = splits.dev
    assert len(examples) == 100 and len(splits.labels) == 13 and splits.labels[0] == "O"
    letters = sorted({c for example in examples for word in example.words for c in word} - {" "})
    pieces = [*SPECIAL_PIECES, *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = tokenizers["byte-bpe"] if kind == "byte-bpe" else WordPiece(pieces, False)
    features = task.features(examples, tokenizer)
    answers = task.answers(examples, features, perfect_logits(features), {})
    scores = task.scores(examples, answers)
    assert scores["f1"] == scores["precision"] == scores["recall"] == 1.0
    assert scores["accuracy"] > 0.999


def write(folder, name: str, labels: list[str]) -> str:
    rows = "\n\n".join(f"word{n} {label}" for n, label in enumerate(labels))
    (folder / name).write_text(rows)
    return name


def test_labels_are_those_of_train_with_o_first(tmp_path):
    train = write(tmp_path, "train.txt", ["O", "O", "B-X\nmore I-X"] * 10)
    task = TaggingTask(TaskConfig(kind="tagging", folder=str(tmp_path), train=train), 64)
    splits = task.read()
    assert splits.labels == task.labels == ("O", "B-X", "I-X") and task.outputs == 3
    assert (len(splits.train), len(splits.dev)) == (27, 3)
    assert splits.train[0].id.startswith(str(tmp_path / "train.txt, line "))


def test_what_reading_changed_is_noted(tmp_path):
    train, dev = (write(tmp_path, name, ["O", "I-X"]) for name in ("train.txt", "dev.txt"))
    task = TaggingTask(TaskConfig(kind="tagging", folder=str(tmp_path), train=train, dev=dev), 64)
    splits = task.read()
    assert splits.labels == ("O", "B-X")
    assert [note.split(":")[0] for note in splits.notes] == ["train.txt", "dev.txt"]
    assert "scheme IOB1" in splits.notes[0]


def test_kinds_of_entities_that_a_split_lacks_are_noted(tmp_path):
    train = write(tmp_path, "train.txt", ["O", "B-X", "B-Y"])
    dev, test = write(tmp_path, "dev.txt", ["B-X"]), write(tmp_path, "test.txt", ["O"])
    config = TaskConfig(kind="tagging", folder=str(tmp_path), train=train, dev=dev, test=test)
    assert TaggingTask(config, 64).read().notes == (
        "dev: no entity is of the kind Y: f1 says nothing about it",
        "test: no entity: f1 is 1 where none is found, else 0",
    )


def test_a_label_that_train_lacks_is_named(tmp_path):
    train = write(tmp_path, "train.txt", ["O", "B-X"])
    dev = write(tmp_path, "dev.txt", ["O", "B-Y"])
    config = TaskConfig(kind="tagging", folder=str(tmp_path), train=train, dev=dev)
    with pytest.raises(InputError, match=r"dev\.txt, line 3: the label 'B-Y' is not in train"):
        TaggingTask(config, 64).read()


def test_a_single_sentence_is_too_few(tmp_path):
    train = write(tmp_path, "train.txt", ["O"])
    with pytest.raises(InputError, match="nothing is left for dev"):
        TaggingTask(TaskConfig(kind="tagging", folder=str(tmp_path), train=train), 64).read()


def test_rows_show_words_and_labels():
    example = sentence(["a", "b"], "B-LC O")
    (row,) = make_task().rows([example], [[1, 3]])
    assert row == {"id": "here", "words": "a b", "label": "B-LC O", "prediction": "B-LC I-LC"}
    (row,) = make_task(joined_characters=True).rows([example], [[1, 3]])
    assert row["words"] == "ab"
