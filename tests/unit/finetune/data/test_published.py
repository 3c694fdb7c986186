"""The published files of every task run as they are: nothing is changed, and what is left out is
counted."""

from __future__ import annotations

import json
import lzma
import re
from collections import Counter
from pathlib import Path

import pytest

from configs.errors import InputError
from configs.finetune_schema import FinetuneConfig
from configs.loader import load_config
from finetune.data.example import Splits
from finetune.model.model_folder import make_task
from tests.conftest import DATA
from tests.published import GLUE, ROWS, TESTED, overrides, rows, text, write, write_glue

PAIRS = {
    "mrpc": ("#1 String", "#2 String"),
    "qqp": ("question1", "question2"),
    "qnli": ("question", "sentence"),
}

NOT_FOR_THE_SERVER = "task.submission.test=null"


def read(task: str, *options: str) -> Splits:
    config = load_config(FinetuneConfig, f"finetune/{task}", list(options))
    return make_task(config.task, config.max_length).read()


def read_glue(root: Path, task: str, *options: str) -> Splits:
    return read(task, *overrides(task, write_glue(root, task)), *options)


@pytest.mark.parametrize("task", GLUE)
def test_every_task_of_glue_reads_its_release(tmp_path, task):
    splits, released = read_glue(tmp_path, task), GLUE[task]
    single = task in ("cola", "sst2")
    first, second = ("sentence", None) if single else PAIRS.get(task, ("sentence1", "sentence2"))
    bad = 2 if task == "qqp" else 0
    assert len(splits.train) == ROWS - bad and len(splits.dev) == ROWS
    for part, last in zip(splits.parts.values(), (ROWS - 1, ROWS - 1, TESTED - 1)):
        for example, number in ((part[0], 0), (part[-1], last)):
            assert example.raw == example.text == text(first, number)
            assert example.pair == (second and text(second, number))
    if released.labels[0] == "5.000":
        assert [e.target for e in splits.dev[:4]] == [5.0, 0.25, 3.2, 5.0]
    else:
        found = [splits.labels[e.target] for e in splits.dev]
        assert found == [released.labels[n % len(released.labels)] for n in range(ROWS)]
    assert [e.target for e in splits.parts["test"]] == [None] * TESTED
    answered = f"no labels, so its {TESTED} rows are answered, not scored"
    assert sum(answered in note for note in splits.notes) == (2 if task == "mnli" else 1)
    assert f"submission/{released.answers or released.folder}.tsv" in " ".join(splits.notes)


def test_mnli_has_both_development_sets_both_tests_and_the_diagnostic_set(tmp_path):
    splits = read_glue(tmp_path, "mnli")
    sizes = {name: len(part) for name, part in splits.evaluated.items()}
    assert sizes == {
        "dev": ROWS,
        "test": TESTED,
        "dev_mismatched": ROWS + 1,
        "test_mismatched": TESTED + 1,
        "diagnostic": TESTED,
    }
    known = {name: part[0].is_labelled for name, part in splits.evaluated.items()}
    assert [name for name, is_labelled in known.items() if is_labelled] == ["dev", "dev_mismatched"]


def test_rows_of_qqp_that_are_cut_short_are_counted(tmp_path):
    notes = read_glue(tmp_path, "qqp").notes
    assert notes[0] == (
        "train.tsv: 2 of 240 rows are left out: 1 with 3 fields where 6 are expected (id, qid1, "
        "qid2, question1, question2, is_duplicate), 1 with empty text in column 'question2'; the "
        "first is row 6"
    )


def test_past_the_limit_a_file_is_refused(tmp_path):
    folder = write_glue(tmp_path, "qqp", number=199)
    with pytest.raises(InputError) as caught:
        read("qqp", f"task.folder={folder}")
    assert str(caught.value) == (
        f"{folder}/train.tsv, row 6: 3 fields where 6 are expected (id, qid1, qid2, question1, "
        "question2, is_duplicate): fill or remove the row; 2 of 199 rows are bad, above "
        "task.most_bad_rows=0.01"
    )
    assert len(read("qqp", f"task.folder={folder}", "task.most_bad_rows=0.02").train) == 197


@pytest.mark.parametrize("wrong", ["short", "empty"])
def test_what_is_scored_keeps_its_size_or_says_that_it_does_not(tmp_path, wrong):
    folder, released = write_glue(tmp_path, "qqp"), GLUE["qqp"]
    lines = rows(released, released.columns, ROWS)
    lines[3] = lines[3][:3] if wrong == "short" else (*lines[3][:3], " ", *lines[3][4:])
    write(folder / "dev.tsv", released, released.columns, lines)
    splits = read("qqp", f"task.folder={folder}")
    (note,) = [note for note in splits.notes if note.startswith("dev.tsv")]
    if wrong == "short":
        assert len(splits.dev) == ROWS - 1
        assert note.startswith("dev.tsv: 1 of 240 rows are left out, and so not scored: 1 with 3")
    else:
        assert len(splits.dev) == ROWS and splits.dev[3].raw == " "
        assert note == (
            "dev.tsv: 1 of 240 rows are scored all the same: 1 with empty text in column "
            "'question1'; the first is row 4"
        )


def test_a_row_that_must_be_answered_is_never_left_out(tmp_path):
    folder, released = write_glue(tmp_path, "qqp"), GLUE["qqp"]
    lines = [*rows(released, released.test_columns, 300), ("300", "only one")]
    write(folder / "test.tsv", released, released.test_columns, lines)
    with pytest.raises(InputError, match=r"test\.tsv, row 301: 2 fields .*to be answered"):
        read("qqp", *overrides("qqp", folder))
    lines[-1] = ("300", "", "why?")
    write(folder / "test.tsv", released, released.test_columns, lines)
    splits = read("qqp", *overrides("qqp", folder))
    assert len(splits.parts["test"]) == 301 and splits.parts["test"][-1].raw == ""
    assert any(
        "1 of 301 rows are answered all the same: 1 with empty" in note for note in splits.notes
    )


@pytest.mark.parametrize("numbers", [range(1, 8), [0, 2, 1], [5, 6, 7]])
def test_a_test_file_that_is_not_whole_and_in_order(tmp_path, numbers):
    """The server goes by the number of the line, whatever the file's own index says."""
    folder, released = write_glue(tmp_path, "cola"), GLUE["cola"]
    lines = [(str(n), f"Sentence {n}.") for n in numbers]
    write(folder / "test.tsv", released, released.test_columns, lines)
    if numbers == range(1, 8):
        assert len(read("cola", *overrides("cola", folder)).parts["test"]) == 7
        return
    with pytest.raises(InputError, match=r"test\.tsv, row \d: its index is \d where \d is"):
        read("cola", *overrides("cola", folder))


def test_answers_that_the_server_does_not_take_are_refused(tmp_path):
    folder = write_glue(tmp_path, "sst2")
    options = [*overrides("sst2", folder), "task.submission.test=RTE"]
    with pytest.raises(InputError) as caught:
        read("sst2", *options)
    assert str(caught.value) == (
        "task.submission: the server takes entailment, not_entailment for RTE, but the task's "
        "answers are 0, 1: learn from GLUE's own files, or set task.submission.test=null"
    )
    assert len(read("sst2", *options, "task.submission.test=null").parts["test"]) == TESTED


@pytest.mark.parametrize("mark", ["-1", "", "-", "nan"])
def test_a_test_file_whose_labels_are_withheld_is_answered(tmp_path, mark):
    folder = write_glue(tmp_path, "sst2")
    withheld = "".join(f"text {n}\t{mark}\n" for n in range(7))
    (folder / "test.tsv").write_text(f"sentence\tlabel\n{withheld}", encoding="utf-8")
    splits = read("sst2", *overrides("sst2", folder), NOT_FOR_THE_SERVER)
    assert [example.target for example in splits.parts["test"]] == [None] * 7
    assert "test.tsv: no labels, so its 7 rows are answered, not scored" in splits.notes


def test_a_class_called_minus_one_is_scored(tmp_path):
    train = "".join(f"text {n}\t{n % 2 - 1}\n" for n in range(200))
    (tmp_path / "train.tsv").write_text(f"sentence\tlabel\n{train}", encoding="utf-8")
    answers = "".join(f"other {n}\t-1\n" for n in range(7))
    (tmp_path / "test.tsv").write_text(f"sentence\tlabel\n{answers}", encoding="utf-8")
    options = ("task.dev=null", "task.labels=null", "task.test=test.tsv", NOT_FOR_THE_SERVER)
    splits = read("sst2", f"task.folder={tmp_path}", *options)
    assert splits.labels == ("-1", "0")
    assert [example.target for example in splits.parts["test"]] == [0] * 7


def test_a_label_column_under_another_name_is_not_overlooked(tmp_path):
    """Only test may lack it: from train nothing could be learnt, by dev nothing chosen."""
    folder = write_glue(tmp_path, "sst2")
    for field, file in (("train", "test.tsv"), ("dev", "test.tsv")):
        with pytest.raises(InputError, match=r"test\.tsv: no column 'label': set task\.label"):
            read("sst2", f"task.folder={folder}", f"task.{field}={file}")


COUNTS = {
    "cola": ("CoLA", 8551, 1043, {"1": 6023, "0": 2528}),
    "mrpc": ("MRPC", 3668, 408, {"1": 2474, "0": 1194}),
    "rte": ("RTE", 2490, 277, {"entailment": 1249, "not_entailment": 1241}),
    "sst2": ("SST-2", 67349, 872, {"1": 37569, "0": 29780}),
}
ENDS = {
    "cola": (
        "Our friends won't buy this analysis, let alone the next one we propose.",
        "Gilgamesh hasn't kissed Ishtar.",
    ),
    "mrpc": (
        'Amrozi accused his brother, whom he called "the witness", of deliberately distorting his '
        "evidence.",
        "The 30-year bond US30YT=RR rose 22/32 for a yield of 4.31 percent, versus 4.35 percent at "
        "Wednesday's close.",
    ),
    "rte": (
        "No Weapons of Mass Destruction Found in Iraq Yet.",
        "Turkey is unlikely to become involved in, or allow U.S. forces to use Turkish territory "
        "in a Middle East war that does not threaten her territory directly.",
    ),
    "sst2": (
        "hide new secretions from the parental units ",
        "this new jangle of noise , mayhem and stupidity must be a serious contender for the "
        "title . ",
    ),
}


@pytest.mark.parametrize("task", COUNTS)
def test_the_real_files_of_glue(task):
    folder, train, dev, counts = COUNTS[task]
    if not (DATA / "glue" / folder / "train.tsv").is_file():
        pytest.skip(f"needs GLUE's {folder}")
    splits = read(task, f"task.folder={DATA / 'glue' / folder}")
    assert (len(splits.train), len(splits.dev)) == (train, dev)
    assert Counter(splits.labels[e.target] for e in splits.train) == counts
    assert (splits.train[0].raw, splits.train[-1].raw) == ENDS[task]
    assert not any("left out" in note for note in splits.notes)


def test_the_multilingual_release_of_stsb():
    folder = DATA / "glue" / "STS-B"
    if not (folder / "stsb-en-train.csv").is_file():
        pytest.skip("needs the multilingual STS-B")
    splits = read("stsb_csv", f"task.folder={folder}")
    assert [len(part) for part in splits.parts.values()] == [5749, 1500, 1379]
    assert (splits.train[0].raw, splits.train[0].target) == ("A plane is taking off.", 5.0)


REVIEWS = [(str(n), f'영화 "{n}" 최고', str(n % 2)) for n in range(400)]


def write_reviews(folder: Path, name: str, reviews: list[tuple[str, ...]], end: str = "\n") -> None:
    lines = [("id", "document", "label"), *reviews]
    (folder / name).write_bytes("".join("\t".join(line) + end for line in lines).encode())


def test_nsmc_as_published(tmp_path):
    """Its train has five empty documents and its test three; their scores are of all rows."""
    train, test = ([(n, "" if n in ("3", "9") else d, y) for n, d, y in REVIEWS] for _ in range(2))
    write_reviews(tmp_path, "ratings_train.txt", train)
    write_reviews(tmp_path, "ratings_test.txt", test)
    splits = read("nsmc", f"task.folder={tmp_path}")
    assert len(splits.train) == 398 and len(splits.dev) == 400
    assert splits.train[0].raw == '영화 "0" 최고' and splits.dev[3].raw == ""
    assert [example.id for example in splits.train[:4]] == ["0", "1", "2", "4"]
    assert splits.notes[:2] == (
        "ratings_train.txt: 2 of 400 rows are left out: 2 with empty text in column 'document'; "
        "the first is row 4",
        "ratings_test.txt: 2 of 400 rows are scored all the same: 2 with empty text in column "
        "'document'; the first is row 4",
    )


def test_real_reviews_under_their_published_names(tmp_path):
    source = DATA / "nsmc_raw_split"
    if not (source / "ratings_train.tsv.xz").is_file():
        pytest.skip("needs NSMC's reviews")
    for part, rows_read in (("train", 10_001), ("test", None)):
        lines = lzma.decompress((source / f"ratings_{part}.tsv.xz").read_bytes()).decode()
        cells = [line.split("\t")[:3] for line in lines.rstrip("\n").split("\n")[:rows_read]]
        cells[3][1] = ""
        content = "\n".join("\t".join(row) for row in cells) + "\n"
        (tmp_path / f"ratings_{part}.txt").write_text(content, encoding="utf-8")
    splits = read("nsmc", f"task.folder={tmp_path}")
    assert (len(splits.train), len(splits.dev)) == (9_999, 50_000)
    assert Counter(splits.labels[e.target] for e in splits.dev) == {"1": 25_079, "0": 24_921}
    assert splits.train[0].raw == "당시 시대를 생각하면 최고 입니다."


def test_conll_2003_as_distributed(tmp_path):
    """Four columns between spaces, documents' marks, and entities that begin with I- (IOB1)."""
    content = (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP {}-ORG\nrejects VBZ B-VP O\nGerman JJ B-NP {}-MISC\n"
        ". . O O\n\nPeter NNP B-NP {}-PER\nBlackburn NNP I-NP I-PER\n\n"
    )
    for mark in "BI":
        for name in ("train", "valid", "test"):
            (tmp_path / f"{name}.txt").write_text(content.format(mark, mark, mark))
        splits = read("ner", f"task.folder={tmp_path}")
        assert [e.words for e in splits.train] == [
            ("EU", "rejects", "German", "."),
            ("Peter", "Blackburn"),
        ]
        assert len(splits.dev) == len(splits.parts["test"]) == 2
        assert {splits.labels[place] for e in splits.train for place in e.targets} == {
            "O",
            "B-ORG",
            "B-MISC",
            "B-PER",
            "I-PER",
        }


def test_race_as_released(tmp_path):
    for part in ("train", "dev", "test"):
        for level, names in (("high", "12"), ("middle", "34")):
            for name in names:
                path = tmp_path / part / level / f"{name}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                passage = {
                    "answers": ["C", "A"],
                    "options": [["a", "b", "c", "d"], ["yes", "no", "", "so"]],
                    "questions": ["Who said _ ?", 'Why "so"?'],
                    "article": f"Story {name}.\nIt\u2028ends.",
                    "id": f"{level}{name}.txt",
                }
                path.write_text(json.dumps(passage))
    splits = read("race", f"task.folder={tmp_path}")
    assert [len(part) for part in splits.parts.values()] == [4, 4, 4]
    assert splits.train[0].context == "Story 1.\nIt\u2028ends." and splits.train[0].target == 2
    both = read("race", f"task.folder={tmp_path}", "task.train=train")
    assert len(both.train) == 8


KOREAN = {
    "korsts": ("kornlu/KorSTS", [], (5749, 1500, 1379)),
    "kornli": ("kornlu/KorNLI", ["task.train=xnli.test.ko.tsv", "task.test=null"], (5010, 2490, 0)),
    "klue_nli": ("klue_dev", ["task.train=klue-nli-v1.1_dev.json"], (3000, 3000, 0)),
    "klue_ner": ("klue_dev", ["task.train=klue-ner-v1.1_dev.tsv"], (5000, 5000, 0)),
}


@pytest.mark.parametrize("task", KOREAN)
def test_the_real_korean_files(task):
    folder, options, sizes = KOREAN[task]
    if not (DATA / folder).is_dir():
        pytest.skip(f"needs {folder}")
    splits = read(task, f"task.folder={DATA / folder}", *options)
    assert tuple(map(len, splits.parts.values())) == tuple(filter(None, sizes))
    assert not any(re.search("rows are (left out|scored)", note) for note in splits.notes)
