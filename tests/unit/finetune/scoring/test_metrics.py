"""Scores equal the libraries' and the published ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from finetune.data.questions import read_squad
from finetune.scoring.metrics import (
    SPAN_RULES,
    best_scores,
    calibration,
    class_scores,
    classification_scores,
    confusion,
    exact_match,
    normal_answer,
    regression_scores,
    span_f1,
    span_scores,
    tagging_scores,
)
from tests.conftest import DATA

GOLD, PREDICTED = [0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 2]


def test_classification_scores_by_hand():
    scores = classification_scores(GOLD, PREDICTED, 3)
    assert scores["accuracy"] == 4 / 6
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert scores.keys() == {"accuracy", "macro_f1", "matthews"}
    counts = confusion(GOLD, PREDICTED, 3)
    assert counts.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 1]]
    right, total, n = np.trace(counts), counts.sum(0) @ counts.sum(1), counts.sum()
    spread = [n * n - (counts.sum(axis) ** 2).sum() for axis in (0, 1)]
    assert scores["matthews"] == pytest.approx((right * n - total) / np.sqrt(np.prod(spread)))


def test_f1_of_two_classes_is_that_of_the_second():
    scores = classification_scores([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], 2)
    assert scores["f1"] == 0.5 and scores["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12),
    st.integers(5, 8),
)
def test_macro_f1_is_scikit_learns_own_default(pairs, classes):
    gold, predicted = map(list, zip(*pairs))
    expected = metrics.f1_score(gold, predicted, average="macro", zero_division=0)
    scores = classification_scores(gold, predicted, classes)
    assert scores["macro_f1"] == pytest.approx(expected)
    for place, row in enumerate(class_scores(gold, predicted, classes)):
        assert math.isnan(row["f1"]) == (place not in gold + predicted)


@pytest.mark.parametrize("gold", [[0, 0, 2], [0, 0], [1, 1], [0, 1], [2]])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_who_is_always_right_has_1_in_every_score(gold, classes):
    if max(gold) < classes:
        scores = classification_scores(gold, gold, classes)
        assert scores == dict.fromkeys(scores, 1.0) and ("f1" in scores) == (classes == 2)


def test_classes_that_do_not_occur_are_not_averaged():
    assert classification_scores([0, 1], [0, 1], 4)["macro_f1"] == 1
    assert classification_scores([0, 0], [0, 1], 4)["macro_f1"] == pytest.approx(1 / 3)
    assert classification_scores([0, 0], [0, 1], 2)["f1"] == 0
    rows = class_scores([0, 1], [0, 0], 3)
    assert (rows[1]["f1"], rows[1]["support"], rows[2]["support"]) == (0, 1, 0)
    assert all(math.isnan(rows[2][name]) for name in ("precision", "recall", "f1"))
    assert confusion([0], [1], 3).shape == (3, 3)


def test_scores_of_each_class():
    assert class_scores(GOLD, PREDICTED, 3)[1] == {
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
        "support": 3.0,
    }


def test_correlations():
    scores = regression_scores([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 9.0, 16.0])
    assert scores["spearman"] == pytest.approx(1)
    expected = np.corrcoef([1, 2, 3, 4], [1, 4, 9, 16])[0, 1]
    assert scores["pearson"] == pytest.approx(expected)
    assert regression_scores([1.0, 2.0], [3.0, -3.0])["pearson"] == pytest.approx(-1)


@pytest.mark.parametrize(("gold", "predicted"), [([1, 2], [3, 3]), ([3, 3], [1, 2]), ([1], [2])])
def test_correlation_with_a_constant_is_zero(gold, predicted):
    assert regression_scores(gold, predicted) == {"pearson": 0.0, "spearman": 0.0}


TAGS = st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]), min_size=1, max_size=8)


def entities(tags: list[str]) -> set[tuple[int, int, str]]:
    """(start, end, kind) as conlleval finds them: I- after another kind begins one too."""
    found, start = set(), None
    for place, tag in enumerate([*tags, "O"]):
        before = tags[place - 1] if place else "O"
        begins = tag[0] == "B" or (tag[0] == "I" and before[1:] != tag[1:])
        if start is not None and (begins or tag == "O"):
            found.add((start, place, before[2:]))
            start = None
        if begins:
            start = place
    return found


@given(st.lists(st.tuples(TAGS, st.randoms()), min_size=1, max_size=5))
def test_tagging_scores_count_whole_entities(rows):
    gold = [tags for tags, _ in rows]
    predicted = [[random.choice([tag, "O", "B-X", "I-X"]) for tag in tags] for tags, random in rows]
    pairs = [(entities(a), entities(b)) for a, b in zip(gold, predicted)]
    right = sum(len(a & b) for a, b in pairs)
    wanted, given_ = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    scores, none = tagging_scores(gold, predicted), 0 if wanted + given_ else 1
    assert scores["recall"] == pytest.approx(right / wanted if wanted else none)
    assert scores["precision"] == pytest.approx(right / given_ if given_ else none)
    assert scores["f1"] == pytest.approx(2 * right / (wanted + given_) if wanted + given_ else none)
    same = sum(a == b for x, y in zip(gold, predicted) for a, b in zip(x, y))
    assert scores["accuracy"] == pytest.approx(same / sum(map(len, gold)))


def test_answers_are_compared_without_form():
    assert normal_answer("The  cat's,\nAn “anthem” -- a!") == "cats “anthem”"
    assert exact_match("the U.S.", "US", SQUAD) == 1 and exact_match("cat", "cats", SQUAD) == 0


def test_span_f1_counts_repeated_words():
    assert span_f1("to be or not to be", "to be to go", SQUAD) == pytest.approx(2 * 3 / (6 + 4))
    assert (
        span_f1("x", "y", SQUAD) == 0
        and span_f1("", "y", SQUAD) == 0
        and span_f1("the", "a", SQUAD) == 1
    )


def test_the_gold_answer_that_fits_best_counts():
    assert best_scores("big cat", ["dog", "cat", "a big cat"], SQUAD) == (1, 1)
    assert best_scores("big cat", ["dog", "cat"], SQUAD) == (0, pytest.approx(2 / 3))
    assert best_scores("", [], SQUAD) == best_scores("", ["the"], SQUAD) == (1, 1)
    assert best_scores("cat", [], SQUAD) == best_scores("", ["cat"], SQUAD) == (0, 0)


def test_questions_without_answer_are_scored_apart():
    scores = span_scores(["cat", "", "dog"], [["cat"], ["cat"], []], SQUAD)
    assert scores == {
        "exact": pytest.approx(1 / 3),
        "f1": pytest.approx(1 / 3),
        "f1_answerable": 0.5,
        "f1_unanswerable": 0.0,
    }
    assert span_scores(["cat"], [["cat"]], SQUAD) == {"exact": 1.0, "f1": 1.0}


@pytest.mark.parametrize(
    ("data", "predictions", "exact", "f1"),
    [
        ("dev-v1.1.reconstructed.json", "1.1__BERT.json", "86.206", "92.196"),
        ("dev-v2.0.reconstructed.json", "v2.0__BERT.json", "78.74168", "81.77528"),
    ],
)
def test_published_predictions_score_as_published(data, predictions, exact, f1):
    folder = DATA / "squad_dev"
    if not folder.is_dir():
        pytest.skip("needs SQuAD's development sets")
    answers = json.loads((folder / "preds" / predictions).read_text(encoding="utf-8"))
    examples = read_squad(folder / data)
    golds = [[text for text, _ in example.answers] for example in examples]
    scores = span_scores([answers[example.id] for example in examples], golds, SQUAD)
    digits = len(exact.partition(".")[2])
    assert f"{100 * scores['exact']:.{digits}f}" == exact
    assert f"{100 * scores['f1']:.{digits}f}" == f1


KOREAN = SPAN_RULES["korquad"]
SQUAD = SPAN_RULES["squad"]


@pytest.mark.parametrize(
    ("predicted", "gold", "exact", "f1"),
    [
        ("이순신은", "이순신", 0, 2 * 3 / (4 + 3)),  # a particle costs a character, not the word
        ("서울특별시에서", "서울", 0, 2 * 2 / (7 + 2)),
        ("《난쟁이가 쏘아올린 작은 공》", "난쟁이가 쏘아올린 작은 공", 1, 1),
        ("〈아리랑〉", "'아리랑'", 1, 1),
        ("‘봄’(1936)", '"봄" 1936', 1, 1),
        ("봄(1936)", "봄1936", 0, 1),  # a bracket parts words, characters don't care
        ("1,936년", "1936년", 1, 1),  # a comma goes without a trace
        ("“봄”", "봄", 0, 2 * 1 / (3 + 1)),  # the official list lacks these quotes
        ("the BBC", "bbc", 0, 2 * 3 / (6 + 3)),  # no articles; case doesn't count
        ("대한 민국", "대한민국", 0, 1),
        ("가나", "다라", 0, 0),
        ("", "가", 0, 0),
        ("()", "", 1, 0),  # the official F1 of two empty answers
    ],
)
def test_korquad_by_hand(predicted, gold, exact, f1):
    assert exact_match(predicted, gold, KOREAN) == exact
    assert span_f1(predicted, gold, KOREAN) == pytest.approx(f1)
    assert best_scores(predicted, ["없음", gold], KOREAN) == (exact, pytest.approx(f1))


def test_korean_answers_by_both_rules():
    """Particles and brackets are what the two differ by."""
    predicted, golds = ["이순신은", "《봄》"], [["이순신"], ["봄"]]
    assert span_scores(predicted, golds, SQUAD) == {"exact": 0, "f1": 0}
    assert span_scores(predicted, golds, KOREAN) == {
        "exact": 0.5,
        "f1": pytest.approx((6 / 7 + 1) / 2),
    }
    assert best_scores("", [], KOREAN) == (1, 1) and best_scores("봄", [], KOREAN) == (0, 0)


def slow_korquad(predicted: str, golds: list[str]) -> tuple[float, float]:
    """The official script's rules, character by character."""

    def words(text: str) -> list[str]:
        found = [""]
        for character in text:
            if character.isspace() or character in "'\"《》<>〈〉()‘’":
                found.append("")
            elif character not in "!#$%&*+,-./:;=?@[\\]^_`{|}~":
                found[-1] += character.lower()
        return [word for word in found if word]

    exact, f1 = [], []
    for gold in golds:
        exact.append(float(words(predicted) == words(gold)))
        left, wanted, same = list("".join(words(predicted))), list("".join(words(gold))), 0
        for character in wanted:
            if character in left:
                left.remove(character)
                same += 1
        precision, recall = (same / max(len(x), 1) for x in ("".join(words(predicted)), wanted))
        f1.append(2 * precision * recall / (precision + recall) if same else 0.0)
    return max(exact), max(f1)


KOREAN_TEXT = st.text("가나은는 \u3000\n'\"《》<>〈〉()‘’“”.,-_·ABa1", max_size=8)


@given(KOREAN_TEXT, st.lists(KOREAN_TEXT, min_size=1, max_size=3))
def test_korquad_equals_the_slow_reference(predicted, golds):
    assert best_scores(predicted, golds, KOREAN) == pytest.approx(slow_korquad(predicted, golds))


def test_calibration_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.93, 0.07], [0.45, 0.55], [0.0, 1.0]])
    error, bins = calibration(probabilities, [0, 1, 0, 1])
    assert [(b.count, b.accuracy) for b in bins] == [(1, 0.0), (3, pytest.approx(2 / 3))]
    assert bins[1].confidence == pytest.approx((0.95 + 0.93 + 1) / 3)
    assert error == pytest.approx((0.55 + abs(2.88 - 2)) / 4)


def test_sure_and_right_is_calibrated():
    assert calibration(np.eye(3), [0, 1, 2])[0] == 0
    assert calibration(np.eye(3), [1, 2, 0])[0] == 1
