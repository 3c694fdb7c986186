"""Windows over contexts, spans out of logits, and the threshold of no answer."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InputError
from configs.task_schema import TaskConfig
from finetune.data.example import SpanExample
from finetune.data.questions import read_squad
from finetune.scoring.metrics import SPAN_RULES, best_scores, normal_answer, span_scores
from finetune.tasks.span import THRESHOLD, SpanAnswer, SpanFeature, SpanTask, best_span
from tests.conftest import DATA

STRIDE = 40


def make_task(max_length: int = 160, **options) -> SpanTask:
    return SpanTask(TaskConfig(kind="span", **{"stride": STRIDE} | options), max_length)


@pytest.fixture(scope="module")
def examples(words) -> list[SpanExample]:
    """Answers of 1 to 4 words somewhere in contexts of up to 120 words; every fifth has none."""
    rng, made = random.Random(1), []
    for number in range(60):
        chosen = rng.choices(words, k=rng.randint(6, 120))
        gaps = rng.choices([" ", "  ", "\n"], k=len(chosen))
        context = "".join(word + gap for word, gap in zip(chosen, gaps))
        first = rng.randrange(len(chosen))
        last = min(len(chosen), first + rng.randint(1, 4))
        start = sum(len(chosen[k]) + len(gaps[k]) for k in range(first))
        end = sum(len(chosen[k]) + len(gaps[k]) for k in range(last)) - len(gaps[last - 1])
        answers = () if number % 5 == 0 else ((context[start:end], start),)
        question = " ".join(rng.choices(words, k=rng.randint(1, 6)))
        made.append(SpanExample("here", str(number), question, context, answers))
    return made


def perfect_logits(features: list[SpanFeature]) -> list[np.ndarray]:
    """High where the targets are."""
    logits = []
    for window in features:
        rows = np.zeros((window.tokens, 2), np.float32)
        rows[window.targets, (0, 1)] = 9.0
        logits.append(rows)
    return logits


def test_windows_cover_every_context_token_and_overlap(tokenizer, examples):
    features = make_task().features(examples, tokenizer)
    encoded = tokenizer.encode_batch([example.context for example in examples])
    for number, ids in enumerate(encoded):
        windows = [feature for feature in features if feature.example == number]
        first, *rest = (window.ids[0][window.first : -1].tolist() for window in windows)
        covered = first
        for part in rest:
            assert part[:STRIDE] == covered[-STRIDE:]
            covered = covered + part[STRIDE:]
        assert covered == ids


def test_windows_are_question_and_context_in_their_frame(tokenizer, examples):
    cls, sep = tokenizer.special.cls, tokenizer.special.sep
    for window in make_task().features(examples, tokenizer):
        ids = window.ids[0].tolist()
        (question,) = tokenizer.encode_batch([examples[window.example].question])
        assert ids[: window.first] == [cls, *question, sep] and ids[-1] == sep
        assert len(ids) == window.first + len(window.starts) + 1 <= 160
        assert window.segments[0].tolist() == [0] * window.first + [1] * (len(ids) - window.first)


def test_targets_decode_to_the_answer(tokenizer, examples):
    features = make_task().features(examples, tokenizer)
    answered = set()
    for window in features:
        example = examples[window.example]
        if not window.targets.any():
            continue
        first, last = window.targets - window.first
        text, _ = example.answers[0]
        found = example.context[window.starts[first] : window.ends[last]]
        assert normal_answer(found) == normal_answer(text)
        answered.add(window.example)
    assert answered == {number for number, example in enumerate(examples) if example.answers}


def test_a_perfect_model_answers_everything(tokenizer, examples):
    task = make_task(no_answer=True, longest_answer=60)
    features = task.features(examples, tokenizer)
    answers = task.answers(examples, features, perfect_logits(features), {})
    scores = task.scores(examples, answers)
    assert scores["exact"] == scores["f1"] == 1.0
    assert all(bool(answer.text) == bool(e.answers) for answer, e in zip(answers, examples))


def test_an_answer_inside_a_token_is_answered_by_the_token(tokenizer):
    example = SpanExample("here", "1", "when?", "in 1990s or so", (("1990", 3),))
    (window,) = make_task().features([example], tokenizer)
    first, last = window.targets - window.first
    assert window.starts[first] == 3 and window.ends[last] >= 7


def test_without_no_answer_a_span_is_always_given(tokenizer, examples):
    features = make_task().features(examples, tokenizer)
    logits = [np.where(np.arange(f.tokens)[:, None] == 0, 50.0, 0.0) * [1, 1] for f in features]
    assert all(answer.text for answer in make_task().answers(examples, features, logits, {}))
    silent = make_task(no_answer=True).answers(examples, features, logits, {})
    assert not any(answer.text for answer in silent) and all(answer.span for answer in silent)


def test_an_empty_context_has_no_answer(tokenizer):
    example = SpanExample("here", "1", "what?", "", ())
    task = make_task(no_answer=True)
    features = task.features([example], tokenizer)
    logits = [np.ones((feature.tokens, 2), np.float32) for feature in features]
    answers = task.answers([example], features, logits, {})
    assert answers[0].text == ""
    settings = task.choose_settings([example], answers)
    assert np.isfinite(settings[THRESHOLD])
    assert task.answers([example], features, logits, settings)[0].text == ""


def test_the_best_window_answers_and_the_least_sure_one_keeps_silent():
    nothing = np.zeros(0, np.int64)
    windows = [
        SpanFeature(
            0, (np.zeros(4, int),), (nothing,), nothing, 1, np.array([a]), np.array([a + 1])
        )
        for a in (0, 2)
    ]
    logits = [np.zeros((4, 2), np.float32) for _ in windows]
    logits[0][:2] = [[1, 1], [2, 2]]
    logits[1][:2] = [[3, 3], [4, 5]]
    example = SpanExample("here", "1", "?", "a b", ())
    (answer,) = make_task().answers([example], windows, logits, {})
    assert answer == SpanAnswer(text="b", span="b", margin=9 - 2)


def test_long_questions_do_not_make_a_window_a_token(tokenizer):
    example = SpanExample("here", "1", "why " * 70, "so it is " * 300, ())
    features = make_task(max_length=96, stride=64).features([example], tokenizer)
    tokens = len(tokenizer.encode_batch([example.context])[0])
    room = 96 - features[0].first - 1
    assert len(features) <= 2 * tokens / room + 1


def test_a_context_needs_room(tokenizer):
    example = SpanExample("here", "1", "why " * 70, "so", ())
    with pytest.raises(InputError, match="max_length=40 leaves no room for a context"):
        make_task(max_length=40).features([example], tokenizer)


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 6))
def test_the_best_span_is_that_of_trying_all(seed, tokens, longest):
    rng = np.random.default_rng(seed)
    inside = rng.normal(size=(tokens, 2)).astype(np.float32)
    pairs = [(a, b) for a in range(tokens) for b in range(a, min(tokens, a + longest))]
    tried = [a for a, _ in pairs if (inside[:, 0] > inside[a, 0]).sum() < 20]
    best = max(
        (float(inside[a, 0] + inside[b, 1]), a, b)
        for a, b in pairs
        if a in tried and (inside[:, 1] > inside[b, 1]).sum() < 20
    )
    starts = np.arange(tokens) * 3
    nothing = np.zeros(0, np.int64)
    window = SpanFeature(0, (nothing,), (nothing,), nothing, 2, starts, starts + 2)
    frame = np.full((2, 2), 99, np.float32)
    score, start, end = best_span(window, np.concatenate([frame, inside, frame]), longest)
    assert (score, start, end) == (pytest.approx(best[0]), best[1] * 3, best[2] * 3 + 2)


ANSWERS = st.lists(
    st.tuples(st.integers(-3, 3), st.sampled_from(["a b", "a", "c"]), st.booleans()), min_size=1
)


@given(ANSWERS)
def test_no_threshold_is_better_than_the_chosen_one(rows):
    task = make_task(no_answer=True)
    golds = ["a b" if has_answer else None for _, _, has_answer in rows]
    examples = [
        SpanExample("", str(n), "?", "a b", () if gold is None else ((gold, 0),))
        for n, gold in enumerate(golds)
    ]
    answers = [SpanAnswer(span, span, float(margin)) for margin, span, _ in rows]

    def f1(threshold: float) -> float:
        texts = [answer.span if answer.margin > threshold else "" for answer in answers]
        pairs = [best_scores(t, e.accepted, SPAN_RULES["squad"]) for t, e in zip(texts, examples)]
        return sum(score for _, score in pairs) / len(pairs)

    chosen = task.choose_settings(examples, answers)[THRESHOLD]
    assert f1(chosen) == pytest.approx(max(f1(limit) for limit in np.arange(-4, 4, 0.5)))
    assert json.loads(json.dumps(chosen)) == chosen


def test_there_is_nothing_to_choose_where_every_question_has_an_answer():
    assert make_task().choose_settings([], []) == {}


def squad_file(folder, articles: int, impossible: bool = False) -> TaskConfig:
    data = [
        {
            "title": f"Article {n}",
            "paragraphs": [
                {
                    "context": "one two",
                    "qas": [
                        {
                            "id": f"{n}-{k}",
                            "question": "?",
                            "answers": [] if impossible else [{"text": "two", "answer_start": 4}],
                        }
                        for k in range(3)
                    ],
                }
            ],
        }
        for n in range(articles)
    ]
    (folder / "train.json").write_text(json.dumps({"data": data}))
    return TaskConfig(kind="span", folder=str(folder), train="train.json", dev_fraction=0.2)


def test_dev_is_whole_articles(tmp_path):
    splits = SpanTask(squad_file(tmp_path, 20), 48).read()
    articles = [{e.id.split("-")[0] for e in part} for part in (splits.train, splits.dev)]
    assert [len(part) for part in articles] == [16, 4] and not set.intersection(*articles)
    assert len(splits.dev) == 12 and splits.notes == ("train: 16 articles", "dev: 4 articles")


def test_too_few_articles_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"train\.json: nothing is left for dev"):
        SpanTask(squad_file(tmp_path, 2), 48).read()


def test_a_question_without_answer_needs_the_field_that_allows_it(tmp_path):
    config = squad_file(tmp_path, 20, impossible=True)
    with pytest.raises(
        InputError, match=r"question .*: it has no answer: set task\.no_answer=true"
    ):
        SpanTask(config, 48).read()
    assert SpanTask(replace(config, no_answer=True), 48).read().dev[0].answers == ()


def test_rows_show_question_answer_and_margin():
    example = SpanExample("here", "7", "who?", "a b", (("b", 2),))
    (row,) = make_task().rows([example], [SpanAnswer("a", "a", 0.123456)])
    assert row == {"id": "7", "question": "who?", "label": "b", "prediction": "a", "margin": 0.1235}


@pytest.mark.skipif(not (DATA / "squad_dev").is_dir(), reason="needs SQuAD's development set")
def test_a_perfect_model_on_squad(tokenizer):
    examples = read_squad(DATA / "squad_dev" / "dev-v1.1.reconstructed.json")[::200]
    task = make_task(max_length=128, stride=32, longest_answer=100)
    features = task.features(examples, tokenizer)
    answers = task.answers(examples, features, perfect_logits(features), {})
    golds = [[text for text, _ in example.answers] for example in examples]
    assert (
        span_scores([answer.text for answer in answers], golds, SPAN_RULES["squad"])["exact"] > 0.95
    )


def test_a_task_scores_and_chooses_by_its_own_rules():
    asked = SpanExample("here", "1", "누구?", "이순신은 장군", (("이순신", 0),))
    examples = [asked, asked, replace(asked, answers=())]
    spans = ["이순신은", "이순신은", "장군"]
    answers = [SpanAnswer(span, span, margin) for span, margin in zip(spans, (1.0, 1.0, 2.0))]
    english, korean = make_task(no_answer=True), make_task(no_answer=True, span_metric="korquad")
    assert english.scores(examples, answers)["f1"] == 0
    assert korean.scores(examples, answers)["f1"] == pytest.approx(2 * 6 / 7 / 3)
    assert english.choose_settings(examples, answers)[THRESHOLD] == 2.0
    assert korean.choose_settings(examples, answers)[THRESHOLD] < 1.0


def notes_of(task: SpanTask, examples: list[SpanExample], tokenizer) -> list[str]:
    return list(task.reading_notes("dev", examples, task.features(examples, tokenizer)))


def test_what_a_model_does_not_see_is_told(tokenizer):
    context = "so it is " * 100
    fine = SpanExample("here", "1", "why", context, (("so", 0),))
    asked = replace(fine, question="why " * 70)
    long = replace(fine, answers=((context[:100].strip(), 0),))
    beyond = replace(fine, answers=((context.strip(), 0),))
    short = replace(fine, context="so it is")
    task = make_task(max_length=160, longest_answer=8)
    windows = (
        "dev: no context is cut; {} of {} are longer than max_length=160 tokens and are read in "
        "windows"
    )
    assert notes_of(task, [short], tokenizer) == [windows.format(0, 1)]
    assert notes_of(task, [fine, asked, long, beyond, short], tokenizer) == [
        windows.format(4, 5),
        "dev: 1 questions are cut to 64 tokens",
        "dev: 1 of 5 answers lie whole in no window: they are not found",
        "dev: 1 of 5 answers are longer than task.longest_answer=8 tokens: they are not found",
    ]
    unanswered = [replace(fine, answers=())]
    assert notes_of(make_task(no_answer=True), unanswered, tokenizer) == [windows.format(1, 1)]
